"""Work and its states: flows, tasks, what they log; deployments, pools and workers that run them."""

from typing import TYPE_CHECKING

from tocsin.events.lazy import exports

if TYPE_CHECKING:
    from tocsin.flows.allow import allow_failure
    from tocsin.flows.errors import UpstreamFailed
    from tocsin.flows.flows import Flow, flow
    from tocsin.flows.futures import Future, unmapped
    from tocsin.flows.logs import get_run_logger
    from tocsin.flows.pausing import pause_flow_run, suspend_flow_run
    from tocsin.flows.resuming import resume_flow_run
    from tocsin.flows.run_states import RunState
    from tocsin.flows.serving import serve
    from tocsin.flows.tasks import Task, task

__all__ = [
    "Flow",
    "Future",
    "RunState",
    "Task",
    "UpstreamFailed",
    "allow_failure",
    "flow",
    "get_run_logger",
    "pause_flow_run",
    "resume_flow_run",
    "serve",
    "suspend_flow_run",
    "task",
    "unmapped",
]

__getattr__ = exports(
    __name__,
    {
        "Flow": "flows",
        "Future": "futures",
        "RunState": "run_states",
        "Task": "tasks",
        "UpstreamFailed": "errors",
        "allow_failure": "allow",
        "flow": "flows",
        "get_run_logger": "logs",
        "pause_flow_run": "pausing",
        "resume_flow_run": "resuming",
        "serve": "serving",
        "suspend_flow_run": "pausing",
        "task": "tasks",
        "unmapped": "futures",
    },
)

"""Work and its states: flows, tasks, what they log; deployments, pools and workers that run them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tocsin.flows.errors import UpstreamFailed
    from tocsin.flows.flows import Flow, flow
    from tocsin.flows.futures import Future, unmapped
    from tocsin.flows.logs import get_run_logger
    from tocsin.flows.tasks import Task, task

__all__ = ["Flow", "Future", "Task", "UpstreamFailed", "flow", "get_run_logger", "task", "unmapped"]

_HOMES = {
    "Flow": "flows",
    "Future": "futures",
    "Task": "tasks",
    "UpstreamFailed": "errors",
    "flow": "flows",
    "get_run_logger": "logs",
    "task": "tasks",
    "unmapped": "futures",
}


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for; `tocsin.flows.tables` loads nothing of these
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

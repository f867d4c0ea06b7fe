"""Actions as people write them: ours and Prefect's forms, and what makes no sense."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tocsin.automations.actions import KINDS, KNOWN, NOT_HERE, Action
from tocsin.automations.actions_messages import EmitEvent
from tocsin.automations.actions_runs import ChangeFlowRunState
from tocsin.automations.actions_switches import PauseDeployment, ResumeWorkQueue
from tocsin.flows.states import StateType

READER: TypeAdapter[Any] = TypeAdapter(Action)

PREFECT = {
    "run-deployment",
    *(f"{verb}-{thing}" for verb in ("pause", "resume") for thing in ("deployment", "work-pool", "work-queue")),
    *(f"{verb}-automation" for verb in ("pause", "resume")),
    *(f"{verb}-flow-run" for verb in ("cancel", "suspend", "resume", "delete")),
    *("change-flow-run-state", "send-notification", "call-webhook", "do-nothing"),
}
"""The types that Prefect's open server knows."""


def test_every_action_of_prefect_s_server_is_there() -> None:
    assert set(KNOWN) >= PREFECT
    assert len(KINDS) == len(KNOWN) == len(set(KNOWN))
    assert not set(NOT_HERE) & set(KNOWN)


READ = [
    pytest.param(
        {"type": "pause-deployment", "source": "selected", "deployment_id": "etl"},
        PauseDeployment(deployment="etl"),
        id="Prefect's name for a deployment",
    ),
    pytest.param(
        {"type": "resume-work-queue", "work_queue_id": "default/night"},
        ResumeWorkQueue(work_queue="default/night"),
        id="Prefect's name for a queue",
    ),
    pytest.param(
        {"type": "pause-deployment", "source": "inferred", "deployment_id": None},
        PauseDeployment(source="inferred"),
        id="inferred, the name spelled out as null",
    ),
    pytest.param(
        {"type": "change-flow-run-state", "name": None, "state": "FAILED", "message": "by hand", "force": True},
        ChangeFlowRunState(state=StateType.FAILED, message="by hand", force=True),
        id="a state as Prefect writes it",
    ),
    pytest.param(
        {"type": "emit-event", "event": "orders.late", "resource": {"prefect.resource.id": "order.1"}},
        EmitEvent(event="orders.late", resource={"tocsin.resource.id": "order.1"}),
        id="Prefect's label names",
    ),
]


@pytest.mark.parametrize(("given", "action"), READ)
def test_an_action_is_read(given: dict[str, Any], action: object) -> None:
    assert READER.validate_python(given) == action
    assert READER.validate_json(READER.dump_json(READER.validate_python(given))) == action


SOME = {"automation": "a", "deployment": "d", "schedule": "s", "work_pool": "p", "work_queue": "p/q"}
SWITCHES = [name for name in KNOWN if name.startswith(("pause-", "resume-")) and name != "resume-flow-run"]


@pytest.mark.parametrize("kind", SWITCHES)
def test_what_is_paused_is_named_or_inferred(kind: str) -> None:
    thing = kind.partition("-")[2].replace("-", "_")
    assert READER.validate_python({"type": kind, thing: SOME[thing]}).chosen == SOME[thing]
    assert READER.validate_python({"type": kind, "source": "inferred"}).chosen is None
    for wrong in ({}, {"source": "inferred", thing: SOME[thing]}, {thing: "{{ a + }}/{{ b }}"}):
        with pytest.raises(ValidationError):
            READER.validate_python({"type": kind, **wrong})


REFUSED = [
    pytest.param({"type": "declare-incident"}, "Prefect Cloud's", id="an action of the cloud"),
    pytest.param({"type": "pause-deployment"}, "name the deployment, or set source", id="nothing named"),
    pytest.param({"type": "pause-work-queue", "work_queue": "night"}, "pool/queue", id="a queue without its pool"),
    pytest.param({"type": "change-flow-run-state", "state": "RUNNING"}, "only a worker", id="a state of processes"),
    pytest.param({"type": "change-flow-run-state", "state": "LOST"}, "Input should be", id="no state"),
    pytest.param({"type": "change-flow-run-state", "state": "FAILED", "name": "a*"}, "pattern", id="no state's name"),
    pytest.param({"type": "cancel-flow-run", "flow_run": "{{ a + }}"}, "template", id="a template for a run"),
    pytest.param({"type": "emit-event", "event": "tocsin.x"}, "tocsin's own", id="a name of ours"),
    pytest.param({"type": "emit-event", "event": "x", "resource": {"a": "b"}}, "missing or empty", id="no id"),
    pytest.param(
        {"type": "emit-event", "event": "x", "related": [{"tocsin.resource.id": "a"}]}, "role", id="related, no role"
    ),
    pytest.param({"type": "emit-event", "event": "x", "payload": {"a": "{% x %}"}}, "template", id="a payload"),
]


@pytest.mark.parametrize(("given", "reason"), REFUSED)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        READER.validate_python(given)

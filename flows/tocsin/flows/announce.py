"""The event of a change: what others hear when a run reaches a state."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tocsin.events.ids import state_event_id
from tocsin.events.model import CHAIN, DEPTH, RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event
from tocsin.flows.portable import small
from tocsin.flows.states import LATE, State, StateType

FLOW_RUN: Final = "tocsin.flow-run"
TASK_RUN: Final = "tocsin.task-run"

Labels = dict[str, str]
# Any below: the columns of a row, and JSON.


def flow_run_event(run: Mapping[str, Any], before: State | None, after: State, now: datetime) -> Event:
    """The event of a flow run's change; `run` holds the columns as they are after it."""
    payload = _payload(run, before, after) | _spans(run, after, now) | {"parameters": small(run["parameters"])}
    if run["flow_version"]:
        payload["flow_version"] = run["flow_version"]
    if after.type is StateType.PAUSED and run["waits_for"] is not None:
        payload["waits_for"] = run["waits_for"]
    if after.type is StateType.PAUSED and run["waits_until"] is not None:
        payload["waits_until"] = run["waits_until"].isoformat()
    return _event(FLOW_RUN, run, after, now, _flow_relations(run), payload, run["cause"])


def task_run_event(run: Mapping[str, Any], flow: Mapping[str, Any] | None, before: State | None, after: State) -> Event:
    """The event of a task run's change; `flow` holds the columns of its flow run, if it has one."""
    task = run["task_name"]
    related = [_labels(f"tocsin.task.{task}", "task", task), *_task_relations(flow), *_tags(run["tags"])]
    payload = _payload(run, before, after) | {"task_key": run["task_key"]}
    behind = {"depth": flow["depth"], "chain": flow["chain"]} if flow else {"depth": 0, "chain": ""}
    return _event(TASK_RUN, {**run, **behind}, after, run["state_at"], related, payload, None)


def _event(
    kind: str,
    run: Mapping[str, Any],
    state: State,
    now: datetime,
    related: list[Labels],
    payload: dict[str, Any],
    cause: UUID | None,
) -> Event:
    identity, version = run["id"], run["version"]
    resource = {
        RESOURCE_ID: f"{kind}.{identity}",
        RESOURCE_NAME: run["name"],
        "tocsin.state-name": state.name,
        "tocsin.state-type": state.type.value,
        "tocsin.state-message": state.message,
        "tocsin.state-timestamp": now.isoformat(),
        "tocsin.run-count": str(run["attempt"]),
    }
    if run["depth"]:
        resource[DEPTH] = str(run["depth"])
    if run["chain"]:
        resource[CHAIN] = run["chain"]
    return Event(
        id=state_event_id(identity, version),
        event=f"{kind}.{state.name}",
        occurred=now,
        resource=resource,
        related=related,
        payload=payload,
        follows=state_event_id(identity, version - 1) if version > 1 else cause,
    )


def _payload(run: Mapping[str, Any], before: State | None, after: State) -> dict[str, Any]:
    payload = {
        "from": _shown(before) if before else None,
        "to": _shown(after),
        "attempt": run["attempt"],
        "version": run["version"],
    }
    if after.scheduled:
        payload["scheduled"] = after.scheduled.isoformat()
    if after.fault:
        payload["error"] = {"type": after.fault.type, "message": after.fault.message}
    return payload


def _spans(run: Mapping[str, Any], after: State, now: datetime) -> dict[str, float]:
    """How long a run that is over took; how late one is, or was when it started for the first time."""
    started, scheduled = run["started"], run["scheduled"]
    if after.final and started is not None:
        return {"duration_s": max(0.0, (now - started).total_seconds())}
    begins = after.type is StateType.RUNNING and started == now
    if scheduled is not None and (begins or after.name == LATE):
        return {"lateness_s": max(0.0, (now - scheduled).total_seconds())}
    return {}


def _shown(state: State) -> dict[str, str]:
    return {"type": state.type.value, "name": state.name, "message": state.message}


def _flow_relations(run: Mapping[str, Any]) -> list[Labels]:
    related = [_labels(f"tocsin.flow.{run['flow_name']}", "flow", run["flow_name"])]
    if run["deployment"]:
        related.append(_labels(f"tocsin.deployment.{run['deployment']}", "deployment", run["deployment"]))
    if run["work_pool"]:
        related.append(_labels(f"tocsin.work-pool.{run['work_pool']}", "work-pool", run["work_pool"]))
    if run["work_pool"] and run["work_queue"]:
        queue = f"{run['work_pool']}/{run['work_queue']}"
        related.append(_labels(f"tocsin.work-queue.{queue}", "work-queue", queue))
    if run["parent_run_id"]:
        related.append({RESOURCE_ID: f"{FLOW_RUN}.{run['parent_run_id']}", RESOURCE_ROLE: "parent-run"})
    if run["creator"]:
        related.append({RESOURCE_ROLE: "creator"} | run["creator"])
    return related + list(_tags(run["tags"]))


def _task_relations(flow: Mapping[str, Any] | None) -> list[Labels]:
    if flow is None:
        return []
    name = flow["flow_name"]
    run = _labels(f"{FLOW_RUN}.{flow['id']}", "flow-run", flow["name"])
    return [run, _labels(f"tocsin.flow.{name}", "flow", name)]


def _tags(tags: Iterable[str]) -> list[Labels]:
    return [{RESOURCE_ID: f"tocsin.tag.{tag}", RESOURCE_ROLE: "tag"} for tag in tags]


def _labels(identity: str, role: str, name: str) -> Labels:
    return {RESOURCE_ID: identity, RESOURCE_ROLE: role, RESOURCE_NAME: name}

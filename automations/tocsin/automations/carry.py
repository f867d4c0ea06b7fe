"""Carrying out what is done in the database alone: each action in the caller's transaction, once for its id."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlmodel import Session

from tocsin.automations import store
from tocsin.automations.attempt import Executed, Failed
from tocsin.automations.invocation import Invocation
from tocsin.automations.telling import alert_of, executed
from tocsin.events.clock import micros
from tocsin.events.codec import OURS
from tocsin.events.errors import BadEvent, Invalid, NotFound
from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event
from tocsin.flows.deployments import pause_deployment
from tocsin.flows.forget import delete_run
from tocsin.flows.pools import pause_pool
from tocsin.flows.queues import pause_queue
from tocsin.flows.runs import Refusal, cancel_run, change_run, create_run, resume_run, retry_run, suspend_run
from tocsin.flows.series import Series, create_run_of
from tocsin.flows.states import State, StateType
from tocsin.flows.tables import FlowRun
from tocsin.notifiers.take import take
from tocsin.store.log import append
from tocsin.triggers.announce import not_run
from tocsin.triggers.store import pause_schedule, resume_schedule

# Any, in this file: JSON.

Outcome = Executed | Failed
Deed = Callable[[Session, Invocation, datetime], Outcome]


def carry_out(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    """Do what `invocation` says, inside this transaction. The second time under the same id does nothing new.

    What a person has to mend (an unknown notifier, a deployment that is gone) is a failure; anything else that goes
    wrong is raised.
    """
    try:
        return DEEDS[invocation.action](session, invocation, now)
    except (Invalid, NotFound, BadEvent) as error:
        return Failed(str(error), {})


def _run_deployment(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    arguments, schedule = invocation.arguments, invocation.arguments.get("schedule")
    wanted: dict[str, Any] = {
        "parameters": arguments["parameters"],
        "scheduled": datetime.fromisoformat(arguments["scheduled"]),
        "key": str(invocation.id),
        "cause": invocation.behind,
        "creator": arguments["creator"],
        "now": now,
    }
    if schedule is None:
        run: FlowRun | Refusal = create_run(session, arguments["deployment"], **wanted)
    else:
        if schedule["backfill"]:  # it is late for nobody
            wanted["scheduled"] = max(now, wanted["scheduled"])
        run = create_run_of(session, arguments["deployment"], _series(schedule), **wanted)
    if isinstance(run, Refusal):
        return _not_run(session, invocation, run)
    return Executed({"flow_run": str(run.id), "related": [_run_label(run)]})


def _series(schedule: dict[str, Any]) -> Series:
    """Where the run of a tick stands among those of its schedule; the runs of a backfill are a series of their own."""
    turn, backfill = micros(datetime.fromisoformat(schedule["at"])), schedule["backfill"]
    if not backfill:
        return Series(schedule["slug"], turn, schedule["overlap"])
    return Series(f"{schedule['slug']} backfill", -turn if backfill["reverse"] else turn, room=backfill["max_active"])


def _not_run(session: Session, invocation: Invocation, refusal: Refusal) -> Outcome:
    deployment, schedule = invocation.arguments["deployment"], invocation.arguments["schedule"]
    at = datetime.fromisoformat(schedule["at"])
    append(session, [not_run(schedule["slug"], deployment, at, refusal.reason, invocation.behind.event)])
    return Executed({"skipped": refusal.reason})


def _retry_flow_run(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    arguments = invocation.arguments
    run = retry_run(
        session,
        UUID(arguments["run"]),
        scheduled=datetime.fromisoformat(arguments["scheduled"]),
        budget=arguments["budget"],
        cause=invocation.behind,
        key=str(invocation.id),
        now=now,
    )
    return _of_run(run, arguments["run"], {"scheduled": arguments["scheduled"]})


def _steer_flow_run(
    session: Session, invocation: Invocation, now: datetime, *, steer: Callable[..., FlowRun | Refusal]
) -> Outcome:
    """Cancel, suspend or resume it."""
    run, reason = invocation.arguments["run"], invocation.arguments["reason"]
    found = steer(session, UUID(run), reason=reason, cause=invocation.behind, now=now)
    return _of_run(found, run, {})


def _change_flow_run_state(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    arguments = invocation.arguments
    kind = StateType(arguments["state"])
    at = now if kind is StateType.SCHEDULED else None
    state = State(kind, arguments["name"], arguments["message"], scheduled=at)
    run = UUID(arguments["run"])
    changed = change_run(session, run, state, force=arguments["force"], cause=invocation.behind, now=now)
    return _of_run(changed, arguments["run"], {})


def _delete_flow_run(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    run = invocation.arguments["run"]
    refused = delete_run(session, UUID(run), cause=invocation.behind, now=now)
    return Failed(refused.reason, {"flow_run": run}) if refused else Executed({"flow_run": run})


def _of_run(run: FlowRun | Refusal, identity: str, details: dict[str, Any]) -> Outcome:
    if isinstance(run, Refusal):
        return Failed(run.reason, {"flow_run": identity})
    return Executed({"flow_run": str(run.id), "state_name": run.state_name, **details, "related": [_run_label(run)]})


def _send_notification(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    [incidents] = take(session, [alert_of(invocation, now)], now)
    return executed(invocation, incidents)


def _emit_event(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    arguments, behind = invocation.arguments, invocation.behind
    if arguments["event"].startswith(OURS):
        return Failed(f"event {arguments['event']}: names that begin with {OURS} are tocsin's own", {})
    event = Event(
        id=derive("emitted", invocation.id),
        event=arguments["event"],
        occurred=datetime.fromisoformat(arguments["occurred"]),
        resource={**arguments["resource"], **behind.labels},
        related=arguments["related"],
        payload=arguments["payload"],
        follows=behind.event,
    )
    append(session, [event], now=now)
    return Executed({"event": str(event.id), "event_name": event.event})


def _switch_deployment(session: Session, invocation: Invocation, now: datetime, *, paused: bool) -> Outcome:
    name = invocation.arguments["deployment"]
    pause_deployment(session, name, paused=paused, cause=invocation.behind, now=now)
    return _switched("deployment", name, paused)


def _switch_schedule(session: Session, invocation: Invocation, now: datetime, *, paused: bool) -> Outcome:
    slug = invocation.arguments["schedule"]
    (pause_schedule if paused else resume_schedule)(session, slug, now, invocation.behind)
    return _switched("schedule", slug, paused)


def _switch_work_pool(session: Session, invocation: Invocation, now: datetime, *, paused: bool) -> Outcome:
    name = invocation.arguments["work_pool"]
    pause_pool(session, name, paused=paused, cause=invocation.behind, now=now)
    return _switched("work-pool", name, paused)


def _switch_work_queue(session: Session, invocation: Invocation, now: datetime, *, paused: bool) -> Outcome:
    name = invocation.arguments["work_queue"]
    pool, slash, queue = name.partition("/")
    if not slash:
        return Failed(f"work queue {name!r}: name it with its pool, as pool/queue", {})
    pause_queue(session, pool, queue, paused=paused, cause=invocation.behind, now=now)
    return _switched("work-queue", name, paused)


def _switch_automation(session: Session, invocation: Invocation, now: datetime, *, paused: bool) -> Outcome:
    name = invocation.arguments["automation"]
    store.enable(session, name, not paused, now, invocation.behind)
    return _switched("automation", name, paused)


def _switched(kind: str, name: str, paused: bool) -> Executed:
    label = {RESOURCE_ID: f"tocsin.{kind}.{name}", RESOURCE_ROLE: kind, RESOURCE_NAME: name}
    return Executed({kind.replace("-", "_"): name, "paused": paused, "related": [label]})


def _do_nothing(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    return Executed({})


def _run_label(run: FlowRun) -> dict[str, str]:
    return {RESOURCE_ID: f"tocsin.flow-run.{run.id}", RESOURCE_ROLE: "flow-run", RESOURCE_NAME: run.name}


DEEDS: Final[dict[str, Deed]] = {
    "run-deployment": _run_deployment,
    "retry-flow-run": _retry_flow_run,
    "cancel-flow-run": partial(_steer_flow_run, steer=cancel_run),
    "suspend-flow-run": partial(_steer_flow_run, steer=suspend_run),
    "resume-flow-run": partial(_steer_flow_run, steer=resume_run),
    "change-flow-run-state": _change_flow_run_state,
    "delete-flow-run": _delete_flow_run,
    "send-notification": _send_notification,
    "emit-event": _emit_event,
    "pause-deployment": partial(_switch_deployment, paused=True),
    "resume-deployment": partial(_switch_deployment, paused=False),
    "pause-schedule": partial(_switch_schedule, paused=True),
    "resume-schedule": partial(_switch_schedule, paused=False),
    "pause-work-pool": partial(_switch_work_pool, paused=True),
    "resume-work-pool": partial(_switch_work_pool, paused=False),
    "pause-work-queue": partial(_switch_work_queue, paused=True),
    "resume-work-queue": partial(_switch_work_queue, paused=False),
    "pause-automation": partial(_switch_automation, paused=True),
    "resume-automation": partial(_switch_automation, paused=False),
    "do-nothing": _do_nothing,
}

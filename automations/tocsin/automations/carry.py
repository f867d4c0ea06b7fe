"""Carrying out what is done in the database alone: start a run, retry one, put down a notification."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlmodel import Session

from tocsin.automations.attempts import Executed, Failed
from tocsin.automations.plan import Invocation
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE
from tocsin.flows.runs import Refusal, create_run, retry_run
from tocsin.flows.tables import FlowRun
from tocsin.notifiers.outbox import notify

Outcome = Executed | Failed


def carry_out(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    """Do what `invocation` says, inside this transaction. The second time under the same id does nothing new.

    What a person has to mend (an unknown notifier, a deployment that is gone) is a failure; anything else that goes
    wrong is raised.
    """
    try:
        return _DEEDS[invocation.action](session, invocation, now)
    except (Invalid, NotFound) as error:
        return Failed(str(error), {})


def _run_deployment(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    arguments = invocation.arguments
    run = create_run(
        session,
        arguments["deployment"],
        parameters=arguments["parameters"],
        scheduled=datetime.fromisoformat(arguments["scheduled"]),
        key=str(invocation.id),
        cause=UUID(invocation.cause["event"]),
        creator=arguments["creator"],
        depth=invocation.cause["depth"] + 1,
        now=now,
    )
    return Executed({"flow_run": str(run.id), "related": [_run_label(run)]})


def _retry_flow_run(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    arguments = invocation.arguments
    run = retry_run(
        session,
        UUID(arguments["run"]),
        scheduled=datetime.fromisoformat(arguments["scheduled"]),
        budget=arguments["budget"],
        cause=UUID(invocation.cause["event"]),
        key=str(invocation.id),
        now=now,
    )
    if isinstance(run, Refusal):
        return Failed(run.reason, {"flow_run": arguments["run"]})
    return Executed({"flow_run": str(run.id), "scheduled": arguments["scheduled"], "related": [_run_label(run)]})


def _send_notification(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    arguments: Mapping[str, Any] = invocation.arguments  # Any: JSON
    incident = notify(
        session,
        notifier=arguments["notifier"],
        incident_key=arguments["incident_key"],
        action=arguments["action"],
        subject=arguments["subject"],
        body=arguments["body"],
        severity=arguments["severity"],
        labels=arguments["labels"],
        event_id=UUID(invocation.cause["event"]),
        now=now,
        lasting=arguments["lasting"],
        depth=invocation.cause["depth"] + 1,
    )
    found = str(incident.id) if incident is not None else None
    return Executed({"notifier": arguments["notifier"], "notification": arguments["action"], "incident": found})


def _do_nothing(session: Session, invocation: Invocation, now: datetime) -> Outcome:
    return Executed({})


def _run_label(run: FlowRun) -> dict[str, str]:
    return {RESOURCE_ID: f"tocsin.flow-run.{run.id}", RESOURCE_ROLE: "flow-run", RESOURCE_NAME: run.name}


_DEEDS: Final[dict[str, Callable[[Session, Invocation, datetime], Outcome]]] = {
    "run-deployment": _run_deployment,
    "retry-flow-run": _retry_flow_run,
    "send-notification": _send_notification,
    "do-nothing": _do_nothing,
}

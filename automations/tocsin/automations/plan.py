"""From a firing to invocations: one an action, fully rendered, under ids that a replay names again. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, assert_never
from uuid import UUID

from tocsin.automations.actions import (
    Action,
    CallWebhook,
    DoNothing,
    RetryFlowRun,
    RunDeployment,
    SendNotification,
)
from tocsin.automations.builtin import SCHEDULES
from tocsin.automations.context import attempt, deployment_name, flow_run_id, shown_name, template_context
from tocsin.automations.guard import refusal
from tocsin.automations.model import Automation
from tocsin.automations.secrets import STORED, keep
from tocsin.events.errors import Invalid
from tocsin.events.ids import invocation_id
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME
from tocsin.events.templates import render, render_value
from tocsin.triggers.window import Firing

# Any, in this file: rendered arguments are JSON.
Arguments = dict[str, Any]


@dataclass(frozen=True)
class Invocation:
    """One action to carry out. `refused`: why it must not or cannot be, told in its outcome.

    `cause` holds the triggering event's `event` (id), `name`, `resource` (id) and `depth`.
    """

    id: UUID
    firing: UUID
    automation: str
    position: int
    action: str
    arguments: Arguments
    cause: dict[str, Any]
    refused: str | None = None


@dataclass(frozen=True)
class _Wanted:
    """An action with what it is to do about an incident: open it, or close it."""

    action: Action
    resolves: bool = False
    automatic: bool = field(default=False)


def plan(automation: Automation, firing: Firing) -> list[Invocation]:
    """The invocations of `firing`: `on_trigger`, or when it resolves `actions_on_resolve`, then the end of every
    notification that has no word of its own for it.

    An action whose template fails is refused with the reason; a notification is sent all the same and says so. At the
    end of a chain of automations all are refused but the word that something is over.
    """
    context = template_context(automation, firing)
    event = firing.event
    cause = {"event": str(event.id), "name": event.event, "resource": event.resource_id, "depth": event.depth}
    return [
        _invocation(automation, firing, position, wanted, context, cause)
        for position, wanted in enumerate(_wanted(automation, firing))
    ]


def _wanted(automation: Automation, firing: Firing) -> Iterator[_Wanted]:
    if firing.state == "Triggered":
        yield from map(_Wanted, automation.on_trigger)
        return
    said = {action.notifier for action in automation.actions_on_resolve if isinstance(action, SendNotification)}
    told = {action.notifier: action for action in automation.told}
    yield from (_Wanted(action, isinstance(action, SendNotification)) for action in automation.actions_on_resolve)
    yield from (_Wanted(action, True, True) for notifier, action in told.items() if notifier not in said)


def _invocation(
    automation: Automation,
    firing: Firing,
    position: int,
    wanted: _Wanted,
    context: dict[str, Any],
    cause: dict[str, Any],
) -> Invocation:
    refused = None if wanted.resolves else refusal(firing.event)
    arguments: Arguments = {}
    try:
        arguments = _arguments(automation, firing, wanted, context)
    except (Invalid, _Impossible) as error:
        refused = refused or str(error)
    identity = invocation_id(firing.id, position)
    return Invocation(identity, firing.id, automation.name, position, wanted.action.type, arguments, cause, refused)


def _arguments(automation: Automation, firing: Firing, wanted: _Wanted, context: dict[str, Any]) -> Arguments:
    match wanted.action:
        case RunDeployment() as action:
            return _run_deployment(automation, firing, action, context)
        case RetryFlowRun() as action:
            return _retry_flow_run(firing, action)
        case SendNotification() as action:
            return _send_notification(automation, firing, action, wanted, context)
        case CallWebhook() as action:
            return _call_webhook(automation, firing, action, context)
        case DoNothing():
            return {}
        case _ as never:
            assert_never(never)


def _run_deployment(
    automation: Automation, firing: Firing, action: RunDeployment, context: dict[str, Any]
) -> Arguments:
    event = firing.event
    deployment = action.deployment or deployment_name(event)
    if deployment is None:
        raise _Impossible(f"event {event.event} is related to no deployment; name one in the action")
    ticked = automation.name == SCHEDULES.name
    parameters = render_value(action.parameters, context)
    if ticked:  # a schedule's own parameters may ask for the times of its tick
        parameters = render_value(parameters, {**context, **event.payload})
    if not isinstance(parameters, dict):
        raise _Impossible(f"parameters are rendered to {type(parameters).__name__}; they must be an object")
    creator = event.resource if ticked else {RESOURCE_ID: f"tocsin.automation.{automation.name}"}
    return {
        "deployment": deployment,
        "parameters": parameters,
        "scheduled": (firing.at + action.schedule_after).isoformat(),
        "creator": {name: creator[name] for name in (RESOURCE_ID, RESOURCE_NAME) if name in creator},
    }


def _retry_flow_run(firing: Firing, action: RetryFlowRun) -> Arguments:
    identity = flow_run_id(firing.event)
    if identity is None:
        raise _Impossible(f"event {firing.event.event} is about no flow run; there is nothing to retry")
    try:
        run = UUID(identity)
    except ValueError as error:
        raise _Impossible(f"{identity} is no flow run's id") from error
    return {
        "run": str(run),
        "budget": action.budget,
        "scheduled": (firing.at + retry_delay(action, attempt(firing.event))).isoformat(),
    }


def retry_delay(action: RetryFlowRun, attempt: int) -> timedelta:
    """Wait between the failure of the `attempt`-th try (from 1) and the next: `delay * factor**(attempt-1)`, capped."""
    try:
        grown = action.delay * action.factor ** (attempt - 1)
    except OverflowError:
        return action.ceiling
    return min(grown, action.ceiling)


def _send_notification(
    automation: Automation, firing: Firing, action: SendNotification, wanted: _Wanted, context: dict[str, Any]
) -> Arguments:
    own = None if wanted.automatic else action
    subject, body = plain_words(automation, firing)
    return {
        "notifier": action.notifier,
        "incident_key": f"{automation.name}/{firing.episode}",
        "action": "resolve" if wanted.resolves else "trigger",
        "subject": _said(own.subject if own else None, subject, context),
        "body": _said(own.body if own else None, body, context),
        "severity": automation.severity,
        "lasting": automation.resolve_on is not None,
        "labels": {**firing.labels, RESOURCE_ID: firing.event.resource_id, "tocsin.event": firing.event.event},
    }


def plain_words(automation: Automation, firing: Firing) -> tuple[str, str]:
    """Subject and body for people when the automation has none of its own."""
    event = firing.event
    name = shown_name(event)
    subject = f"{automation.name}: {name}" if firing.state == "Triggered" else f"Resolved: {automation.name}: {name}"
    message = event.resource.get("tocsin.state-message", "")
    lines = [f"{event.event} at {event.occurred.isoformat(timespec='seconds')}", message, automation.description]
    return subject, "\n".join(line for line in lines if line)


def _said(source: str | None, otherwise: str, context: dict[str, Any]) -> str:
    """The rendered text. People are told even when it cannot be rendered."""
    if source is None:
        return otherwise
    try:
        return render(source, context)
    except Invalid as error:
        return f"{otherwise}\n({error})"


def _call_webhook(automation: Automation, firing: Firing, action: CallWebhook, context: dict[str, Any]) -> Arguments:
    if action.payload is None:
        subject, body = plain_words(automation, firing)
        payload: Any = {"subject": subject, "body": body, "firing": context["firing"], "event": context["event"]}
    else:
        payload = render_value(action.payload, context)
    return {
        "url": action.url,
        "notifier": action.notifier,
        "payload": payload,
        "headers": {name: keep(value, STORED) for name, value in action.headers.items()},
        "secret": keep(action.secret, STORED) if action.secret else None,
        "allow_private": list(action.allow_private),
    }


class _Impossible(Exception):
    """The event does not hold what the action needs."""

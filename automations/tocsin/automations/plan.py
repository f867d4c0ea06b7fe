"""From a firing to invocations: one an action, fully rendered, under ids that a replay names again. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, assert_never

from tocsin.automations.action import OnFlowRun
from tocsin.automations.actions import Action, DoNothing
from tocsin.automations.actions_messages import CallWebhook, EmitEvent, SendNotification
from tocsin.automations.actions_runs import RunDeployment
from tocsin.automations.actions_switches import OnAutomation, OnDeployment, OnSchedule, OnWorkPool, OnWorkQueue
from tocsin.automations.guard import exhausted, refusal
from tocsin.automations.invocation import Arguments, Invocation, cause_of
from tocsin.automations.model import Automation
from tocsin.automations.rendered import Impossible, Rendering
from tocsin.automations.rendered_messages import call_webhook, emit_event, send_notification
from tocsin.automations.rendered_runs import on_flow_run, run_deployment, switch
from tocsin.events.errors import Invalid
from tocsin.events.ids import invocation_id
from tocsin.triggers.steps import Firing


@dataclass(frozen=True)
class _Wanted:
    """An action with what it is to do about an incident: open it, or close it."""

    action: Action
    resolves: bool = False
    automatic: bool = False


def plan(automation: Automation, firing: Firing) -> list[Invocation]:
    """The invocations of `firing`: `on_trigger`, or when it resolves `actions_on_resolve`, then the end of every
    notification that has no word of its own for it.

    An action whose template fails is refused with the reason; a notification is sent all the same and says so. What
    the loop guard forbids is refused, all but the word that something is over.
    """
    rendering = Rendering(automation, firing)
    cause = cause_of(firing)
    return [
        _invocation(rendering, position, wanted, cause) for position, wanted in enumerate(_wanted(automation, firing))
    ]


def _wanted(automation: Automation, firing: Firing) -> Iterator[_Wanted]:
    if firing.state == "Triggered":
        yield from map(_Wanted, automation.on_trigger)
        return
    said = {action.target for action in automation.actions_on_resolve if isinstance(action, SendNotification)}
    told = {action.target: action for action in automation.told}
    yield from (_Wanted(action, isinstance(action, SendNotification)) for action in automation.actions_on_resolve)
    yield from (_Wanted(action, True, True) for target, action in told.items() if target not in said)


def _invocation(rendering: Rendering, position: int, wanted: _Wanted, cause: dict[str, Any]) -> Invocation:
    automation, firing = rendering.automation, rendering.firing
    refused = None if wanted.resolves else _refusal(automation, firing)
    arguments: Arguments = {}
    try:
        arguments = _arguments(rendering, wanted)
    except (Invalid, Impossible) as error:
        refused = refused or str(error)
    identity = invocation_id(firing.id, position)
    return Invocation(identity, firing.id, automation.name, position, wanted.action.type, arguments, cause, refused)


def _refusal(automation: Automation, firing: Firing) -> str | None:
    """What the loop guard has against it. An end may be of an automation's own making: it fires nothing again."""
    if firing.state == "Resolved":
        return exhausted(firing.about)
    return refusal(automation.name, firing.about)


def _arguments(rendering: Rendering, wanted: _Wanted) -> Arguments:
    match wanted.action:
        case RunDeployment() as action:
            return run_deployment(rendering, action)
        case OnFlowRun() as action:
            return on_flow_run(rendering, action)
        case SendNotification() as action:
            return send_notification(rendering, action, resolves=wanted.resolves, automatic=wanted.automatic)
        case CallWebhook() as action:
            return call_webhook(rendering, action)
        case EmitEvent() as action:
            return emit_event(rendering, action)
        case OnDeployment() | OnSchedule() | OnWorkPool() | OnWorkQueue() | OnAutomation() as action:
            return switch(rendering, action)
        case DoNothing():
            return {}
        case _ as never:
            assert_never(never)

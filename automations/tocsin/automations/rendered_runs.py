"""The arguments of actions on work and on what can be paused."""

from datetime import timedelta
from typing import Final

from tocsin.automations.action import Chosen, OnFlowRun
from tocsin.automations.actions_runs import ChangeFlowRunState, RetryFlowRun, RunDeployment
from tocsin.automations.invocation import Arguments
from tocsin.automations.rendered import Impossible, Rendering
from tocsin.automations.targets import as_id, attempt, name_of
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.events.templates import render_value

SCHEDULES: Final = "tocsin.schedules"
"""The built-in automation that runs deployments at their ticks."""


def run_deployment(rendering: Rendering, action: RunDeployment) -> Arguments:
    """Which deployment, with which parameters, when, on whose behalf."""
    automation, firing, event = rendering.automation, rendering.firing, rendering.firing.about
    ticked = automation.name == SCHEDULES and event is not None
    deployment = chosen(rendering, action)
    parameters = rendering.value(action.parameters)
    if ticked and event is not None:  # a schedule's own parameters may ask for the times of its tick
        parameters = render_value(parameters, {**rendering.context, **event.payload})
    if not isinstance(parameters, dict):
        raise Impossible(f"parameters are rendered to {type(parameters).__name__}; they must be an object")
    creator = {RESOURCE_ID: f"tocsin.automation.{automation.name}"}
    if ticked and event is not None:
        creator = {name: event.resource[name] for name in (RESOURCE_ID, RESOURCE_NAME) if name in event.resource}
    arguments: Arguments = {
        "deployment": deployment,
        "parameters": parameters,
        "scheduled": (firing.at + action.schedule_after).isoformat(),
        "creator": creator,
    }
    if ticked and event is not None:
        arguments["schedule"] = _tick(event)
    return arguments


def _tick(event: Event) -> Arguments:
    """Which tick of which schedule it is, and what becomes of its run while earlier ones are not finished."""
    return {
        "slug": event.resource_id.removeprefix("tocsin.schedule."),
        "at": event.occurred.isoformat(),
        "overlap": event.payload.get("overlap", "allow"),
        "backfill": event.payload.get("backfill"),
    }


def on_flow_run(rendering: Rendering, action: OnFlowRun) -> Arguments:
    """Which run, and what is to become of it."""
    run = {"run": _run(rendering, action)}
    match action:
        case RetryFlowRun():
            delay = retry_delay(action, attempt(rendering.things))
            return {**run, "budget": action.budget, "scheduled": (rendering.firing.at + delay).isoformat()}
        case ChangeFlowRunState():
            message = rendering.text(action.message)
            state = {"state": action.state.value, "name": action.state_name, "message": message}
            return {**run, **state, "force": action.force}
        case _:
            return {**run, "reason": f"automation {rendering.automation.name}"}


def switch(rendering: Rendering, action: Chosen) -> Arguments:
    """Which thing is to be paused or to go on."""
    return {action.THING: chosen(rendering, action)}


def chosen(rendering: Rendering, action: Chosen) -> str:
    """The thing that the action names, or that the firing is about. Raises Impossible when there is none."""
    thing = action.THING.replace("_", " ")
    if action.chosen is not None:
        return rendering.name(action.chosen, thing)
    found = name_of(action.THING.replace("_", "-"), rendering.things)
    if found is None:
        raise Impossible(f"{rendering.about} is related to no {thing}; name one in the action")
    return found


def retry_delay(action: RetryFlowRun, attempt: int) -> timedelta:
    """Wait between the failure of the `attempt`-th try (from 1) and the next: `delay * factor**(attempt-1)`, capped."""
    try:
        grown = action.delay * action.factor ** (attempt - 1)
    except OverflowError:
        return action.ceiling
    return min(grown, action.ceiling)


def _run(rendering: Rendering, action: OnFlowRun) -> str:
    found = rendering.name(action.flow_run, "flow run") if action.flow_run else name_of("flow-run", rendering.things)
    if found is None:
        raise Impossible(f"{rendering.about} is about no flow run; name one in the action as flow_run")
    run = as_id(found.removeprefix("tocsin.flow-run."))
    if isinstance(run, str):
        raise Impossible(f"{run} is no flow run's id")
    return str(run)

"""Automations that are always there."""

from typing import Final

from tocsin.automations.actions import RunDeployment
from tocsin.automations.model import Automation
from tocsin.automations.rendered_runs import SCHEDULES as NAME
from tocsin.triggers.event import EventTrigger

TICK: Final = "tocsin.schedule.tick"

SCHEDULES: Final = Automation(
    name=NAME,
    description="A tick of a deployment's schedule runs the deployment.",
    rate_limit=None,
    trigger=EventTrigger(expect=[TICK], match_related={"tocsin.resource.role": "deployment"}),
    actions=[RunDeployment(source="inferred", parameters="{{ event.payload.parameters or {} }}")],
)

BUILTIN: Final = (SCHEDULES,)


def is_builtin(name: str) -> bool:
    """Whether an automation of this name is one of tocsin's own, which nobody else may define."""
    return name.startswith("tocsin.")

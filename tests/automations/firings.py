"""Firings as values, for what is made of them."""

from datetime import timedelta
from typing import Any

from tests.automations.parts import START
from tocsin.automations.invocation import Invocation
from tocsin.automations.model import Automation
from tocsin.automations.plan import plan
from tocsin.events.model import Event
from tocsin.triggers.steps import Firing


def firing(event: Event | None, *, automation: str = "rule", at: float = 60, **more: Any) -> Firing:
    """A firing of `automation` for `event`; without one, of a deadline `at` seconds after the start."""
    labels: dict[str, str] = more.pop("labels", {})
    instant = event.occurred if event is not None else START + timedelta(seconds=at)
    cause = "" if event is not None else f"due:{at}"
    names, key = tuple(labels), tuple(labels.values())
    return Firing(automation=automation, key=key, names=names, at=instant, event=event, cause=cause, **more)


def planned_one(automation: Automation, event: Event | None, **more: Any) -> Invocation:
    """The only invocation of such a firing."""
    [invocation] = plan(automation, firing(event, automation=automation.name, **more))
    return invocation

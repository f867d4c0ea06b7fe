"""Firings as values, for what is made of them."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

from tests.automations.parts import START
from tocsin.automations.invocation import Invocation
from tocsin.automations.model import Automation
from tocsin.automations.plan import plan
from tocsin.events.model import Event
from tocsin.triggers.steps import Firing

_SPACE = UUID(int=7)


def firing(event: Event | None, *, automation: str = "rule", at: float = 60, **more: Any) -> Firing:
    """A firing of `automation` for `event`; without one, of a deadline `at` seconds after the start."""
    labels: dict[str, str] = more.pop("labels", {})
    identity = uuid5(_SPACE, f"{automation}{event.id if event else at}{sorted(labels.items())}")
    instant = event.occurred if event is not None else START + timedelta(seconds=at)
    given = {"count": 1, "episode": identity, "state": "Triggered", **more}
    key = tuple(labels.values())
    return Firing(id=identity, automation=automation, key=key, at=instant, event=event, labels=labels, **given)


def planned_one(automation: Automation, event: Event | None, **more: Any) -> Invocation:
    """The only invocation of such a firing."""
    [invocation] = plan(automation, firing(event, automation=automation.name, **more))
    return invocation

"""A stretch of the log once more, to one automation: what it would fire, and on request what it would do.

What is done in a replay is done under the ids that it would have had live. So what was done already is not done again,
and a replay that is repeated does nothing new. Its firings and outcomes are marked.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec
from sqlmodel import Session

from tocsin.automations import store
from tocsin.automations.evaluate import Decided
from tocsin.automations.invocation import REPLAY
from tocsin.automations.ledger import known_firings
from tocsin.automations.model import Automation
from tocsin.automations.recorded import from_log
from tocsin.automations.recording import Decision, Decisions, decisions, record
from tocsin.automations.simulation import Simulated, play, simulated
from tocsin.events.errors import Invalid
from tocsin.triggers.steps import Firing

CAP: Final = 10_000
"""Firings of one replay that may act: more is a mistake in the range."""


@dataclass(frozen=True)
class Replayed:
    """A firing of a replay: on record before (`known`), or new and, if so asked, acted on."""

    firing: Simulated
    known: bool


def replay(
    session: Session, name: str, since: datetime, until: datetime, *, act: bool, now: datetime
) -> list[Replayed]:
    """What the automation fires, by its present definition, on the events that came from `since` on, before `until`.

    It begins with nothing remembered, and leaves what is remembered alone: an episode that it opens and does not end
    stays open. With `act`, the firings that are not on
    record are put there with their actions, marked as a replay. Raises `NotFound`, and `Invalid` for too many.
    """
    automation = store.get(session, name).automation.model_copy(update={"enabled": True})
    decided = list(play([automation], from_log(session, since, until), until))
    firings = [firing for one in decided for firing in one.firings]
    known = known_firings(session, [firing.id for firing in firings])
    if act:
        _act(session, automation, [one for one in firings if one.id not in known], now)
    return [Replayed(simulated(firing), firing.id in known) for firing in firings]


def _act(session: Session, automation: Automation, firings: list[Firing], now: datetime) -> None:
    if len(firings) > CAP:
        raise Invalid(f"{len(firings):,} firings would act, at most {CAP:,} at once; give a shorter time")
    made = decisions({automation.name: automation}, Decided(firings=firings))
    record(session, Decisions(firings=list(_marked(made))), now)


def _marked(made: list[Decision]) -> Iterator[Decision]:
    """The decisions, marked; there is no limit to how many firings of the past may come at once."""
    for one in made:
        told = msgspec.structs.replace(one.told, payload={**one.told.payload, REPLAY: True})
        marked = tuple(replace(each, cause={**each.cause, REPLAY: True}) for each in one.invocations)
        yield Decision(one.firing, told, marked, None)

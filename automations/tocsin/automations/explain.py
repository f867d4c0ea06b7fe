"""Why an automation fired on an event of the log, or did not: what is on record, and each condition with what it saw.

Firings are on record, near-misses and errors for a while. Of the rest nothing is kept: then the event is decided again,
by today's definition and on what the log has of the time before, by the code that decides live.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlmodel import Session, col, select

from tocsin.automations import store
from tocsin.automations.evaluate import Decided
from tocsin.automations.model import Automation
from tocsin.automations.recorded import Logged, find, leading_up
from tocsin.automations.simulation import Playing
from tocsin.automations.tables import StoredEvaluation, StoredFiring, StoredInvocation
from tocsin.automations.why import OFF, Condition, conditions, reach, said, told, unmatched
from tocsin.events.clock import micros
from tocsin.events.errors import NotFound
from tocsin.store import positions
from tocsin.triggers.steps import Verdict

LOOKED_BACK: Final = 20_000
"""How many events are read again, at most, to decide one anew."""

_LOOKED_AHEAD: Final = 1_000

GROUP: Final = "automations"
"""The group of readers in which automations are evaluated."""

_LOG: Final = ("log", 0)


@dataclass(frozen=True)
class Evaluated:
    """What was decided about the event under one key. Any: the verdict's JSON."""

    key: list[str]
    at: datetime
    outcome: str
    said: str
    verdict: dict[str, Any]


@dataclass(frozen=True)
class Acted:
    """One action of a firing, and how it went. Any: an attempt's JSON."""

    action: str
    position: int
    state: str
    reason: str | None
    attempts: list[dict[str, Any]]


@dataclass(frozen=True)
class Fired:
    """A firing that the event caused, and what came of it."""

    id: UUID
    state: str
    at: datetime
    count: int
    labels: dict[str, str]
    late: bool
    invocations: list[Acted]


@dataclass(frozen=True)
class Explanation:
    """The answer, and what it rests on. `followed_by`: the next firing under the key, of an event that fired nothing.

    `notes` say where the answer may not be the whole truth.
    """

    automation: str
    event_id: UUID
    event: str
    resource: str
    occurred: datetime
    received: datetime
    answer: str
    conditions: list[Condition]
    firings: list[Fired] = field(default_factory=list)
    followed_by: Fired | None = None
    evaluations: list[Evaluated] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def explain(session: Session, name: str, event_id: UUID) -> Explanation:
    """Why the automation fired on the event, or did not. Raises `NotFound` for an unknown automation or event."""
    listed = store.get(session, name)
    found = find(session, event_id)
    if found is None:
        raise NotFound(f"no event in the log has the id {event_id}; `tocsin event ls` lists the newest")
    automation, event = listed.automation, found.event
    firings, evaluations = _firings(session, name, event_id), _evaluations(session, name, event_id)
    notes = [*_cautions(session, automation, listed.updated, found)]
    if firings or evaluations:
        answer = _of_record(firings, evaluations)
    else:
        answer, note = _anew(session, automation, found)
        notes.append(note)
    return Explanation(
        automation=name,
        event_id=event_id,
        event=event.event,
        resource=event.resource_id,
        occurred=event.occurred,
        received=found.received,
        answer=answer,
        conditions=conditions(automation, event),
        firings=firings,
        followed_by=_next(session, name, event.occurred, evaluations) if evaluations and not firings else None,
        evaluations=evaluations,
        notes=notes,
    )


def _cautions(session: Session, automation: Automation, updated: datetime, found: Logged) -> Iterator[str]:
    if not automation.enabled:
        yield OFF
    reached = positions.offsets(session, GROUP)
    if not reached:
        yield "no event was ever evaluated here; is a processor running?"
    elif reached.get(_LOG, found.seq + 1) <= found.seq:
        yield "the processor has not come to it yet"
    if updated > found.received:
        yield f"it was changed since, at {updated:%Y-%m-%d %H:%M:%S}Z; the conditions are those of today"


def _of_record(firings: Sequence[Fired], evaluations: Sequence[Evaluated]) -> str:
    parts = [f"{'fired' if one.state == 'Triggered' else 'was over'}, count {one.count}" for one in firings]
    return "; ".join([*parts, *(f"did not fire: {one.said}" for one in evaluations)])


def _anew(session: Session, automation: Automation, found: Logged) -> tuple[str, str]:
    """What it comes to by today's definition, and what that rests on."""
    if not any(one.matched for one in conditions(automation, found.event)) or not automation.enabled:
        return (
            f"did not fire: {'; '.join(unmatched(automation, found.event))}",
            "nothing is kept of it: it did not match",
        )
    decided, read = _decided_again(session, automation, found)
    lines = "; ".join(told(automation.name, decided)) or "that changes nothing"
    return (
        f"decided again: {lines}",
        f"nothing is kept of it; it was decided again by today's definition, on the {read} events before it",
    )


def _decided_again(session: Session, automation: Automation, found: Logged) -> tuple[Decided, int]:
    playing = Playing([automation])
    since = found.received - 2 * reach(automation.trigger) - timedelta(seconds=1)
    happened = leading_up(session, found, since, LOOKED_BACK)
    decided = Decided()
    for event, received in happened:
        playing.begin(micros(received))
        playing.wait(micros(received) - 1)
        decided = playing.tell(event, micros(received))
    return decided, len(happened) - 1


def _firings(session: Session, name: str, event_id: UUID) -> list[Fired]:
    statement = select(StoredFiring).where(StoredFiring.event_id == event_id, StoredFiring.automation == name)
    return [_fired(session, row) for row in session.exec(statement.order_by(col(StoredFiring.recorded)))]


def _next(session: Session, name: str, since: datetime, evaluations: Sequence[Evaluated]) -> Fired | None:
    """The next firing under a key of `evaluations`, among the next few of the automation."""
    keys = [one.key for one in evaluations]
    later = select(StoredFiring).where(StoredFiring.automation == name, StoredFiring.at >= since)
    rows = session.exec(later.order_by(col(StoredFiring.at)).limit(_LOOKED_AHEAD))
    return next((_fired(session, row) for row in rows if row.key in keys), None)


def _fired(session: Session, row: StoredFiring) -> Fired:
    mine = select(StoredInvocation).where(StoredInvocation.firing_id == row.id)
    acted = [
        Acted(one.action, one.position, one.state, one.reason, one.attempts)
        for one in session.exec(mine.order_by(col(StoredInvocation.position)))
    ]
    return Fired(row.id, row.state, row.at, row.count, row.labels, row.late, acted)


def _evaluations(session: Session, name: str, event_id: UUID) -> list[Evaluated]:
    mine = StoredEvaluation.event_id == event_id, StoredEvaluation.automation == name
    rows = session.exec(select(StoredEvaluation).where(*mine).order_by(col(StoredEvaluation.seq)))
    return [_evaluated(row) for row in rows]


def _evaluated(row: StoredEvaluation) -> Evaluated:
    return Evaluated(row.key, row.at, row.outcome, said(msgspec.convert(row.verdict, Verdict)), row.verdict)

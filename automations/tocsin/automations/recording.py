"""Decisions on record: firings, invocations, the events that tell of them, and why the rest fired nothing.

Both hosts end here, in one transaction a batch. Everything carries a derived id, so that a batch that comes again
changes nothing. The loop guard's rate is looked at here, where all firings of an automation come together.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import case, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from tocsin.automations import ledger, lifecycle, store
from tocsin.automations.evaluate import Book, Decided
from tocsin.automations.guard import over_rate
from tocsin.automations.invocation import Invocation
from tocsin.automations.plan import plan
from tocsin.automations.tables import StoredEvaluation, Tally
from tocsin.automations.telling import Told, tell
from tocsin.automations.trace import Evaluation
from tocsin.events.clock import instant
from tocsin.events.model import Event
from tocsin.store.engine import insert_new, touch
from tocsin.store.log import append
from tocsin.triggers.steps import Firing

MINUTE: Final = timedelta(minutes=1)
KEPT: Final = 200
"""Evaluations kept of an automation."""
KEPT_A_BATCH: Final = 10
"""Evaluations kept of an automation out of one batch: the newest."""


class Decision(msgspec.Struct, frozen=True):
    """A firing with all that follows from it; `limit` is how often its automation may fire within a minute."""

    firing: Firing
    told: Event
    invocations: tuple[Invocation, ...]
    limit: int | None


class Decisions(msgspec.Struct):
    """What a batch of events led to. `events` is how many there were, `concerned` how many each automation met,
    `errors` how often an expression of an automation failed, with the last reason.
    """

    firings: list[Decision] = []
    traces: list[Evaluation] = []
    events: int = 0
    concerned: dict[str, int] = {}
    errors: dict[str, tuple[int, str]] = {}


def decisions(book: Book, decided: Decided) -> list[Decision]:
    """Each firing of `decided` with its event and its invocations, of automations that `book` holds.

    Raises `BadEvent` when one cannot be told.
    """
    return [
        Decision(one, lifecycle.fired(one), tuple(plan(automation, one)), automation.rate_limit)
        for one in decided.firings
        if (automation := book.get(one.automation)) is not None
    ]


def record(session: Session, batch: Decisions, now: datetime) -> None:
    """Write `batch` down; what is on record already is left alone."""
    _record_firings(session, batch.firings, now)
    _record_traces(session, batch.traces)
    _count(session, batch)


def _record_firings(session: Session, given: Sequence[Decision], now: datetime) -> None:
    if not given:
        return
    known = ledger.known_firings(session, [one.firing.id for one in given])
    new = [one for one in given if one.firing.id not in known]
    ledger.write_firings(session, [one.firing for one in new], now)
    refusals = _too_many(session, new)
    invocations = [
        replace(invocation, refused=refusals[index]) if index in refusals else invocation
        for index, one in enumerate(new)
        for invocation in one.invocations
    ]
    episodes = {one.firing.id: one.firing.episode for one in new if one.firing.over}
    told = tell(session, invocations, episodes, now)
    ledger.write_invocations(session, invocations, now, told.keys())
    append(session, [*(one.told for one in new), *_outcomes(invocations, told, now)], now=now)
    for name, reason in {new[index].firing.automation: reason for index, reason in refusals.items()}.items():
        store.pause(session, name, reason, now)
    touch(session, ledger.CHANNEL)


def _outcomes(invocations: Sequence[Invocation], told: Told, now: datetime) -> list[Event]:
    """The events of what was refused, and of whom people are told of already."""
    found = []
    for one in invocations:
        if one.refused:
            found.append(lifecycle.outcome(one, "failed", now, {"reason": one.refused}))
        elif one.id in told:
            found.append(lifecycle.outcome(one, "executed", now, told[one.id].details))
    return found


def _too_many(session: Session, new: Sequence[Decision]) -> dict[int, str]:
    """Why, by place in `new`, nothing may be done for a firing: its automation fires too often."""
    mine: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(new):
        if one.firing.state == "Triggered" and one.limit is not None:
            mine[one.firing.automation].append(index)
    refusals = {}
    for name, places in mine.items():
        latest = max(new[index].firing.at for index in places)
        recent = [index for index in places if new[index].firing.at > latest - MINUTE]
        before = ledger.firings_within(session, name, latest - MINUTE, latest) - len(recent)
        for rank, index in enumerate(recent, 1):
            if reason := over_rate(before + rank, name, new[index].limit):
                refusals[index] = reason
    return refusals


def _record_traces(session: Session, traces: Sequence[Evaluation]) -> None:
    """Keep the newest of each automation, and forget those that are older than the newest `KEPT`."""
    mine: dict[str, list[Evaluation]] = defaultdict(list)
    for one in traces:
        mine[one.automation].append(one)
    rows = [_trace_row(one) for found in mine.values() for one in found[-KEPT_A_BATCH:]]
    insert_new(session, StoredEvaluation, rows)
    for name in mine:
        oldest = (
            select(StoredEvaluation.seq)
            .where(StoredEvaluation.automation == name)
            .order_by(col(StoredEvaluation.seq).desc())
            .offset(KEPT)
            .limit(1)
            .scalar_subquery()
        )
        old = delete(StoredEvaluation).where(
            col(StoredEvaluation.automation) == name, col(StoredEvaluation.seq) <= oldest
        )
        session.connection().execute(old)


def _trace_row(trace: Evaluation) -> dict[str, Any]:  # Any: values of the table's columns
    return {
        "automation": trace.automation,
        "key": list(trace.key),
        "event_id": trace.event,
        "at": instant(trace.at),
        "outcome": trace.verdict.outcome,
        "verdict": trace.to_json(),
    }


def _count(session: Session, batch: Decisions) -> None:
    """Add to the tallies, one statement for all of them."""
    fired = Counter(one.firing.automation for one in batch.firings if one.firing.state == "Triggered")
    late = Counter(one.automation for one in batch.traces if one.verdict.outcome == "late")
    late.update(one.firing.automation for one in batch.firings if one.firing.late)
    last = {one.firing.automation: one.firing.at for one in batch.firings}
    seen: dict[str, datetime] = {}
    for trace in batch.traces:
        seen[trace.automation] = instant(trace.at)
    names = sorted({*batch.concerned, *fired, *late, *batch.errors})
    rows = [_tally(name, batch, fired, late, last, seen) for name in names]
    if batch.events:
        rows.insert(0, _tally("", batch, fired, late, last, seen) | {"concerned": batch.events})
    if rows:
        session.connection().execute(_adding(session), rows)


def _tally(
    name: str,
    batch: Decisions,
    fired: Mapping[str, int],
    late: Mapping[str, int],
    last: Mapping[str, datetime],
    seen: Mapping[str, datetime],
) -> dict[str, Any]:  # Any: values of the table's columns
    errors, reason = batch.errors.get(name, (0, None))
    return {
        "automation": name,
        "concerned": batch.concerned.get(name, 0),
        "fired": fired.get(name, 0),
        "late": late.get(name, 0),
        "errors": errors,
        "last_concerned": max(filter(None, (last.get(name), seen.get(name))), default=None),
        "last_fired": last.get(name) if fired.get(name) else None,
        "last_error": reason,
    }


def _adding(session: Session) -> Any:  # Any: an insert of either dialect
    """Insert tallies, or add them to those that are there; a later instant takes the place of an earlier one."""
    module: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite  # Any: alike by name only
    insert = module.insert(Tally)
    new, old = insert.excluded, Tally.__table__.c  # type: ignore[attr-defined]  # SQLModel's own
    counts = {name: old[name] + new[name] for name in ("concerned", "fired", "late", "errors")}
    latest = {
        name: case((old[name].is_(None), new[name]), (new[name] > old[name], new[name]), else_=old[name])
        for name in ("last_concerned", "last_fired")
    }
    last_error = case((new.last_error.is_(None), old.last_error), else_=new.last_error)
    columns = {**counts, **latest, "last_error": last_error}
    return insert.on_conflict_do_update(index_elements=["automation"], set_=columns)

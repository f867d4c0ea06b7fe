"""Ticks: what is due goes to the log as events, in the transaction that moves the schedules' cursors.

Any number of processes may claim at once: a row that one of them has locked is left out by the others, and a tick has
the same id whoever writes it. Before the commit nothing has happened, after it nothing is left to do.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import bindparam, func, text, update
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import Session, col, select

from tocsin.events.chain import Cause
from tocsin.events.errors import Invalid
from tocsin.events.ids import derive, tick_id
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event
from tocsin.store.engine import claimable
from tocsin.store.log import append
from tocsin.triggers.due import MOST_TICKS, CatchUp, Mode, Skip, Tick, Ticks, due
from tocsin.triggers.schedules import from_dict
from tocsin.triggers.tables import Schedule
from tocsin.triggers.timetable import Timetable

TICK: Final = "tocsin.schedule.tick"
SKIPPED: Final = "tocsin.schedule.skipped"
MOST_ROWS: Final = 500
STALLED_MS: Final = 5_000

Move = tuple[Schedule, Ticks]


def claim(session: Session, now: datetime, limit: int = MOST_ROWS) -> list[Event]:
    """Log what is due at `now` in at most `limit` schedules that nobody else is at, and move their cursors.

    The events, in their order in the log; an empty list when nothing is due, or others are at it. A turn ends with the
    schedule that brings it to 1,000 events: what is left is due at the next one.
    """
    _mind_stalling(session)
    statement = select(Schedule).where(col(Schedule.active), col(Schedule.next_at) <= now)
    rows = session.exec(claimable(session, statement.order_by(col(Schedule.next_at)).limit(limit))).all()
    return log(session, rows, now)


def log(session: Session, rows: Sequence[Schedule], now: datetime) -> list[Event]:
    """Log what is due at `now` in these rows, which the session has locked, and move their cursors."""
    events: list[Event] = []
    moves: list[Move] = []
    for row in rows:
        if len(events) < MOST_TICKS:
            advanced, moved = _advance(row, now)
            events += advanced
            moves += moved
    _move(session, moves)
    events.sort(key=lambda event: event.occurred)
    if events:
        append(session, events)
    return events


def earliest(session: Session) -> datetime | None:
    """When the next tick of all is due; None when there is none to come."""
    statement = select(func.min(Schedule.next_at)).where(col(Schedule.active))
    return session.exec(statement).one()


def refresh(session: Session, after: str, limit: int = MOST_ROWS) -> str | None:
    """Reckon `next_at` anew in the next `limit` rows behind slug `after`: rules of zones change, cursors stay.

    The last slug, to go on from; None when all are done.
    """
    statement = select(Schedule).where(col(Schedule.active), col(Schedule.slug) > after)
    rows = session.exec(claimable(session, statement.order_by(col(Schedule.slug)).limit(limit))).all()
    for row in rows:
        next_at = _next(row)
        if row.next_at != next_at:
            row.next_at = next_at
            session.add(row)
    return rows[-1].slug if rows else None


def switched(row: Schedule, now: datetime, cause: Cause) -> Event:
    """`tocsin.schedule.paused` or `.resumed`: what somebody has just made of the row."""
    verb = "resumed" if row.active else "paused"
    told = _event(row, f"tocsin.schedule.{verb}", now, {}, cause.identity("schedule", verb, row.slug))
    return msgspec.structs.replace(told, resource=told.resource | cause.labels, follows=cause.event)


def forget_zones() -> None:
    """Read the rules of zones from disk again."""
    ZoneInfo.clear_cache()
    _definition.cache_clear()


def definition(row: Schedule) -> Timetable:
    """The schedule that the row describes; raises `Invalid` for one that this version cannot read."""
    return _definition(msgspec.json.encode(row.spec))


def policy(row: Schedule) -> CatchUp:
    """What the row says about late ticks."""
    window = timedelta(seconds=row.window_s) if row.window_s is not None else None
    mode: Mode = "all" if row.catchup == "all" else "none" if row.catchup == "none" else "latest"
    return CatchUp(mode, window)


@lru_cache(maxsize=20_000)
def _definition(spec: bytes) -> Timetable:
    return from_dict(msgspec.json.decode(spec))


def _next(row: Schedule) -> datetime | None:
    try:
        return next(definition(row).occurrences(row.cursor), None)
    except Invalid:
        return row.next_at


def _advance(row: Schedule, now: datetime) -> tuple[list[Event], list[Move]]:
    """The events that are due in one row, and how far it moves. A definition that cannot be read stops itself."""
    try:
        found = due(definition(row), row.cursor, now, policy(row), row.previous_at)
    except Invalid as error:
        return [_stop(row, str(error), now)], []
    return _events(row, found, now), [(row, found)]


def _move(session: Session, moves: list[Move]) -> None:
    """Write how far rows have come: one statement for all, because most of the cost of a tick would be here."""
    if not moves:
        return
    places = [{"at": row.slug, **_place(found)} for row, found in moves]
    statement = update(Schedule).where(col(Schedule.slug) == bindparam("at"))
    session.connection().execute(statement.values({name: bindparam(name) for name in _place(moves[0][1])}), places)
    for row, found in moves:
        for name, value in _place(found).items():
            set_committed_value(row, name, value)


def _place(found: Ticks) -> dict[str, datetime | None]:
    return {"cursor": found.cursor, "previous_at": found.previous, "next_at": found.next_at}


def _stop(row: Schedule, reason: str, now: datetime) -> Event:
    at = row.next_at or now
    row.active, row.next_at, row.updated = False, None, now
    return _skip_event(row, Skip(at, at, 1, True, f"paused, its definition cannot be read: {reason}"))


def _events(row: Schedule, found: Ticks, now: datetime) -> list[Event]:
    return [_skip_event(row, skip) for skip in found.skipped] + [_tick_event(row, tick, now) for tick in found.ticks]


def _tick_event(row: Schedule, tick: Tick, now: datetime) -> Event:
    payload = {
        "scheduled_time": _iso(tick.at),
        "data_interval_start": _iso(tick.previous),
        "data_interval_end": _iso(tick.at),
        "lateness_s": max(0.0, round((now - tick.at).total_seconds(), 6)),
        "attempt": 1,
        "parameters": row.parameters,
    }
    return _event(row, TICK, tick.at, payload, tick_id(row.slug, tick.at))


def _skip_event(row: Schedule, skip: Skip) -> Event:
    payload = {
        "scheduled_time": _iso(skip.last),
        "first": _iso(skip.first),
        "last": _iso(skip.last),
        "count": skip.count,
        "exact": skip.exact,
        "reason": skip.reason,
    }
    return _event(row, SKIPPED, skip.last, payload, derive("skipped", row.slug, _iso(skip.first), _iso(skip.last)))


def _event(row: Schedule, name: str, at: datetime, payload: dict[str, Any], key: UUID) -> Event:  # Any: JSON
    resource = {RESOURCE_ID: f"tocsin.schedule.{row.slug}", RESOURCE_NAME: row.slug}
    return Event(id=key, event=name, occurred=at, resource=resource, related=_related(row), payload=payload)


def _related(row: Schedule) -> list[dict[str, str]]:
    if row.deployment is None:
        return []
    deployment = {RESOURCE_ID: f"tocsin.deployment.{row.deployment}", RESOURCE_ROLE: "deployment"}
    return [deployment | {RESOURCE_NAME: row.deployment}]


def _mind_stalling(session: Session) -> None:
    """A process that stops in the middle may not keep its rows: the server ends its transaction after a while."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {STALLED_MS}"))


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")

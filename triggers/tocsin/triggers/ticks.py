"""Ticks: what is due goes to the log as events, in the transaction that moves the schedules' cursors.

Any number of processes may claim at once: a row that one of them has locked is left out by the others, and a tick has
the same id whoever writes it. Before the commit nothing has happened, after it nothing is left to do.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import bindparam, func, text, update
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid
from tocsin.events.model import Event
from tocsin.store.engine import claimable
from tocsin.store.log import append
from tocsin.triggers import announce
from tocsin.triggers.due import MOST_TICKS, CatchUp, Mode, Sending, Skip, Ticks, at_once, due
from tocsin.triggers.jitter import next_sending, sending
from tocsin.triggers.schedules import from_dict
from tocsin.triggers.tables import Schedule
from tocsin.triggers.timetable import Timetable

TICK: Final = announce.TICK
SKIPPED: Final = announce.SKIPPED
MOST_ROWS: Final = 500
STALLED_MS: Final = 5_000
STALLED_AHEAD_MS: Final = 1_000
_MOVE_MANY: Final = """
    UPDATE schedule SET cursor = new.cursor, previous_at = new.previous_at, next_at = new.next_at
    FROM unnest(%b::text[], %b::timestamptz[], %b::timestamptz[], %b::timestamptz[])
        AS new (slug, cursor, previous_at, next_at)
    WHERE schedule.slug = new.slug
"""

Move = tuple[Schedule, Ticks]


def claim(session: Session, now: datetime, limit: int = MOST_ROWS) -> list[Event]:
    """Log what is due at `now` in at most `limit` schedules that nobody else is at, and move their cursors.

    The events, in their order in the log; an empty list when nothing is due, or others are at it. A turn ends with the
    schedule that brings it to 1,000 events: what is left is due at the next one.
    """
    _mind_stalling(session, STALLED_MS)
    events = _moved(session, _due_rows(session, now, limit), now)
    append(session, events)
    return events


def claim_ahead(session: Session, at: datetime, wait: Callable[[], datetime], limit: int = MOST_TICKS) -> list[Event]:
    """Like `claim`, for what will be due at `at`: all but the log is done before, and nothing is logged until then.

    `wait` returns when `at` has come, with the time it is. Nobody sees any of it before the commit.
    """
    _mind_stalling(session, STALLED_AHEAD_MS)
    events = _moved(session, _due_rows(session, at, limit), at)
    if not events:
        return []
    session.flush()
    late = (wait() - at).total_seconds()
    events = [_later(event, late) for event in events]
    append(session, events)
    return events


def settle(session: Session, row: Schedule, now: datetime) -> None:
    """Log what a row, which the session has locked, owes up to `now`, before it is changed; also what is on its way."""
    while row.active and _owes(row, now):
        events, moves = _advance(row, now, hurried=True)
        _move(session, moves)
        append(session, sorted(events, key=_occurred))


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
        return next_sending(definition(row), row.slug, row.cursor)
    except Invalid:
        return row.next_at


def _owes(row: Schedule, now: datetime) -> bool:
    try:
        return next(definition(row).occurrences(row.cursor, now), None) is not None
    except Invalid:
        return row.next_at is not None and row.next_at <= now


def _advance(row: Schedule, now: datetime, hurried: bool = False) -> tuple[list[Event], list[Move]]:
    """The events that are due in one row, and how far it moves. A definition that cannot be read stops itself."""
    try:
        schedule = definition(row)
        send = at_once if hurried else sending(schedule, row.slug)
        found = due(schedule, row.cursor, now, policy(row), row.previous_at, send)
    except Invalid as error:
        return [_stop(row, str(error), now)], []
    return _events(row, found, send, now), [(row, found)]


def _due_rows(session: Session, now: datetime, limit: int) -> Sequence[Schedule]:
    """Locked, the longest due first."""
    statement = select(Schedule).where(col(Schedule.active), col(Schedule.next_at) <= now)
    return session.exec(claimable(session, statement.order_by(col(Schedule.next_at)).limit(limit))).all()


def _moved(session: Session, rows: Sequence[Schedule], now: datetime) -> list[Event]:
    """Move the cursors of these rows to `now`, and give what is to be logged for that, in the order of time."""
    events: list[Event] = []
    moves: list[Move] = []
    for row in rows:
        if len(events) < MOST_TICKS:
            advanced, moved = _advance(row, now)
            events += advanced
            moves += moved
    _move(session, moves)
    return sorted(events, key=_occurred)


def _occurred(event: Event) -> datetime:
    return event.occurred


def _later(event: Event, seconds: float) -> Event:
    """The same event, sent so much later than was thought when it was made."""
    if event.event != TICK:
        return event
    lateness = round(event.payload["lateness_s"] + seconds, 6)
    return msgspec.structs.replace(event, payload=event.payload | {"lateness_s": lateness})


def _move(session: Session, moves: list[Move]) -> None:
    """Write how far rows have come: one statement for all, because most of the cost of a tick would be here."""
    if not moves:
        return
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        columns = zip(*((row.slug, *_place(found).values()) for row, found in moves), strict=True)
        connection.exec_driver_sql(_MOVE_MANY, tuple(map(list, columns)))
    else:
        places = [{"at": row.slug, **_place(found)} for row, found in moves]
        statement = update(Schedule).where(col(Schedule.slug) == bindparam("at"))
        connection.execute(statement.values({name: bindparam(name) for name in _place(moves[0][1])}), places)
    for row, found in moves:
        for name, value in _place(found).items():
            set_committed_value(row, name, value)


def _place(found: Ticks) -> dict[str, datetime | None]:
    return {"cursor": found.cursor, "previous_at": found.previous, "next_at": found.next_at}


def _stop(row: Schedule, reason: str, now: datetime) -> Event:
    at = row.next_at or now
    row.active, row.next_at, row.updated = False, None, now
    return announce.skipped(row, Skip(at, at, 1, True, f"paused, its definition cannot be read: {reason}"))


def _events(row: Schedule, found: Ticks, send: Sending, now: datetime) -> list[Event]:
    told = [announce.skipped(row, skip) for skip in found.skipped]
    return told + [announce.tick(row, tick, send(tick.at), now) for tick in found.ticks]


def _mind_stalling(session: Session, after_ms: int) -> None:
    """A process that stops in the middle may not keep its rows: the server ends its transaction after a while."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {after_ms}"))

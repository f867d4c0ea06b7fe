"""Ticks asked for afterwards: of a time before the schedule was there, in which it was paused, or that was skipped.

They are the ticks that the schedule would have sent then: same ids, same scheduled times. One that was sent is not sent
again; what lies behind the cursor of an active schedule is for the scheduler to send.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid
from tocsin.events.ids import tick_id
from tocsin.store.log import append
from tocsin.store.tables import LogEntry
from tocsin.triggers.announce import asked_for
from tocsin.triggers.due import Tick, previous_occurrence
from tocsin.triggers.store import get_schedule
from tocsin.triggers.tables import Schedule
from tocsin.triggers.ticks import definition
from tocsin.triggers.timetable import Timetable

MOST: Final = 10_000
MOST_ACTIVE: Final = 10
_LOOKED_UP: Final = 500


def missing(
    session: Session, slug: str, begin: datetime, end: datetime, *, reverse: bool = False, now: datetime
) -> list[Tick]:
    """The ticks from `begin` up to and with `end` that were never sent; a naive time is one of the schedule's zone.

    `reverse`: the latest first. Raises NotFound, and Invalid for a time with more than 10,000 occurrences.
    """
    return _missing(session, get_schedule(session, slug), begin, end, reverse, now)


def backfill(
    session: Session,
    slug: str,
    begin: datetime,
    end: datetime,
    *,
    max_active: int = MOST_ACTIVE,
    reverse: bool = False,
    now: datetime,
) -> list[Tick]:
    """Send what `missing` finds; a second time there is nothing left.

    Of the runs that the ticks start at most `max_active` are under way at once, in the order of the ticks; they count
    by themselves, so that they neither wait for the schedule's own runs nor keep one of them from starting.
    """
    if max_active < 1:
        raise Invalid(f"max_active: {max_active}; at least one run at a time")
    row = session.get(Schedule, slug, with_for_update=True) or get_schedule(session, slug)
    ticks = _missing(session, row, begin, end, reverse, now)
    append(session, [asked_for(row, tick, max_active, reverse) for tick in ticks])
    return ticks


def _missing(
    session: Session, row: Schedule, begin: datetime, end: datetime, reverse: bool, now: datetime
) -> list[Tick]:
    schedule = definition(row)
    first, last = schedule.instant(begin), schedule.instant(end)
    if last < first:
        raise Invalid(f"schedule {row.slug!r}: the end {last:%Y-%m-%d %H:%M}Z is before {first:%Y-%m-%d %H:%M}Z")
    ticks = _ticks(row.slug, schedule, first, min(last, row.cursor if row.active else now))
    sent = _sent(session, row.slug, ticks)
    left = [tick for tick in ticks if tick.at not in sent]
    return left[::-1] if reverse else left


def _ticks(slug: str, schedule: Timetable, begin: datetime, end: datetime) -> list[Tick]:
    found = list(islice(schedule.occurrences(begin, end, inclusive=True), MOST + 1))
    if len(found) > MOST:
        raise Invalid(
            f"schedule {slug!r}: more than {MOST:,} ticks from {begin:%Y-%m-%d %H:%M}Z on; ask for less at once"
        )
    if not found:
        return []
    before = [previous_occurrence(schedule, found[0]) or found[0], *found]
    return [Tick(at, previous) for at, previous in zip(found, before, strict=False)]


def _sent(session: Session, slug: str, ticks: Sequence[Tick]) -> set[datetime]:
    """The instants of those ticks that the log knows."""
    at = {tick_id(slug, tick.at): tick.at for tick in ticks}
    ids = list(at)
    sent: set[datetime] = set()
    for first in range(0, len(ids), _LOOKED_UP):
        known = select(LogEntry.id).where(col(LogEntry.id).in_(ids[first : first + _LOOKED_UP]))
        sent.update(at[identity] for identity in session.exec(known))
    return sent

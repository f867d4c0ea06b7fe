"""The one rule by which wall times become instants, for every kind of schedule.

A schedule is a sequence of wall times (naive datetimes); a zone's clocks turn them into instants. Twice a year that is
not one to one:

    spring    01:59 | 03:00                  02:30 does not exist: a gap
    autumn    01:59 02:00 … 02:59 | 02:00 … 02:59 03:00     02:30 exists twice: a fold

What then happens depends on whether the schedule means a time of day or a beat:

    reading   who reads so                           in a gap                       in a fold
    RUNNING   cron with `*` in minute or hour,       none                           both
              RRULE hourly and finer
    GAP_END   other cron                             once, when the gap ends        the first
    SHIFTED   RRULE daily and coarser,               once, later by the gap         the first
              intervals of whole days

That is what the cron daemon of Debian does with its lines. A gap of three hours or more is, as for the daemon, not a
clock change but a date that never was (Samoa, 30 December 2011): GAP_END then has none.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Final
from zoneinfo import ZoneInfo

from tocsin.triggers.zones import (
    LAST_YEAR,
    LONGEST_CHANGE,
    Change,
    change_at,
    changes_between,
    in_utc,
    offset_at,
    segment_end,
    wall_at,
)

Walls = Callable[[datetime], Iterator[datetime]]
"""Gives the wall times of a schedule from the given one on, that one included, ascending."""

LONGEST_GAP: Final = timedelta(hours=3)
MOST_FRUITLESS: Final = 40
"""How many stretches between clock changes may pass in a row in which no wall time comes: about twenty years."""


class Reading(Enum):
    """How wall times are read where clocks are changed; see the table above."""

    RUNNING = "running"
    GAP_END = "gap end"
    SHIFTED = "shifted"


def localise(
    walls: Walls, tz: ZoneInfo, reading: Reading, since: datetime, patience: int = MOST_FRUITLESS
) -> Iterator[datetime]:
    """The instants of `walls` in `tz` from `since` on, that one included: UTC, strictly ascending, lazy.

    They end when the times of a beat have fallen into gaps only, `patience` times in a row.
    """
    return _running(walls, tz, since, patience) if reading is Reading.RUNNING else _fixed(walls, tz, reading, since)


def instant_of(wall: datetime, tz: ZoneInfo) -> datetime:
    """The instant at which the clocks of `tz` show `wall`: in a fold the first, in a gap later by the gap."""
    offset = wall.replace(tzinfo=tz).utcoffset()
    assert offset is not None
    return in_utc(wall, offset)


def is_twice(wall: datetime, tz: ZoneInfo) -> bool:
    """Whether the clocks of `tz` show `wall` twice."""
    first, second = _offsets(wall, tz)
    return first > second


def _running(walls: Walls, tz: ZoneInfo, since: datetime, patience: int) -> Iterator[datetime]:
    """Segment by segment of one offset: what the clocks do not show never comes, what they show twice comes twice."""
    begin, fruitless = since, 0
    while begin.year <= LAST_YEAR and fruitless < patience:
        fruitless += 1
        offset, end = offset_at(tz, begin), segment_end(tz, begin)
        for wall in walls(begin.replace(tzinfo=None) + offset):
            instant = in_utc(wall, offset)
            if instant >= end:
                begin = _leap(begin, end, instant)
                break
            yield instant
            begin, fruitless = instant, 0
        else:
            return


def _leap(begin: datetime, end: datetime, upcoming: datetime) -> datetime:
    """Where to look on when no wall time from `begin` to about `upcoming` was found: far from a change, close to it.

    Clocks put back at `end` may show again what they showed before `begin`; so a leap is made only when that is too
    long ago for them.
    """
    return end if end - begin < LONGEST_CHANGE else max(end, upcoming - LONGEST_CHANGE)


def _fixed(walls: Walls, tz: ZoneInfo, reading: Reading, since: datetime) -> Iterator[datetime]:
    waiting: list[datetime] = []
    last: datetime | None = None
    for wall in walls(_first_wall(tz, since)):
        before, after = _offsets(wall, tz)
        if before < after:
            waiting += _out_of_gap(wall, tz, reading, before, after)
            continue
        instant = in_utc(wall, before)
        for ready in _upto(waiting, instant):
            if ready >= since and ready != last:
                yield (last := ready)
        if instant >= since and instant != last:
            yield (last := instant)
    yield from (ready for ready in sorted(set(waiting)) if ready >= since and ready != last)


def _upto(waiting: list[datetime], instant: datetime) -> list[datetime]:
    """Take from `waiting` (ascending) what comes before or at `instant`."""
    count = 0
    while count < len(waiting) and waiting[count] <= instant:
        count += 1
    ready, waiting[:] = waiting[:count], waiting[count:]
    return ready


def _out_of_gap(
    wall: datetime, tz: ZoneInfo, reading: Reading, before: timedelta, after: timedelta
) -> tuple[datetime, ...]:
    if reading is Reading.SHIFTED:
        return (in_utc(wall, before),)
    if after - before >= LONGEST_GAP:
        return ()
    return (_change_over(wall, tz, before, after).at,)


def _change_over(wall: datetime, tz: ZoneInfo, before: timedelta, after: timedelta) -> Change:
    """The change in whose gap `wall` lies."""
    return Change(change_at(tz, in_utc(wall, after), in_utc(wall, before), before), before, after)


def _first_wall(tz: ZoneInfo, since: datetime) -> datetime:
    """The earliest wall time that may be read as `since` or later: one of a gap just passed, else the one shown."""
    shown = wall_at(tz, since)
    for change in changes_between(tz, since - LONGEST_CHANGE, since):
        if since < change.at + change.length:
            return change.at.replace(tzinfo=None) + change.before
    return shown


def _offsets(wall: datetime, tz: ZoneInfo) -> tuple[timedelta, timedelta]:
    """Offsets of the first and the second reading of `wall`: equal, falling in a fold, rising in a gap."""
    first, second = wall.replace(tzinfo=tz).utcoffset(), wall.replace(tzinfo=tz, fold=1).utcoffset()
    assert first is not None
    assert second is not None
    return first, second

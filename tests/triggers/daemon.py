"""The cron daemon of Debian (3.0pl1) as a model: what tocsin's cron lines and clock changes are compared with.

It wakes once a minute and compares the clock on the wall with the minute it had come to ("virtual time"): one minute
on, everything runs; a jump ahead of up to three hours, lines with `*` in minute or hour run once for now and the
others for every minute missed; a step back of up to three hours, only lines with `*` run until virtual time is caught
up; anything larger is taken for a clock that was set.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


@dataclass(frozen=True)
class Entry:
    """A line of five fields: numbers, `*`, lists, ranges and steps."""

    fields: tuple[frozenset[int], ...]
    stars: tuple[bool, ...]

    @property
    def wild(self) -> bool:
        """Whether the daemon takes it for a beat rather than a time of day."""
        return self.stars[0] or self.stars[1]

    def fits(self, wall: datetime) -> bool:
        """Whether the line asks for this minute on the wall."""
        minutes, hours, days, months, weekdays = self.fields
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        day, weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        return (day and weekday) if self.stars[2] or self.stars[4] else (day or weekday)


def entry(line: str) -> Entry:
    """The line as the daemon reads it."""
    texts = line.split()
    fields = tuple(frozenset(_numbers(text, *bounds)) for text, bounds in zip(texts, BOUNDS, strict=True))
    weekdays = frozenset(number % 7 for number in fields[4])
    return Entry((*fields[:4], weekdays), tuple(text.startswith("*") for text in texts))


def runs(line: str, tz: ZoneInfo, begin: datetime, end: datetime) -> list[datetime]:
    """The minutes in [begin, end) at which the daemon, running since long before, starts the job."""
    job, found = entry(line), set[datetime]()
    now = begin - timedelta(hours=30)
    virtual = _wall(now, tz)
    while (now := now + MINUTE) < end:
        wall = _wall(now, tz)
        asked, virtual = _asked(virtual, wall)
        if any(job.fits(minute) for minute, wild, fixed in asked if (wild if job.wild else fixed)):
            found.add(now)
    return sorted(instant for instant in found if instant >= begin)


def _asked(virtual: datetime, wall: datetime) -> tuple[list[tuple[datetime, bool, bool]], datetime]:
    """Which minutes it looks up now, each for wild and for fixed lines, and the virtual time after that."""
    jump = (wall - virtual) // MINUTE
    if jump == 1 or jump > 180 or jump <= -180:
        return [(wall, True, True)], wall
    if jump > 5:
        return [(wall, True, False), *((minute, False, True) for minute in _between(virtual, wall))], wall
    if jump > 0:
        return [(minute, True, True) for minute in _between(virtual, wall)], wall
    return [(wall, True, False)], virtual


def _between(virtual: datetime, wall: datetime) -> Iterator[datetime]:
    while virtual < wall:
        virtual += MINUTE
        yield virtual


def _wall(instant: datetime, tz: ZoneInfo) -> datetime:
    return instant.replace(tzinfo=UTC).astimezone(tz).replace(tzinfo=None, fold=0)


def _numbers(text: str, low: int, high: int) -> Iterator[int]:
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, min(high, 6) if high == 7 else high) if span == "*" else (int(first), int(last or first))
        yield from range(begin, end + 1, int(step or 1))

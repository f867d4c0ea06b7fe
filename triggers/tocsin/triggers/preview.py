"""What a schedule will do: the coming times, when each is sent, and how a clock change touches it."""

from datetime import datetime
from itertools import islice
from typing import Literal, NamedTuple

from tocsin.events.errors import Invalid
from tocsin.triggers.jitter import sending
from tocsin.triggers.localise import is_twice
from tocsin.triggers.timetable import Timetable

Note = Literal["", "gap", "fold"]
MOST: int = 1_000


class Coming(NamedTuple):
    """An occurrence: the instant (UTC), what the clocks show then (naive), and how a clock change touches it.

    `gap`: its own wall time does not exist that day, it comes later. `fold`: the clocks show this time twice that day.
    `sent_at`: when its tick is sent; None where that hangs on a slug which is not known.
    """

    instant: datetime
    wall: datetime
    note: Note
    sent_at: datetime | None


def preview(
    schedule: Timetable, start: datetime, count: int, *, inclusive: bool = False, slug: str | None = None
) -> list[Coming]:
    """The next `count` (1 to 1,000) occurrences after `start`, or from it on; fewer when the schedule ends.

    `slug`: under which they are sent; a jitter spreads them by it.
    """
    if not 1 <= count <= MOST:
        raise Invalid(f"count: {count} is outside 1 to {MOST}")
    found = islice(schedule.occurrences(start, inclusive=inclusive), count)
    return [_coming(schedule, slug, instant) for instant in found]


def upcoming(schedule: Timetable, slug: str, told: datetime, now: datetime, count: int) -> list[Coming]:
    """The next `count` ticks that are sent from `now` on; the first may be due already, and not sent for its jitter.

    `told`: up to when everything was sent (the cursor of its row).
    """
    on_its_way = [
        at
        for at in schedule.occurrences(max(told, now - schedule.jitter), now)
        if at < now <= sending(schedule, slug)(at)
    ]
    rest = preview(schedule, max(told, now), count, inclusive=told < now, slug=slug)
    return [*(_coming(schedule, slug, at) for at in on_its_way), *rest][:count]


def _coming(schedule: Timetable, slug: str | None, instant: datetime) -> Coming:
    wall = schedule.wall(instant)
    known = slug is not None or not schedule.jitter
    sent_at = sending(schedule, slug or "")(instant) if known else None
    return Coming(instant, wall, _note(schedule, instant, wall), sent_at)


def _note(schedule: Timetable, instant: datetime, wall: datetime) -> Note:
    if is_twice(wall, schedule.zone):
        return "fold"
    return "gap" if schedule.is_moved(instant) else ""

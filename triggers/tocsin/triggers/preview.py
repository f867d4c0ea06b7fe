"""What a schedule will do: the coming times, with those that a clock change touches marked."""

from datetime import datetime
from itertools import islice
from typing import Literal, NamedTuple

from tocsin.events.errors import Invalid
from tocsin.triggers.localise import is_twice
from tocsin.triggers.timetable import Timetable

Note = Literal["", "gap", "fold"]
MOST: int = 1_000


class Coming(NamedTuple):
    """An occurrence: the instant (UTC), what the clocks show then (naive), and how a clock change touches it.

    `gap`: its own wall time does not exist that day, it comes later. `fold`: the clocks show this time twice that day.
    """

    instant: datetime
    wall: datetime
    note: Note


def preview(schedule: Timetable, start: datetime, count: int, *, inclusive: bool = False) -> list[Coming]:
    """The next `count` (1 to 1,000) occurrences after `start`, or from it on; fewer when the schedule ends."""
    if not 1 <= count <= MOST:
        raise Invalid(f"count: {count} is outside 1 to {MOST}")
    return [_coming(schedule, instant) for instant in islice(schedule.occurrences(start, inclusive=inclusive), count)]


def _coming(schedule: Timetable, instant: datetime) -> Coming:
    wall = schedule.wall(instant)
    return Coming(instant, wall, _note(schedule, instant, wall))


def _note(schedule: Timetable, instant: datetime, wall: datetime) -> Note:
    if is_twice(wall, schedule.zone):
        return "fold"
    return "gap" if schedule.is_moved(instant) else ""

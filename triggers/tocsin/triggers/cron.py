"""Cron: a schedule from a line of the cron daemon."""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any, ClassVar, Final

from tocsin.events.errors import Invalid
from tocsin.triggers.cronline import Line, MonthDays, WeekDays, read
from tocsin.triggers.grid import Grid
from tocsin.triggers.localise import Reading
from tocsin.triggers.timetable import Timetable
from tocsin.triggers.zones import LAST_YEAR

MOST_EMPTY_MONTHS: Final = 1_300
_SATURDAY, _SUNDAY = 6, 0


@dataclass(frozen=True)
class Cron(Timetable):
    """Fires when the clocks of `timezone` show what `line` asks for.

    Five fields, or six with the seconds in front; names, lists, ranges, steps, `L`, `L-3`, `LW`, `15W`, `FRI#2`,
    `FRIL`, `@daily` and kin. When one of the two day fields begins with `*` both must fit, else one is enough, as for
    the cron daemon; with `day_or=False` both must fit always.
    """

    line: str
    day_or: bool = field(default=True, kw_only=True)

    kind: ClassVar[str] = "cron"
    _lacking: ClassVar[str] = "no month has such a day"

    @property
    def shown(self) -> str:
        """How messages name it."""
        return f"cron {self.line!r}"

    @property
    def _reading(self) -> Reading:
        return Reading.RUNNING if self._fields.running else Reading.GAP_END

    @cached_property
    def _fields(self) -> Line:
        return read(self.line)

    def _spec(self) -> dict[str, Any]:  # Any: JSON
        return {"cron": self.line} if self.day_or else {"cron": self.line, "day_or": False}

    def _check(self) -> None:
        _ = self._fields
        if not isinstance(self.day_or, bool):
            raise Invalid(f"day_or: {self.day_or!r:.40} is neither true nor false")

    def _walls(self, wall: datetime) -> Iterator[datetime]:
        fields = self._fields
        for days in days_by_month(fields, wall.year, wall.month, self.day_or):
            grid = Grid(days, fields.hours, fields.minutes, fields.seconds)
            yield from grid.since(wall)


def days_by_month(line: Line, year: int, month: int, day_or: bool) -> Iterator[list[date]]:
    """The days that fit, one list for each month that has some, from the given month on.

    Ends behind about a hundred years without any.
    """
    empty = 0
    while empty < MOST_EMPTY_MONTHS and year < LAST_YEAR:
        days = _days(line, year, month, day_or) if month in line.months else []
        if days:
            yield days
        empty = 0 if days else empty + 1
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def _days(line: Line, year: int, month: int, day_or: bool) -> list[date]:
    first, length = monthrange(year, month)
    sunday_based = (first + 1) % 7
    by_month = _of_month(line.month_days, sunday_based, length)
    by_week = _of_week(line.week_days, sunday_based, length)
    both = line.month_days.star or line.week_days.star or not day_or
    return [date(year, month, day) for day in sorted(by_month & by_week if both else by_month | by_week)]


def _of_month(field: MonthDays, first: int, length: int) -> set[int]:
    """Days of a month that begins on weekday `first` (0 is Sunday) and has `length` days."""
    days = {day for day in field.days if day <= length}
    days |= {length - back for back in field.last if back < length}
    days |= {_nearest_weekday(day, first, length) for day in field.nearest if day <= length}
    return days | ({_nearest_weekday(length, first, length)} if field.last_weekday else set())


def _nearest_weekday(day: int, first: int, length: int) -> int:
    """The day from Monday to Friday nearest to `day`, in the same month."""
    weekday = (first + day - 1) % 7
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day


def _of_week(field: WeekDays, first: int, length: int) -> set[int]:
    days = {day for weekday in field.days for day in range((weekday - first) % 7 + 1, length + 1, 7)}
    for weekday, nth in field.nth:
        day = (weekday - first) % 7 + 1 + 7 * (nth - 1)
        days |= {day} if day <= length else set()
    week = length - 6
    for weekday in field.last:
        days.add(week + (weekday - first - (week - 1)) % 7)
    return days

"""Expanding one RRULE (RFC 5545, 3.3.10) into wall times, from any point, without a walk from its beginning.

dateutil's expansion walks from DTSTART, and looks for a next date without end where there is none; a definition that a
person may send needs a bound inside that search. dateutil is what the tests compare with.
"""

from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import IntEnum
from typing import Final

from tocsin.triggers.grid import Grid
from tocsin.triggers.zones import LAST_YEAR

MOST_EMPTY: Final = 12_000
_DAY: Final = timedelta(days=1)
_MIDNIGHT: Final = datetime(1, 1, 1)  # noqa: DTZ001 - of a wall clock


class Frequency(IntEnum):
    """FREQ, from the coarsest to the finest."""

    YEARLY = 0
    MONTHLY = 1
    WEEKLY = 2
    DAILY = 3
    HOURLY = 4
    MINUTELY = 5
    SECONDLY = 6


UNITS: Final = {
    Frequency.HOURLY: timedelta(hours=1),
    Frequency.MINUTELY: timedelta(minutes=1),
    Frequency.SECONDLY: timedelta(seconds=1),
}


@dataclass(frozen=True)
class ByDay:
    """A weekday (0 is Monday); with `nth` only that one of the month or year, negative from its end."""

    weekday: int
    nth: int | None = None


@dataclass(frozen=True)
class Recurrence:
    """One RRULE with what DTSTART implies filled in; every tuple is ascending, an empty one asks for nothing.

    Wall times begin at `start`. COUNT and UNTIL are not applied here: they count and bound instants.
    """

    start: datetime
    frequency: Frequency
    interval: int = 1
    week_start: int = 0
    months: tuple[int, ...] = ()
    week_numbers: tuple[int, ...] = ()
    year_days: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    week_days: tuple[ByDay, ...] = ()
    hours: tuple[int, ...] = ()
    minutes: tuple[int, ...] = ()
    seconds: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()


class Patience:
    """How many days or steps may be looked at: since the last one that fitted, or altogether (`in_all`).

    One that is meant in all remembers what is spent, over every walk that it is given to.
    """

    def __init__(self, steps: int, *, in_all: bool = False) -> None:
        self.steps = steps
        self._total: int | None = 0 if in_all else None

    def spent(self, before: int, more: int, found: bool) -> int:
        """What is spent when after `before` steps `more` were looked at."""
        if self._total is not None:
            self._total += more
            return self._total
        return 0 if found else before + more


def walls(rule: Recurrence, patience: Patience, wall: datetime) -> Iterator[datetime]:
    """The wall times of `rule` from `wall` on, that one included, ascending; they end when patience does."""
    begin = max(wall, rule.start)
    for grid in _grids(rule, patience, begin):
        if not rule.positions:
            yield from grid.since(begin)
            continue
        yield from (found for found in _at_positions(grid, rule.positions) if found >= begin)


def _at_positions(grid: Grid, positions: tuple[int, ...]) -> list[datetime]:
    """BYSETPOS: those of the period's wall times that have these numbers, from 1, or from -1 backwards."""
    total = len(grid)
    indexes = {position - 1 if position > 0 else total + position for position in positions}
    return [grid[index] for index in sorted(indexes) if 0 <= index < total]


def _grids(rule: Recurrence, patience: Patience, begin: datetime) -> Iterator[Grid]:
    """The wall times of each period that has some."""
    return _fine(rule, patience, begin) if rule.frequency in UNITS else _coarse(rule, patience, begin)


def _coarse(rule: Recurrence, patience: Patience, begin: datetime) -> Iterator[Grid]:
    fits = _day_test(rule)
    spent = 0
    for candidates in _periods(rule, begin.date()):
        days = [day for day in candidates if fits(day)]
        found = bool(days) and (not rule.positions or _has_position(rule, len(days)))
        if found:
            yield Grid(days, rule.hours, rule.minutes, rule.seconds)
        spent = patience.spent(spent, 1 + len(candidates), found)
        if spent > patience.steps:
            return


def _has_position(rule: Recurrence, days: int) -> bool:
    total = days * len(rule.hours) * len(rule.minutes) * len(rule.seconds)
    return any(abs(position) <= total for position in rule.positions)


def _periods(rule: Recurrence, begin: date) -> Iterator[list[date]]:
    """The days of each year, month, week or single day that INTERVAL leaves, from the one that holds `begin` on."""
    start, step = rule.start.date(), rule.interval
    match rule.frequency:
        case Frequency.YEARLY:
            for year in range(_from(start.year, begin.year, step), LAST_YEAR, step):
                yield [day for month in rule.months or range(1, 13) for day in _month(year, month)]
        case Frequency.MONTHLY:
            first = _from(start.year * 12 + start.month - 1, begin.year * 12 + begin.month - 1, step)
            for month in range(first, LAST_YEAR * 12, step):
                yield _month(month // 12, month % 12 + 1)
        case Frequency.WEEKLY:
            first = _from(_week(start, rule.week_start), _week(begin, rule.week_start), 7 * step)
            for day in range(first, _LAST_DAY, 7 * step):
                yield [date.fromordinal(day + index) for index in range(7)]
        case _:
            for day in range(_from(start.toordinal(), begin.toordinal(), step), _LAST_DAY, step):
                yield [date.fromordinal(day)]


_LAST_DAY: Final = date(LAST_YEAR, 1, 1).toordinal()


def _from(start: int, begin: int, step: int) -> int:
    """The last of start, start + step, … that is not after `begin`, or `start` itself."""
    return start + max(0, begin - start) // step * step


def _month(year: int, month: int) -> list[date]:
    return [date(year, month, day) for day in range(1, monthrange(year, month)[1] + 1)]


def _week(day: date, week_start: int) -> int:
    """Ordinal of the first day of the week that `day` is in."""
    return day.toordinal() - (day.weekday() - week_start) % 7


def _fine(rule: Recurrence, patience: Patience, begin: datetime) -> Iterator[Grid]:
    """HOURLY and finer: step by step, but at once over a day, an hour or a minute that the BY parts leave out."""
    fits = _day_test(rule)
    unit = UNITS[rule.frequency]
    base = _floor(rule.start, unit)
    step = rule.interval * unit
    k, spent = max(0, (begin - base) // step), 0
    today, today_fits = date.min, False
    while spent <= patience.steps and (moment := base + k * step).year < LAST_YEAR:
        if moment.date() != today:
            today, today_fits = moment.date(), fits(moment.date())
        resume = _beyond(rule, moment, today_fits)
        if resume is not None:
            k, spent = -((base - resume) // step), patience.spent(spent, 1, False)
            continue
        grid = _grid_of(rule, moment)
        found = not rule.positions or any(abs(position) <= len(grid) for position in rule.positions)
        if found:
            yield grid
        k, spent = k + 1, patience.spent(spent, 1, found)


def _beyond(rule: Recurrence, moment: datetime, day_fits: bool) -> datetime | None:
    """The end of the day, hour, minute or second around `moment` that is left out; None when `moment` fits."""
    if not day_fits:
        return _floor(moment, _DAY) + _DAY
    if rule.hours and moment.hour not in rule.hours:
        return _floor(moment, UNITS[Frequency.HOURLY]) + UNITS[Frequency.HOURLY]
    if rule.frequency >= Frequency.MINUTELY and rule.minutes and moment.minute not in rule.minutes:
        return _floor(moment, UNITS[Frequency.MINUTELY]) + UNITS[Frequency.MINUTELY]
    if rule.frequency == Frequency.SECONDLY and rule.seconds and moment.second not in rule.seconds:
        return moment + UNITS[Frequency.SECONDLY]
    return None


def _grid_of(rule: Recurrence, moment: datetime) -> Grid:
    """The wall times in the hour, minute or second of `moment`."""
    minutes = rule.minutes if rule.frequency == Frequency.HOURLY else (moment.minute,)
    seconds = rule.seconds if rule.frequency < Frequency.SECONDLY else (moment.second,)
    return Grid((moment.date(),), (moment.hour,), minutes, seconds)


def _floor(moment: datetime, unit: timedelta) -> datetime:
    return moment - (moment - _MIDNIGHT) % unit


def _day_test(rule: Recurrence) -> Callable[[date], bool]:
    """Whether a day has all that the BY parts ask of it."""
    tests: list[Callable[[date], bool]] = []
    if rule.months:
        tests.append(lambda day: day.month in rule.months)
    if rule.week_numbers:
        tests.append(lambda day: _has_week_number(day, rule.week_numbers, rule.week_start))
    if rule.year_days:
        tests.append(lambda day: _counted(_year_day(day), _year_length(day.year), rule.year_days))
    if rule.month_days:
        tests.append(lambda day: _counted(day.day, monthrange(day.year, day.month)[1], rule.month_days))
    if rule.week_days:
        tests.append(_weekday_test(rule))
    return lambda day: all(test(day) for test in tests)


def _weekday_test(rule: Recurrence) -> Callable[[date], bool]:
    plain = {by.weekday for by in rule.week_days if by.nth is None}
    numbered = {(by.weekday, by.nth) for by in rule.week_days if by.nth is not None}
    yearly = rule.frequency == Frequency.YEARLY and not rule.months

    def fits(day: date) -> bool:
        weekday = day.weekday()
        if weekday in plain or not numbered:
            return weekday in plain
        position, length = (
            (_year_day(day), _year_length(day.year)) if yearly else (day.day, monthrange(day.year, day.month)[1])
        )
        nth, nth_last = (position - 1) // 7 + 1, -((length - position) // 7 + 1)
        return (weekday, nth) in numbered or (weekday, nth_last) in numbered

    return fits


def _counted(position: int, length: int, wanted: tuple[int, ...]) -> bool:
    """Whether `position` of 1 to `length` is wanted, counted from the front or (negative) from the back."""
    return position in wanted or position - length - 1 in wanted


def _year_day(day: date) -> int:
    return day.toordinal() - date(day.year, 1, 1).toordinal() + 1


def _year_length(year: int) -> int:
    return 365 + (monthrange(year, 2)[1] == 29)


def _has_week_number(day: date, wanted: tuple[int, ...], week_start: int) -> bool:
    """Whether the week of `day` has a wanted number; week 1 is the first with four days in the year."""
    week = _week(day, week_start)
    year = date.fromordinal(week + 3).year
    first, following = _first_week(year, week_start), _first_week(year + 1, week_start)
    return _counted((week - first) // 7 + 1, (following - first) // 7, wanted)


def _first_week(year: int, week_start: int) -> int:
    return _week(date(year, 1, 4), week_start)

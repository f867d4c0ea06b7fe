"""Reading a cron line: five fields, or six with the seconds in front."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tocsin.events.errors import Invalid

LONGEST_LINE: Final = 500
ALIASES: Final[Mapping[str, str]] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_RANGE = re.compile(r"(\*|\?|\w+)(?:-(\w+))?(?:/(\w+))?", re.ASCII)


@dataclass(frozen=True)
class Field:
    """One of the fields: its name, bounds, and names for its numbers."""

    name: str
    low: int
    high: int
    names: Mapping[str, int]


SECOND: Final = Field("second", 0, 59, {})
MINUTE: Final = Field("minute", 0, 59, {})
HOUR: Final = Field("hour", 0, 23, {})
DAY_OF_MONTH: Final = Field("day of month", 1, 31, {})
MONTH: Final = Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)})
DAY_OF_WEEK: Final = Field("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)})


@dataclass(frozen=True)
class MonthDays:
    """The day-of-month field: `days`; `last` counts back from the last day (0); `nearest` weekdays to a day."""

    star: bool
    days: frozenset[int]
    last: frozenset[int] = frozenset()
    nearest: frozenset[int] = frozenset()
    last_weekday: bool = False


@dataclass(frozen=True)
class WeekDays:
    """The day-of-week field: `days` (0 is Sunday); `nth` of the month as (day, 1 to 5); `last` of the month."""

    star: bool
    days: frozenset[int]
    nth: frozenset[tuple[int, int]] = frozenset()
    last: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Line:
    """A cron line that was read. `running`: it means a beat, not a time of day (`*` in front of minute or hour)."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    month_days: MonthDays
    months: frozenset[int]
    week_days: WeekDays
    running: bool


def read(text: str) -> Line:
    """The line in `text`; raises `Invalid` naming the field and what it may hold."""
    if not isinstance(text, str) or len(text) > LONGEST_LINE:
        raise Invalid(f"cron: a line is a text of at most {LONGEST_LINE} characters")
    fields = _expand(text).upper().split()
    if len(fields) not in (5, 6):
        raise Invalid(f"cron {text!r}: {len(fields)} fields; a line has 5, or 6 with the seconds in front")
    try:
        return _line(fields if len(fields) == 6 else ["0", *fields])
    except ValueError as error:
        raise Invalid(f"cron {text!r}: {error}") from error


def _expand(text: str) -> str:
    word = text.strip()
    if not word.startswith("@"):
        return word
    if word.lower() not in ALIASES:
        raise Invalid(f"cron {text!r}: unknown; known: {', '.join(ALIASES)}")
    return ALIASES[word.lower()]


def _line(fields: list[str]) -> Line:
    second, minute, hour, day_of_month, month, day_of_week = fields
    return Line(
        seconds=tuple(sorted(_numbers(second, SECOND))),
        minutes=tuple(sorted(_numbers(minute, MINUTE))),
        hours=tuple(sorted(_numbers(hour, HOUR))),
        month_days=_month_days(day_of_month),
        months=frozenset(_numbers(month, MONTH)),
        week_days=_week_days(day_of_week),
        running=any(_star(field) for field in (second, minute, hour)),
    )


def _month_days(text: str) -> MonthDays:
    days, last, nearest, last_weekday = set[int](), set[int](), set[int](), False
    for part in text.split(","):
        if part == "LW":
            last_weekday = True
        elif match := re.fullmatch(r"L(?:-(\d{1,2}))?", part, re.ASCII):
            last.add(_within(int(match[1] or 0), DAY_OF_MONTH, 0, 30))
        elif match := re.fullmatch(r"(\d{1,2})W", part, re.ASCII):
            nearest.add(_within(int(match[1]), DAY_OF_MONTH))
        else:
            days |= _part(part, DAY_OF_MONTH)
    return MonthDays(_star(text), frozenset(days), frozenset(last), frozenset(nearest), last_weekday)


def _week_days(text: str) -> WeekDays:
    days, nth, last = set[int](), set[tuple[int, int]](), set[int]()
    for part in text.split(","):
        if match := re.fullmatch(r"(\w+)#(\d+)", part, re.ASCII):
            nth.add((_number(match[1], DAY_OF_WEEK) % 7, _within(int(match[2]), DAY_OF_WEEK, 1, 5)))
        elif match := re.fullmatch(r"(\d|[A-Z]{3})L", part, re.ASCII):
            last.add(_number(match[1], DAY_OF_WEEK) % 7)
        else:
            days |= {day % 7 for day in _part(part, DAY_OF_WEEK)}
    return WeekDays(_star(text), frozenset(days), frozenset(nth), frozenset(last))


def _star(text: str) -> bool:
    return text[0] in "*?"


def _numbers(text: str, field: Field) -> set[int]:
    return set[int]().union(*(_part(part, field) for part in text.split(",")))


def _part(text: str, field: Field) -> set[int]:
    match = _RANGE.fullmatch(text)
    if not match or (match[1] == "?" and field not in (DAY_OF_MONTH, DAY_OF_WEEK)):
        raise ValueError(f"{field.name} {text[:40]!r} is no number, name, range or step")
    low, high = _span(match[1], match[2], match[3] is not None, field)
    if low > high:
        raise ValueError(f"{field.name} {text!r} runs backwards; write it as two ranges, joined by a comma")
    step = int(match[3]) if match[3] and match[3].isdigit() else 1
    if step < 1 or (match[3] and not match[3].isdigit()):
        raise ValueError(f"{field.name} {text[:40]!r}: a step is a number from 1 on")
    return set(range(low, high + 1, step))


def _span(first: str, last: str | None, stepped: bool, field: Field) -> tuple[int, int]:
    top = 6 if field is DAY_OF_WEEK else field.high
    if first in "*?":
        if last:
            raise ValueError(f"{field.name} '{first}-{last}': a range begins with a number or a name")
        return field.low, top
    low = _number(first, field)
    if last is None:
        return low, top if stepped else low
    high = _number(last, field)
    return low, 7 if last == "SUN" and low > 0 else high


def _number(text: str, field: Field) -> int:
    if text in field.names:
        return field.names[text]
    if not text.isdigit():
        known = f"{field.low}-{field.high}" + (f" or {', '.join(field.names)}" if field.names else "")
        raise ValueError(f"{field.name} {text[:40]!r} is not one of {known}")
    return _within(int(text[:9]), field)


def _within(number: int, field: Field, low: int | None = None, high: int | None = None) -> int:
    low, high = field.low if low is None else low, field.high if high is None else high
    if not low <= number <= high:
        raise ValueError(f"{field.name}: {number} is outside {low}-{high}")
    return number

"""Reading RRULE text: the lines RRULE, DTSTART, EXDATE and RDATE of RFC 5545."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import prod
from typing import Final, TypeVar

from tocsin.events.errors import Invalid
from tocsin.triggers.localise import instant_of
from tocsin.triggers.recurrence import UNITS, ByDay, Frequency, Recurrence
from tocsin.triggers.zones import FIRST_YEAR, LAST_YEAR, zone

LONGEST_TEXT: Final = 6_500
MOST_RULES: Final = 4
MOST_COUNT: Final = 5_000
MOST_INTERVAL: Final = 100_000_000
LONGEST_STEP: Final = timedelta(days=36_500)
SECONDLY_SINCE: Final = 2000
_LONGEST: Final = {Frequency.YEARLY: 366, Frequency.MONTHLY: 31, Frequency.WEEKLY: 7}
"""Days of a period."""

_DAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_TIME: Final = re.compile(r"(\d{8})(?:T(\d{6})(Z?))?", re.ASCII)
T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """One content line: `EXDATE;TZID=Europe/Berlin:20260101T090000` as name, parameters and value."""

    name: str
    parameters: Mapping[str, str]
    value: str


@dataclass(frozen=True)
class Rule:
    """An RRULE as it was written: its parts, and what `bound` its instants (COUNT, UNTIL)."""

    parts: Mapping[str, str]
    frequency: Frequency
    count: int | None
    until: date | None


@dataclass(frozen=True)
class Text:
    """What the lines say. `timezone` is that of DTSTART, if it names one; dates without one are wall times."""

    rules: tuple[Rule, ...]
    start: datetime | None
    timezone: str | None
    exdates: tuple[date, ...]
    rdates: tuple[date, ...]


def read(text: str) -> Text:
    """The lines in `text`; raises `Invalid` with the part that is wrong and what it may be."""
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        raise Invalid(f"rrule: a text of at most {LONGEST_TEXT} characters")
    try:
        return _read(text)
    except ValueError as error:
        raise Invalid(f"rrule: {error}") from error


def recurrence(rule: Rule, start: datetime) -> Recurrence:
    """The rule with what `start` (DTSTART, a wall time) implies; raises `Invalid` for parts out of their bounds."""
    try:
        return _recurrence(rule, start)
    except ValueError as error:
        raise Invalid(f"rrule: {error}") from error


def _read(text: str) -> Text:
    lines = [_line(line) for line in re.sub(r"\r?\n[ \t]", "", text.strip()).splitlines() if line.strip()]
    for line in lines:
        if line.name not in ("RRULE", "DTSTART", "EXDATE", "RDATE"):
            raise ValueError(f"line {line.name[:40]!r} is none of RRULE, DTSTART, EXDATE, RDATE")
    rules = tuple(_rule(line.value) for line in lines if line.name == "RRULE")
    starts = [line for line in lines if line.name == "DTSTART"]
    if sum(rule.count or 0 for rule in rules) > MOST_COUNT:
        raise ValueError(f"COUNT of all lines together is at most {MOST_COUNT}; give UNTIL instead")
    if not 1 <= len(rules) <= MOST_RULES or len(starts) > 1:
        raise ValueError(f"there must be 1 to {MOST_RULES} lines RRULE:FREQ=… and at most one DTSTART")
    start, timezone = _dtstart(starts[0]) if starts else (None, None)
    exdates = tuple(time for line in lines if line.name == "EXDATE" for time in _times(line))
    rdates = tuple(time for line in lines if line.name == "RDATE" for time in _times(line))
    return Text(rules, start, timezone, exdates, rdates)


def _line(text: str) -> Line:
    if "=" in text.split(":")[0] and text.strip().upper().startswith("FREQ="):
        text = f"RRULE:{text.strip()}"
    head, colon, value = text.strip().partition(":")
    name, *parameters = head.split(";")
    if not colon:
        raise ValueError(f"line {text[:40]!r} has no colon")
    return Line(name.upper(), {key.upper(): value for key, _, value in (p.partition("=") for p in parameters)}, value)


def _dtstart(line: Line) -> tuple[datetime, str | None]:
    values = [_time(text) for text in line.value.split(",")]
    if len(values) != 1:
        raise ValueError("DTSTART has one value")
    found = values[0] if isinstance(values[0], datetime) else datetime.combine(values[0], time())
    timezone = "UTC" if found.tzinfo else line.parameters.get("TZID")
    return (found.replace(tzinfo=UTC) if timezone == "UTC" else found), timezone


def _times(line: Line) -> list[date]:
    if line.parameters.get("VALUE", "DATE").upper() not in ("DATE", "DATE-TIME"):
        raise ValueError(f"{line.name} with VALUE={line.parameters['VALUE'][:20]}: dates and date-times are read")
    values = [_time(text) for text in line.value.split(",")]
    if "TZID" not in line.parameters:
        return values
    tz = zone(line.parameters["TZID"])
    return [instant_of(value, tz) if isinstance(value, datetime) else value for value in values]


def _time(text: str) -> date:
    """A day, a wall time, or (with Z) an instant."""
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text[:40]!r} is no date such as 20260131, 20260131T090000 or 20260131T090000Z")
    day, clock, utc = match.groups()
    found = _of_calendar(text, day, clock or "000000")
    if not FIRST_YEAR < found.year < LAST_YEAR:
        raise ValueError(f"{text} is outside the years {FIRST_YEAR + 1} to {LAST_YEAR - 1}")
    if not clock:
        return found.date()
    return found.replace(tzinfo=UTC) if utc else found


def _of_calendar(text: str, day: str, clock: str) -> datetime:
    try:
        of_day = time(int(clock[:2]), int(clock[2:4]), int(clock[4:]))
        return datetime.combine(date(int(day[:4]), int(day[4:6]), int(day[6:])), of_day)
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is no date and time of the calendar: {error}") from error


def _rule(text: str) -> Rule:
    parts: dict[str, str] = {}
    for part in text.strip().rstrip(";").upper().split(";"):
        name, _, value = part.partition("=")
        if name in parts or name not in _PARTS or not value:
            raise ValueError(f"part {part[:40]!r} is twice there, empty, or none of {', '.join(_PARTS)}")
        parts[name] = value
    if parts.get("FREQ") not in Frequency.__members__:
        raise ValueError(f"FREQ is one of {', '.join(Frequency.__members__)}")
    if "COUNT" in parts and "UNTIL" in parts:
        raise ValueError("COUNT and UNTIL exclude each other; leave one out")
    count = _number("COUNT", parts["COUNT"], 1, MOST_COUNT) if "COUNT" in parts else None
    return Rule(parts, Frequency[parts["FREQ"]], count, _time(parts["UNTIL"]) if "UNTIL" in parts else None)


def _recurrence(rule: Rule, start: datetime) -> Recurrence:
    parts, frequency = rule.parts, rule.frequency
    if frequency is Frequency.SECONDLY and start.year < SECONDLY_SINCE:
        raise ValueError(f"a rule by the second from {start:%Y} on; begin DTSTART in {SECONDLY_SINCE} or later")
    interval = _number("INTERVAL", parts.get("INTERVAL", "1"), 1, MOST_INTERVAL)
    if frequency in UNITS and interval * UNITS[frequency] > LONGEST_STEP:
        raise ValueError(f"INTERVAL={interval}: a step of {frequency.name} of more than a hundred years")
    days = _weekdays(parts, frequency)
    month_days = _numbers(parts, "BYMONTHDAY", 1, 31, signed=True)
    week_numbers = _numbers(parts, "BYWEEKNO", 1, 53, signed=True)
    year_days = _numbers(parts, "BYYEARDAY", 1, 366, signed=True)
    months = _numbers(parts, "BYMONTH", 1, 12)
    if not (days or month_days or week_numbers or year_days):
        if frequency is Frequency.YEARLY:
            months = months or (start.month,)
        month_days = (start.day,) if frequency in (Frequency.YEARLY, Frequency.MONTHLY) else ()
        days = (ByDay(start.weekday()),) if frequency is Frequency.WEEKLY else ()
    hours = _numbers(parts, "BYHOUR", 0, 23) or _implied(frequency < Frequency.HOURLY, start.hour)
    minutes = _numbers(parts, "BYMINUTE", 0, 59) or _implied(frequency < Frequency.MINUTELY, start.minute)
    seconds = _numbers(parts, "BYSECOND", 0, 59) or _implied(frequency < Frequency.SECONDLY, start.second)
    most = _LONGEST.get(frequency, 1) * _product(frequency, hours, minutes, seconds)
    return Recurrence(
        start=start,
        frequency=frequency,
        interval=interval,
        week_start=_weekday(parts.get("WKST", "MO")),
        months=months,
        week_numbers=week_numbers,
        year_days=year_days,
        month_days=month_days,
        week_days=days,
        hours=hours,
        minutes=minutes,
        seconds=seconds,
        positions=_possible(_numbers(parts, "BYSETPOS", 1, 366, signed=True), most),
    )


def _product(frequency: Frequency, hours: tuple[int, ...], minutes: tuple[int, ...], seconds: tuple[int, ...]) -> int:
    """How many times of day there are in a day, or in the hour, minute or second that is the period."""
    finer = (len(hours), len(minutes), len(seconds))[max(0, frequency - Frequency.DAILY) :]
    return prod(finer)


def _possible(positions: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Those that a period of at most so many times may have; when it has none of them, all, for it never fires."""
    return tuple(position for position in positions if abs(position) <= most) or positions


def _implied(wanted: bool, value: int) -> tuple[int, ...]:
    return (value,) if wanted else ()


def _weekdays(parts: Mapping[str, str], frequency: Frequency) -> tuple[ByDay, ...]:
    days = _list(parts, "BYDAY", _by_day)
    if any(day.nth for day in days) and (frequency > Frequency.MONTHLY or "BYWEEKNO" in parts):
        raise ValueError("BYDAY with a number (2MO) belongs to FREQ=MONTHLY or YEARLY without BYWEEKNO")
    return days


def _by_day(text: str) -> ByDay:
    match = re.fullmatch(r"([+-]?\d{1,2})?(\w{2})", text, re.ASCII)
    if not match:
        raise ValueError(f"BYDAY {text[:20]!r} is no weekday such as MO, 2TU or -1FR")
    return ByDay(_weekday(match[2]), _number("BYDAY", match[1], 1, 53, signed=True) if match[1] else None)


def _weekday(text: str) -> int:
    if text not in _DAYS:
        raise ValueError(f"weekday {text[:20]!r} is none of {', '.join(_DAYS)}")
    return _DAYS.index(text)


def _numbers(parts: Mapping[str, str], name: str, low: int, high: int, signed: bool = False) -> tuple[int, ...]:
    return tuple(sorted(set(_list(parts, name, lambda text: _number(name, text, low, high, signed)))))


def _list(parts: Mapping[str, str], name: str, read_one: Callable[[str], T]) -> tuple[T, ...]:
    return tuple(read_one(text) for text in parts[name].split(",")) if name in parts else ()


def _number(name: str, text: str, low: int, high: int, signed: bool = False) -> int:
    allowed = f"{low} to {high}" + (f" and -{high} to -{low}" if signed else "")
    if not re.fullmatch(r"[+-]?\d{1,9}" if signed else r"\d{1,9}", text, re.ASCII):
        raise ValueError(f"{name}={text[:20]}: not a number of {allowed}")
    number = int(text)
    if not low <= (abs(number) if signed else number) <= high:
        raise ValueError(f"{name}={text}: outside {allowed}")
    return number


_PARTS: Final = (
    "FREQ",
    "INTERVAL",
    "COUNT",
    "UNTIL",
    "WKST",
    "BYMONTH",
    "BYWEEKNO",
    "BYYEARDAY",
    "BYMONTHDAY",
    "BYDAY",
    "BYHOUR",
    "BYMINUTE",
    "BYSECOND",
    "BYSETPOS",
)

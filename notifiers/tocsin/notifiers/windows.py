"""Mute windows: times of the calendar at which a route says nothing. Alertmanager's time intervals, in their words.

A window is what clocks on a wall show, in its time zone. Where clocks are changed it is read so too: a window from
02:00 to 03:00 does not come on a day whose clocks skip that hour, and comes twice on one that has it twice.

    spring    01:59 | 03:00                  no window
    autumn    01:59 [02:00 … 02:59 | 02:00 … 02:59] 03:00     two hours in one
"""

import re
from calendar import monthrange
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from tocsin.notifiers.blocks import Name
from tocsin.notifiers.node import Window

DAY: Final = 24 * 60
"""Minutes of a day."""

FARTHEST: Final = timedelta(days=31)
"""How far ahead the end of a window is looked for; what lasts longer is looked at again then."""

WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_TIMES: Final = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_OF_THE_MACHINE: Final = re.compile(r"(?i)(local|localtime|posixrules|factory)|(posix|right)/.*")
_MINUTE: Final = timedelta(minutes=1)
_SECOND: Final = timedelta(seconds=1)
_HOUR: Final = timedelta(hours=1)

Range = tuple[int, int]


def holds(window: Window, at: datetime) -> bool:
    """Whether `window` is on at the instant `at` (aware)."""
    wall = at.astimezone(ZoneInfo(window.zone))
    minute = wall.hour * 60 + wall.minute
    return _on_day(window, wall) and (not window.times or any(begin <= minute < end for begin, end in window.times))


def end_of(windows: Sequence[Window], at: datetime) -> datetime:
    """When the last of the windows that follow each other from `at` on is over: `at` itself when none is on.

    It is looked for `FARTHEST` ahead, in steps of a day or a clock change at the most.
    """
    limit = at + FARTHEST
    while at < limit:
        on = [_step(window, at) for window in windows if holds(window, at)]
        if not on:
            return at
        at = max(on)
    return limit


def _on_day(window: Window, wall: datetime) -> bool:
    days = monthrange(wall.year, wall.month)[1]
    month = [found for given in window.days_of_month if (found := _of_month(given, days))]
    return (
        (not window.weekdays or _within(window.weekdays, wall.isoweekday() % 7))
        and (not window.days_of_month or _within(month, wall.day))
        and (not window.months or _within(window.months, wall.month))
        and (not window.years or _within(window.years, wall.year))
    )


def _within(ranges: Sequence[Range], value: int) -> bool:
    return any(begin <= value <= end for begin, end in ranges)


def _of_month(given: Range, days: int) -> Range | None:
    """The days of a month of so many, counted from its end where they are negative; cut to the month."""
    begin, end = (day if day > 0 else days + day + 1 for day in given)
    return (max(begin, 1), min(end, days)) if begin <= days else None


def _step(window: Window, at: datetime) -> datetime:
    """An instant after `at` up to which `window`, on at `at`, stays on: its end, midnight, or a change of clocks."""
    wall = at.astimezone(ZoneInfo(window.zone))
    minute = wall.hour * 60 + wall.minute
    end = next((end for begin, end in window.times if begin <= minute < end), DAY)
    begun = timedelta(hours=wall.hour, minutes=wall.minute, seconds=wall.second, microseconds=wall.microsecond)
    until = at + end * _MINUTE - begun
    return next((change for change in _changes_between(window.zone, at, until)), until)


def _changes_between(zone: str, after: datetime, until: datetime) -> Iterable[datetime]:
    """The changes of clocks after one instant and before another, at the most two days on."""
    first, last = after.astimezone(UTC).date().toordinal(), until.astimezone(UTC).date().toordinal()
    for day in range(first, last + 1):
        yield from (change for change in _changes_on(zone, day) if after < change < until)


@lru_cache(maxsize=1024)
def _changes_on(zone: str, day: int) -> tuple[datetime, ...]:
    """The instants of a UTC day at which clocks are changed; no zone does it twice within an hour."""
    midnight = datetime.fromordinal(day).replace(tzinfo=UTC)
    tz = ZoneInfo(zone)
    hours = [midnight + number * _HOUR for number in range(-1, 24)]
    return tuple(_change(tz, hour) for hour in hours if _offset(tz, hour) != _offset(tz, hour + _HOUR))


def _change(tz: ZoneInfo, hour: datetime) -> datetime:
    """The first second of the new offset, within the hour from `hour` on: the interval is halved until it is found."""
    before, low, high = _offset(tz, hour), 0, 3600
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(tz, hour + middle * _SECOND) == before else (low, middle)
    return hour + high * _SECOND


def _offset(tz: ZoneInfo, at: datetime) -> timedelta | None:
    return at.astimezone(tz).utcoffset()


def _minutes(given: Any) -> str:  # Any: what a document holds, before it is checked
    """`HH:MM-HH:MM`, also from Alertmanager's `{start_time, end_time}`."""
    match given:
        case {"start_time": start, "end_time": end, **rest} if not rest:
            given = f"{start}-{end}"
    begin, end = minutes_of(str(given))
    if end == 0:
        raise ValueError(f"{given}: the end of a day is 24:00")
    if begin >= end:
        two = f"{clock(begin)}-24:00 and 00:00-{clock(end)}"
        raise ValueError(f"{given}: a window ends on the day it begins; for one over midnight write two: {two}")
    return str(given)


def minutes_of(text: str) -> Range:
    """The minutes of the day in `09:00-17:00`. Raises ValueError with the way out."""
    found = _TIMES.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:40]!r}: write times as 09:00-17:00")
    hours = [int(part) for part in found.groups()]
    if hours[1] > 59 or hours[3] > 59:
        raise ValueError(f"{text}: an hour has 60 minutes")
    begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if max(begin, end) > DAY:
        raise ValueError(f"{text}: a day ends at 24:00")
    return begin, end


def clock(minutes: int) -> str:
    """Minutes of the day as `HH:MM`."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _named(names: Sequence[str], first: int, given: str) -> int:
    word = given.strip().lower()
    if word in names:
        return names.index(word) + first
    return _number(given, f"{given!r}: known are {', '.join(names)}")


def _number(given: str, why: str) -> int:
    if not re.fullmatch(r"-?\d{1,4}", given.strip(), re.ASCII):
        raise ValueError(why)
    return int(given)


def _ends(text: str) -> tuple[str, str]:
    begin, separator, end = text.partition(":")
    return begin, end if separator else begin


def weekdays_of(text: str) -> Range:
    """Weekdays in `monday:friday`, 0 is Sunday. Raises ValueError."""
    begin, end = (WEEKDAYS.index(day) if day in WEEKDAYS else None for day in (e.strip().lower() for e in _ends(text)))
    if begin is None or end is None:
        raise ValueError(f"{text!r}: known are {', '.join(WEEKDAYS)}, and ranges such as monday:friday")
    if begin > end:
        raise ValueError(f"{text}: a week begins on sunday; write two: {_ends(text)[0]}:saturday and sunday")
    return begin, end


def months_of(text: str) -> Range:
    """Months in `may:august` or `5:8`, 1 is January. Raises ValueError."""
    begin, end = (_named(MONTHS, 1, part) for part in _ends(text))
    return _ascending(text, begin, end, 1, 12, "a month is one of 1 to 12, or its name")


def years_of(text: str) -> Range:
    """Years in `2026` or `2026:2030`. Raises ValueError."""
    begin, end = (_number(part, f"{text!r}: write years as 2026 or 2026:2030") for part in _ends(text))
    return _ascending(text, begin, end, 1970, 9000, "a year is one of 1970 to 9000")


def days_of(text: str) -> Range:
    """Days of the month in `1:5`, `-1` or `-3:-1`; negative ones count from its end. Raises ValueError."""
    begin, end = (_number(part, f"{text!r}: write days as 1, 1:5 or -3:-1") for part in _ends(text))
    if 0 in (begin, end) or not all(-31 <= day <= 31 for day in (begin, end)):
        raise ValueError(f"{text}: a day is one of 1 to 31, or of -31 to -1 from the end of the month")
    if begin < 0 < end:
        raise ValueError(f"{text}: days that begin from the end of the month end so, too")
    if _in_february(begin) > _in_february(end):
        raise ValueError(f"{text}: the end is before the beginning")
    return begin, end


def _in_february(day: int) -> int:
    """Where a day lies in the shortest month, as Alertmanager counts."""
    return day if day > 0 else 28 + day


def _ascending(text: str, begin: int, end: int, least: int, most: int, why: str) -> Range:
    if not (least <= begin <= most and least <= end <= most):
        raise ValueError(f"{text}: {why}")
    if begin > end:
        raise ValueError(f"{text}: the end is before the beginning; write two ranges")
    return begin, end


def _zone(name: str) -> str:
    try:
        if _OF_THE_MACHINE.fullmatch(name):
            raise LookupError(name)
        ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name[:80]!r}; take an IANA name such as Europe/Berlin") from error
    return name


def _text(given: Any) -> Any:  # Any: what a document holds; a number is a range of one
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


Text = Annotated[str, BeforeValidator(_text)]


class MuteWindow(BaseModel):
    """Times at which a route says nothing: `MuteWindow(name="nights", times=["00:00-06:00"], timezone="Asia/Tokyo")`.

    Every part that is given must hold, in each any one of its ranges: `weekdays=["monday:friday"]`,
    `days_of_month=["1:5", "-3:-1"]`, `months=["may:august", "12"]`, `years=["2026"]`. A window over midnight is two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: Name
    times: tuple[Annotated[str, BeforeValidator(_minutes)], ...] = Field(default=(), max_length=100)
    weekdays: tuple[Text, ...] = Field(default=(), max_length=100)
    days_of_month: tuple[Text, ...] = Field(default=(), max_length=100)
    months: tuple[Text, ...] = Field(default=(), max_length=100)
    years: tuple[Text, ...] = Field(default=(), max_length=100)
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"

    @field_validator("weekdays", "days_of_month", "months", "years")
    @classmethod
    def _are_ranges(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for text in texts:
            _READERS[str(info.field_name)](text)
        return texts

    def window(self) -> Window:
        """What it says, in numbers; ranges of times that touch are one."""
        return Window(
            name=self.name,
            times=_joined(sorted(minutes_of(text) for text in self.times)),
            weekdays=tuple(map(weekdays_of, self.weekdays)),
            days_of_month=tuple(map(days_of, self.days_of_month)),
            months=tuple(map(months_of, self.months)),
            years=tuple(map(years_of, self.years)),
            zone=self.timezone,
        )


_READERS: Final = {"weekdays": weekdays_of, "days_of_month": days_of, "months": months_of, "years": years_of}


def _joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found: list[Range] = []
    for begin, end in ranges:
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return tuple(found)

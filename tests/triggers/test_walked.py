"""Every kind against a naive walk: minute by minute through zoneinfo, near clock changes of many sorts.

Nothing here is shared with the implementation: a cron line is judged by what the clock shows at each minute, an
interval and a rule by the wall times that belong to it, each looked up among the minutes at which the clock shows it.
"""

import calendar
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.events.errors import Invalid
from tocsin.triggers import Cron, Interval, RRule
from tocsin.triggers.timetable import Timetable

MINUTE, DAY, WINDOW = timedelta(minutes=1), timedelta(days=1), timedelta(days=4)
LONGEST_GAP = timedelta(hours=3)


class Moment(NamedTuple):
    at: datetime
    wall: datetime
    second: bool  # the clock has shown it before


# A zone and the day before one of its changes: an hour, half an hour, two hours, a whole day, half an hour for good.
NEAR = [
    ("Europe/Berlin", datetime.fromisoformat("2026-03-28")),
    ("Europe/Berlin", datetime.fromisoformat("2026-10-24")),
    ("America/New_York", datetime.fromisoformat("2026-03-07")),
    ("America/New_York", datetime.fromisoformat("2026-10-31")),
    ("Australia/Lord_Howe", datetime.fromisoformat("2026-10-02")),
    ("Australia/Lord_Howe", datetime.fromisoformat("2026-04-03")),
    ("Africa/Cairo", datetime.fromisoformat("2026-04-22")),
    ("Africa/Cairo", datetime.fromisoformat("2026-10-28")),
    ("Pacific/Apia", datetime.fromisoformat("2011-12-28")),
    ("Atlantic/Azores", datetime.fromisoformat("2026-03-27")),
    ("Antarctica/Troll", datetime.fromisoformat("2026-03-27")),
    ("Antarctica/Troll", datetime.fromisoformat("2026-10-23")),
    ("Africa/Casablanca", datetime.fromisoformat("2026-02-13")),
    ("America/Caracas", datetime.fromisoformat("2016-04-30")),
    ("Asia/Pyongyang", datetime.fromisoformat("2015-08-13")),
]


@cache
def walk(name: str, begin: datetime) -> tuple[Moment, ...]:
    """What the clocks show at each minute of four days."""
    zone, at, found = ZoneInfo(name), begin.replace(tzinfo=UTC), []
    while at < begin.replace(tzinfo=UTC) + WINDOW:
        shown = at.astimezone(zone)
        found.append(Moment(at, shown.replace(tzinfo=None, fold=0), bool(shown.fold)))
        at += MINUTE
    return tuple(found)


def numbers(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin = low if first == "*" else int(first)
        end = int(last) if last else (high if step or first == "*" else begin)
        found.update(range(begin, end + 1, int(step or 1)))
    return found


def is_day(text: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if text == "L":
        return day.day == last
    if text.endswith("W"):
        wanted = date(day.year, day.month, min(int(text[:-1]), last))
        working = [date(day.year, day.month, n) for n in range(1, last + 1)]
        working = [one for one in working if one.weekday() < 5]
        return int(text[:-1]) <= last and day == min(working, key=lambda one: abs((one - wanted).days))
    return day.day in numbers(text, 1, 31)


def is_weekday(text: str, day: date) -> bool:
    name, last = day.isoweekday() % 7, calendar.monthrange(day.year, day.month)[1]
    if "#" in text:
        return [int(part) for part in text.split("#")] == [name, (day.day + 6) // 7]
    if text.endswith("L"):
        return int(text[:-1]) == name and day.day > last - 7
    return name in {number % 7 for number in numbers(text, 0, 6)}


class Line:
    """The fields of a cron line, read once."""

    def __init__(self, line: str) -> None:
        minute, hour, self.day, month, self.weekday = line.split()
        self.running = "*" in (minute[0], hour[0])
        self.minutes, self.hours, self.months = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(month, 1, 12)
        self.fits_day = cache(self._fits_day)

    def fits(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and self.fits_day(wall.date())

    def _fits_day(self, day: date) -> bool:
        days = is_day(self.day, day), is_weekday(self.weekday, day)
        both = "*" in (self.day[0], self.weekday[0])
        return day.month in self.months and (all(days) if both else any(days))


def cron_ticks(line: Line, moments: Iterable[Moment]) -> Iterator[datetime]:
    before: Moment | None = None
    for moment in moments:
        gap = moment.wall - before.wall - MINUTE if before else timedelta()
        left_out = range(1, gap // MINUTE + 1) if gap < LONGEST_GAP and not line.running else ()
        missed = any(line.fits(moment.wall - n * MINUTE) for n in left_out)
        if missed or (line.fits(moment.wall) and (line.running or not moment.second)):
            yield moment.at
        before = moment


def instants(wall: datetime, near: tuple[str, datetime], running: bool) -> list[datetime]:
    """When the clock shows `wall`; a fixed time the first time, or later by the gap that it falls into."""
    found = shown(*near).get(wall, [])
    if running or found:
        return found if running else found[:1]
    first = next((index for index, moment in enumerate(walk(*near)) if moment.wall > wall), 0)
    before = walk(*near)[first - 1]
    return [wall - before.wall + before.at] if first else []


@cache
def shown(name: str, begin: datetime) -> dict[datetime, list[datetime]]:
    """At which instants the clock shows each wall time."""
    found: dict[datetime, list[datetime]] = {}
    for moment in walk(name, begin):
        found.setdefault(moment.wall, []).append(moment.at)
    return found


def agree(schedule: Timetable, expected: Iterable[datetime], begin: datetime) -> None:
    """The inner two days agree with what is expected, from each occurrence on too."""
    after, before = begin.replace(tzinfo=UTC) + DAY, begin.replace(tzinfo=UTC) + WINDOW - DAY
    wanted = sorted({at for at in expected if after < at <= before})
    assert list(schedule.occurrences(after, before)) == wanted
    for index in range(0, len(wanted), max(1, len(wanted) // 5)):
        assert list(islice(schedule.occurrences(wanted[index], before), 20)) == wanted[index + 1 : index + 21]
        again = schedule.occurrences(wanted[index], before, inclusive=True)
        assert list(islice(again, 20)) == wanted[index : index + 20]


MINUTES = st.sampled_from(["0", "30", "15,45", "*", "*/20", "5-50/15", "59", "10-12"])
HOURS = st.sampled_from(["0", "1", "2", "3", "0-3", "*", "*/2", "1-23/2", "23", "2,3", "0,12"])
DAYS = st.sampled_from(["*", "*/2", "L", "1W", "29", "15W", "25-31", "30W"])
WEEKDAYS = st.sampled_from(["*", "0", "7", "5-6", "0#5", "6L", "0L", "1-5", "*/2"])
LINES = st.builds(lambda *parts: " ".join(parts), MINUTES, HOURS, DAYS, st.just("*"), WEEKDAYS)


@given(LINES, st.sampled_from(NEAR))
@settings(max_examples=80)
def test_a_cron_line_agrees_with_a_walk_over_the_minutes(line: str, near: tuple[str, datetime]) -> None:
    agree(Cron(line, timezone=near[0]), cron_ticks(Line(line), walk(*near)), near[1])


@given(st.sampled_from([1, 2, 3, 7]), st.integers(0, 60 * 24 - 1), st.integers(-400, 400), st.sampled_from(NEAR))
@settings(max_examples=60)
def test_whole_days_agree_with_a_walk(days: int, minute: int, k: int, near: tuple[str, datetime]) -> None:
    anchor = near[1] + timedelta(days=k * days, minutes=minute)
    schedule = Interval(timedelta(days=days), anchor=anchor, timezone=near[0])
    first = schedule.wall(schedule.instant(anchor))
    walls = (first + n * timedelta(days=days) for n in range(-k - 3, -k + 8))
    agree(schedule, (at for wall in walls for at in instants(wall, near, False)), near[1])


RULES = st.sampled_from(
    [
        "FREQ=DAILY",
        "FREQ=DAILY;BYHOUR=0,1,2,3;BYMINUTE=0,30",
        "FREQ=WEEKLY;BYDAY=SA,SU,TH,FR;BYHOUR=2,23",
        "FREQ=HOURLY",
        "FREQ=HOURLY;INTERVAL=5;BYMINUTE=15,45",
        "FREQ=MINUTELY;INTERVAL=25",
        "FREQ=MONTHLY;BYDAY=-1SU,2SU,-1FR,1FR;BYHOUR=0,2",
        "FREQ=YEARLY;BYMONTH=3,10,4,11;BYDAY=SU,SA;BYHOUR=1,2;BYSETPOS=1,2,-1,-2",
    ]
)


@given(RULES, st.integers(0, 60 * 24 - 1), st.integers(1, 60), st.sampled_from(NEAR))
@settings(max_examples=60)
def test_a_rule_agrees_with_dateutil_and_a_walk(rule: str, minute: int, days: int, near: tuple[str, datetime]) -> None:
    start = near[1] - timedelta(days=days) + timedelta(minutes=minute)
    text = f"DTSTART:{start:%Y%m%dT%H%M%S}\nRRULE:{rule}"
    try:
        schedule = RRule(text, timezone=near[0])
    except Invalid as error:
        assert "would never fire" in str(error)  # noqa: PT017 - a beat may miss what BY parts ask for
        return
    first = schedule.wall(schedule.instant(start))
    if first != start:
        return
    walls = rrulestr(text).between(near[1], near[1] + 2 * WINDOW, inc=True)
    running = rule.startswith(("FREQ=HOURLY", "FREQ=MINUTELY"))
    agree(schedule, (at for wall in walls for at in instants(wall, near, running)), near[1])

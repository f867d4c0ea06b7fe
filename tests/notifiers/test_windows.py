"""Mute windows, held against an oracle that looks at every minute's wall clock."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from tocsin.notifiers.windows import FARTHEST, MONTHS, WEEKDAYS, MuteWindow, end_of, holds

BERLIN = "Europe/Berlin"  # clocks ahead on 2026-03-29 01:00Z, back on 2026-10-25 01:00Z


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(**fields: Any) -> MuteWindow:  # Any: as documents give them
    return MuteWindow.model_validate({"name": "w", **fields})


@pytest.mark.parametrize(
    ("fields", "at", "end"),
    [
        pytest.param({"times": ["09:00-17:00"]}, "2026-03-02 09:00", "2026-03-02 17:00", id="the beginning is in it"),
        pytest.param({"times": ["09:00-17:00"]}, "2026-03-02 17:00", None, id="the end is not"),
        pytest.param({"times": ["09:00-17:00"]}, "2026-03-02 16:59:59.5", "2026-03-02 17:00", id="the last second is"),
        pytest.param({"times": ["09:00-12:00", "12:00-17:00"]}, "2026-03-02 10:00", "2026-03-02 17:00", id="joined"),
        pytest.param(
            {"times": ["22:00-24:00", "00:00-06:00"]}, "2026-03-02 23:00", "2026-03-03 06:00", id="over midnight"
        ),
        pytest.param({"weekdays": ["saturday", "sunday"]}, "2026-03-07 10:00", "2026-03-09 00:00", id="a weekend"),
        pytest.param({"weekdays": ["monday:friday"]}, "2026-03-07 10:00", None, id="no weekday"),
        pytest.param({"days_of_month": ["-1"]}, "2024-02-29 10:00", "2024-03-01 00:00", id="the last of February"),
        pytest.param({"days_of_month": ["-3:-1"]}, "2026-04-28 10:00", "2026-05-01 00:00", id="the last three"),
        pytest.param({"days_of_month": ["30:31"]}, "2026-02-28 10:00", None, id="days that February lacks"),
        pytest.param(
            {"days_of_month": ["1:31"]}, "2026-02-28 10:00", "2026-03-31 10:00", id="cut to the month, looked at again"
        ),
        pytest.param({"months": ["may:june", 12]}, "2026-12-31 10:00", "2027-01-01 00:00", id="months"),
        pytest.param({"years": [2026]}, "2026-12-31 10:00", "2027-01-01 00:00", id="years"),
        pytest.param(
            {"times": ["09:00-10:00"], "timezone": "Asia/Kolkata"}, "2026-03-02 03:30", "2026-03-02 04:30", id="zone"
        ),
        pytest.param({"times": ["02:00-03:00"], "timezone": BERLIN}, "2026-03-29 01:00", None, id="skipped in a gap"),
        pytest.param(
            {"times": ["01:30-03:30"], "timezone": BERLIN}, "2026-03-29 00:45", "2026-03-29 01:30", id="over a gap"
        ),
        pytest.param(
            {"times": ["01:00-02:30"], "timezone": BERLIN}, "2026-03-29 00:15", "2026-03-29 01:00", id="cut by a gap"
        ),
        pytest.param(
            {"times": ["02:00-03:00"], "timezone": BERLIN}, "2026-10-25 00:15", "2026-10-25 02:00", id="both of a fold"
        ),
        pytest.param(
            {"times": ["02:00-02:30"], "timezone": BERLIN}, "2026-10-25 00:15", "2026-10-25 00:30", id="first of two"
        ),
        pytest.param(
            {"times": ["02:00-02:30"], "timezone": BERLIN}, "2026-10-25 01:15", "2026-10-25 01:30", id="second of two"
        ),
        pytest.param(
            {"times": ["02:30-03:30"], "timezone": BERLIN},
            "2026-10-25 00:45",
            "2026-10-25 01:00",
            id="put back out of it",
        ),
        pytest.param(
            {"weekdays": ["sunday"], "timezone": BERLIN}, "2026-10-25 00:15", "2026-10-25 23:00", id="a day of 25 hours"
        ),
    ],
)
def test_a_window_and_its_end(fields: dict[str, Any], at: str, end: str | None) -> None:
    found = window(**fields).window()
    assert holds(found, utc(at)) is (end is not None)
    assert end_of([found], utc(at)) == utc(end or at)


def test_windows_that_follow_each_other_end_with_the_last() -> None:
    first, second = window(times=["08:00-10:00"]).window(), window(times=["09:00-11:00"]).window()
    assert end_of([first, second], utc("2026-03-02 08:30")) == utc("2026-03-02 11:00")


def test_a_window_without_end_is_looked_at_again() -> None:
    assert end_of([window().window()], utc("2026-03-02 08:30")) == utc("2026-03-02 08:30") + FARTHEST


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"times": ["22:00-06:00"]}, "write two: 22:00-24:00 and 00:00-06:00"),
        ({"times": ["22:00-00:00"]}, "the end of a day is 24:00"),
        ({"times": ["9-17"]}, "write times as 09:00-17:00"),
        ({"times": ["09:60-17:00"]}, "60 minutes"),
        ({"times": ["09:00-24:01"]}, "ends at 24:00"),
        ({"weekdays": ["mon"]}, "known are sunday, monday"),
        ({"weekdays": ["friday:monday"]}, "write two: friday:saturday and sunday"),
        ({"days_of_month": ["0"]}, "1 to 31"),
        ({"days_of_month": ["-3:1"]}, "end so, too"),
        ({"days_of_month": ["5:1"]}, "before the beginning"),
        ({"days_of_month": ["10:-20"]}, "before the beginning"),
        ({"months": ["13"]}, "1 to 12"),
        ({"months": ["brumaire"]}, "known are january"),
        ({"months": ["may:april"]}, "write two ranges"),
        ({"years": ["26"]}, "1970"),
        ({"timezone": "Mars/Base"}, "Europe/Berlin"),
        ({"timezone": "Local"}, "Europe/Berlin"),
        ({"name": ""}, "pattern"),
    ],
)
def test_a_bad_window_is_refused_with_the_way_out(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        window(**fields)


def test_times_are_taken_as_alertmanager_writes_them() -> None:
    assert window(times=[{"start_time": "09:00", "end_time": "17:00"}]).times == ("09:00-17:00",)


# --- the oracle ---


def naive(fields: dict[str, list[str]], zone: str, at: datetime) -> bool:
    """Whether the window of `fields` holds at `at`, by reading its texts anew."""
    wall = at.astimezone(ZoneInfo(zone))
    length = monthrange(wall.year, wall.month)[1]
    counted = {wall.day, wall.day - length - 1}
    known = {
        "weekdays": lambda text: wall.strftime("%A").lower() in _between(text, WEEKDAYS),
        "months": lambda text: wall.strftime("%B").lower() in _between(text, MONTHS),
        "years": lambda text: int(text.split(":")[0]) <= wall.year <= int(text.split(":")[-1]),
        "days_of_month": lambda text: bool(counted & _days(text, length)),
        "times": lambda text: text[:5] <= wall.strftime("%H:%M") < text[6:],
    }
    return all(any(map(known[part], texts)) for part, texts in fields.items() if texts)


def _between(text: str, names: tuple[str, ...]) -> tuple[str, ...]:
    ends = text.split(":")
    return names[names.index(ends[0]) : names.index(ends[-1]) + 1]


def _days(text: str, length: int) -> set[int]:
    begin, end = (_at(int(text.split(":")[place]), length) for place in (0, -1))
    found = set(range(begin, end + 1)) & set(range(1, length + 1))
    return found if not text.startswith("-") else {day - length - 1 for day in found}


def _at(day: int, length: int) -> int:
    return day if day > 0 else length + 1 + day


def ranges(texts: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    return st.one_of(st.just([]), st.lists(texts.map(lambda ends: ":".join(ends)), min_size=1, max_size=2))


minutes = st.integers(0, 1440).map(lambda number: f"{number // 60:02}:{number % 60:02}")
times = st.lists(
    st.lists(minutes, min_size=2, max_size=2, unique=True).map(lambda two: "-".join(sorted(two))), max_size=3
)
days = st.sampled_from([["1", "5"], ["-3", "-1"], ["28", "31"], ["15"], ["-1"], ["-31", "-28"], ["25", "-2"]])
definitions = st.fixed_dictionaries(
    {
        "times": times,
        "weekdays": ranges(st.sampled_from([["sunday"], ["monday", "friday"], ["saturday"], ["sunday", "saturday"]])),
        "days_of_month": ranges(days),
        "months": ranges(st.sampled_from([["january", "march"], ["april"], ["october", "december"]])),
        "years": ranges(st.sampled_from([["2026"], ["2025", "2027"]])),
    }
)
zones = st.sampled_from(
    ["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "Asia/Kathmandu", "Africa/Cairo"]
)
CHANGES = [
    *("2026-03-28 21:00", "2026-03-28 23:00", "2026-10-24 22:00", "2026-10-25 00:00"),  # Beirut, Berlin
    *("2026-03-08 06:00", "2026-11-01 05:00", "2026-04-04 14:00", "2026-10-03 15:00"),  # New York, Lord Howe
    *("2026-04-23 21:00", "2026-10-29 20:00", "2024-02-28 22:00", "2026-12-31 22:00"),  # Cairo, leap day, a year's end
]
instants = st.builds(
    lambda text, minute, second: utc(text) + timedelta(minutes=minute, seconds=second),
    st.sampled_from(CHANGES),
    st.integers(-1500, 1500),
    st.integers(0, 59),
)


@given(definitions, zones, instants)
@example({"times": ["02:00-03:00"]}, BERLIN, utc("2026-03-29 01:30"))
@example({"times": ["02:00-03:00"]}, BERLIN, utc("2026-10-25 01:30"))
@example({"times": ["00:00-01:00"], "weekdays": ["sunday"]}, "Asia/Beirut", utc("2026-03-28 21:59"))
def test_a_window_is_what_the_clock_on_the_wall_shows(fields: dict[str, list[str]], zone: str, at: datetime) -> None:
    found = window(**fields, timezone=zone).window()
    assert holds(found, at) is naive(fields, zone, at)
    end = end_of([found], at)
    if not naive(fields, zone, at):
        assert end == at
        return
    minute = at.replace(second=0, microsecond=0)
    later = (minute + timedelta(minutes=number) for number in range(1, 3 * 1440))
    expected = next((instant for instant in later if not naive(fields, zone, instant)), None)
    assert end == expected if expected else end > at + timedelta(days=2)

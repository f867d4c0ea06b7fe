"""Cron lines: what each field may hold, which days fit, and what is refused."""

from datetime import UTC, date, datetime
from itertools import islice

import pytest

from tocsin.events.errors import Invalid
from tocsin.triggers.cron import Cron

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def days(line: str, count: int, *, day_or: bool = True) -> list[str]:
    found = islice(Cron(line, day_or=day_or).occurrences(NEW_YEAR, inclusive=True), count)
    return [f"{instant:%m-%d}" for instant in found]


def times(line: str, count: int) -> list[str]:
    return [f"{instant:%H:%M:%S}" for instant in islice(Cron(line).occurrences(NEW_YEAR, inclusive=True), count)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("0 0 13 * 5", ["01-02", "01-09", "01-13", "01-16"], id="two day fields: either"),
        pytest.param("0 0 */2 * 3", ["01-07", "01-21", "02-11"], id="one begins with *: both, steps or not"),
        pytest.param("0 0 1-7 * */2", ["01-01", "01-03", "01-04", "01-06"], id="the other begins with *: both"),
        pytest.param("0 0 * * 1", ["01-05", "01-12"], id="any day of month: the weekday"),
        pytest.param("0 0 ? * 1", ["01-05", "01-12"], id="a question mark is a star"),
        pytest.param("0 0 * * 0", ["01-04", "01-11"], id="0 is Sunday"),
        pytest.param("0 0 * * 7", ["01-04", "01-11"], id="7 is Sunday"),
        pytest.param("0 0 * * fri-sun", ["01-02", "01-03", "01-04", "01-09"], id="a range of names up to Sunday"),
        pytest.param("0 0 * * 5-7", ["01-02", "01-03", "01-04", "01-09"], id="a range of numbers up to Sunday"),
        pytest.param("0 0 * * MON,wed", ["01-05", "01-07", "01-12"], id="names in any case"),
        pytest.param("0 0 1 JAN-MAR/2 *", ["01-01", "03-01", "01-01"], id="month names with a step"),
        pytest.param("0 0 20/5 * *", ["01-20", "01-25", "01-30", "02-20"], id="a step from a number to the end"),
        pytest.param("0 0 31 * *", ["01-31", "03-31", "05-31"], id="months without a 31st are left out"),
        pytest.param("0 0 L * *", ["01-31", "02-28", "03-31"], id="L: the last day"),
        pytest.param("0 0 L-2 * *", ["01-29", "02-26", "03-29"], id="L-2: two days before it"),
        pytest.param("0 0 LW * *", ["01-30", "02-27", "03-31"], id="LW: the last weekday"),
        pytest.param("0 0 1W * *", ["01-01", "02-02", "03-02"], id="1W: a Sunday the 1st moves to Monday the 2nd"),
        pytest.param("0 0 15W * *", ["01-15", "02-16", "03-16"], id="15W: the weekday nearest to it"),
        pytest.param("0 0 31W * *", ["01-30", "03-31", "05-29"], id="31W: back when Monday is another month"),
        pytest.param("0 0 * * 2#1", ["01-06", "02-03", "03-03"], id="2#1: the first Tuesday"),
        pytest.param("0 0 * * FRI#5", ["01-30", "05-29"], id="FRI#5: only in months with five"),
        pytest.param("0 0 * * 5L", ["01-30", "02-27", "03-27"], id="5L: the last Friday"),
        pytest.param("0 0 * * SUNL,1#1", ["01-05", "01-25", "02-02"], id="a list of both"),
        pytest.param("0 0 13 * FRI#2", ["01-09", "01-13", "02-13", "03-13"], id="with a day of month: either"),
        pytest.param("0 0 29 2 *", ["02-29", "02-29"], id="leap days"),
        pytest.param("@monthly", ["01-01", "02-01"], id="@monthly"),
        pytest.param("@weekly", ["01-04", "01-11"], id="@weekly"),
        pytest.param("@Yearly", ["01-01", "01-01"], id="@yearly"),
    ],
)
def test_the_days_of_a_line(line: str, expected: list[str]) -> None:
    assert days(line, len(expected)) == expected


def test_day_or_false_asks_for_both_day_fields() -> None:
    assert days("0 0 13 * 5", 2, day_or=False) == ["02-13", "03-13"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("*/20 * * * *", ["00:00:00", "00:20:00", "00:40:00", "01:00:00"], id="steps"),
        pytest.param("5,35 9-17/4 * * *", ["09:05:00", "09:35:00", "13:05:00"], id="lists and stepped ranges"),
        pytest.param("*/20 0 * * * *", ["00:00:00", "00:00:20", "00:00:40", "01:00:00"], id="seconds in front"),
        pytest.param("@hourly", ["00:00:00", "01:00:00"], id="@hourly"),
        pytest.param("  @daily ", ["00:00:00", "00:00:00"], id="@daily"),
    ],
)
def test_the_times_of_a_line(line: str, expected: list[str]) -> None:
    assert times(line, len(expected)) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("* * * *", "4 fields"),
        ("* * * * * * *", "7 fields"),
        ("", "0 fields"),
        ("60 * * * *", "minute: 60 is outside 0-59"),
        ("* 24 * * *", "hour: 24 is outside 0-23"),
        ("* * 0 * *", "day of month: 0 is outside 1-31"),
        ("* * * 13 *", "month: 13 is outside 1-12"),
        ("* * * * 8", "day of week: 8 is outside 0-7"),
        ("*/0 * * * *", "a step is a number from 1 on"),
        ("*/x * * * *", "a step is a number from 1 on"),
        ("30-10 * * * *", "runs backwards"),
        ("*-5 * * * *", "a range begins with a number"),
        ("? * * * *", "minute '?'"),
        ("1,,2 * * * *", "minute ''"),
        ("-1 * * * *", "minute '-1'"),
        ("* * * * MON#6", "6 is outside 1-5"),
        ("* * * * MON#0", "0 is outside 1-5"),
        ("* * * * MON-8", "day of week: 8 is outside"),
        ("* * * * L", "'L' is not one of 0-7 or SUN"),
        ("* * * FOO *", "month 'FOO' is not one of 1-12 or JAN"),
        ("* * 32W * *", "32 is outside 1-31"),
        ("* * L-31 * *", "31 is outside 0-30"),
        ("@reboot", "unknown; known: @yearly"),
        ("0 0 30 2 *", "would never fire; no month has such a day"),
        ("0 0 31 2,4,6,9,11 *", "would never fire"),
        ("0 0 31W 2 *", "would never fire"),
        ("٣ * * * *", "minute"),
        ("0" * 501, "at most 500 characters"),
        ("99999999999999999999 * * * *", "outside 0-59"),
    ],
)
def test_a_bad_line_is_refused_with_the_reason(line: str, said: str) -> None:
    with pytest.raises(Invalid, match=said.replace("?", r"\?").replace("*", r"\*")) as refused:
        Cron(line)
    assert "cron" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Europe/Belrin", "did you mean Europe/Berlin"),
        ("Mars/Olympus", "there is no 'Mars/Olympus'"),
        ("../etc/passwd", "there is no"),
        ("/etc/localtime", "there is no"),
        ("localtime", "there is no 'localtime'"),
        ("Factory", "there is no 'Factory'"),
        ("right/UTC", "there is no 'right/UTC'"),
        ("America", "there is no 'America'"),
        ("", "there is no"),
        ("x" * 10_000, "take an IANA name"),
    ],
)
def test_an_unknown_zone_is_refused_with_what_is_near(name: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        Cron("0 0 * * *", timezone=name)


def test_bounds_and_dates_left_out() -> None:
    schedule = Cron(
        "0 9 * * *",
        timezone="America/New_York",
        start=datetime(2026, 3, 6, 9),  # noqa: DTZ001
        end=datetime(2026, 3, 12, 13, tzinfo=UTC),
        exdates=(date(2026, 3, 7), datetime(2026, 3, 9, 9), datetime(2026, 3, 10, 13, tzinfo=UTC)),  # noqa: DTZ001
    )
    found = [f"{instant:%m-%d %H}" for instant in schedule.occurrences(NEW_YEAR)]
    assert found == ["03-06 14", "03-08 13", "03-11 13", "03-12 13"]


def test_an_exdate_in_a_gap_takes_away_the_tick_that_was_moved() -> None:
    schedule = Cron("30 2 * * *", timezone="Europe/Berlin", exdates=(datetime(2026, 3, 29, 2, 30),))  # noqa: DTZ001
    found = schedule.occurrences(datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 30, 12, tzinfo=UTC))
    assert [f"{instant:%d %H:%M}" for instant in found] == ["30 00:30"]


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"start": datetime(2027, 1, 1), "end": datetime(2026, 1, 1)}, "its end 2026-01-01 00:00:00 is before"),  # noqa: DTZ001
        ({"start": datetime(2026, 1, 1, 1), "end": datetime(2026, 1, 1, 2)}, "would never fire"),  # noqa: DTZ001
        ({"start": datetime(1, 1, 1)}, "outside the years"),  # noqa: DTZ001
        ({"start": "tomorrow"}, "'tomorrow' is no datetime"),
        ({"exdates": (date(2026, 1, 1),) * 1_001}, "at most 1000"),
    ],
)
def test_bounds_that_leave_nothing_are_refused(bounds: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        Cron("0 0 * * *", **bounds)  # type: ignore[arg-type]

"""One localisation rule for every kind: it agrees with the cron daemon at every kind of clock change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.triggers.daemon import runs
from tocsin.triggers.cron import Cron
from tocsin.triggers.interval import Interval
from tocsin.triggers.rrule import RRule
from tocsin.triggers.timetable import Timetable
from tocsin.triggers.zones import changes

CHANGES = {
    "Berlin ahead": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Berlin back": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "New York ahead": ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    "New York back": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Lord Howe back by half an hour": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Lord Howe ahead by half an hour": ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    "Cairo ahead at midnight": ("Africa/Cairo", datetime(2026, 4, 23, 22, tzinfo=UTC)),
    "Cairo back to the day before": ("Africa/Cairo", datetime(2026, 10, 29, 21, tzinfo=UTC)),
    "Samoa without its 30 December": ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    "Casey ahead by three hours": ("Antarctica/Casey", datetime(2009, 10, 17, 18, tzinfo=UTC)),
    "Troll ahead by two hours": ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Troll back by two hours": ("Antarctica/Troll", datetime(2026, 10, 25, 1, tzinfo=UTC)),
}
LINES = (
    "30 2 * * *",
    "0 0 * * *",
    "0,30 2,3 * * *",
    "15 0-3 * * *",
    "59 23 * * *",
    "*/15 * * * *",
    "45 * * * *",
    "15 */2 * * *",
    "*/30 2 * * *",
    "0 1-3/2 * * 0",
    "* 3 * * *",
    "10 2 25-31 * 0",
)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("name", CHANGES)
def test_a_cron_line_fires_when_the_daemon_starts_it(name: str, line: str) -> None:
    zone, change = CHANGES[name]
    assert change in [found.at for found in changes(ZoneInfo(zone), change.year)]
    begin, end = change - timedelta(hours=27), change + timedelta(hours=27)
    found = list(Cron(line, timezone=zone).occurrences(begin, end - timedelta(seconds=1), inclusive=True))
    assert found == runs(line, ZoneInfo(zone), begin, end)


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.one_of(st.just("*"), spans).flatmap(lambda span: st.integers(1, 30).map(lambda step: f"{span}/{step}"))
    parts = st.one_of(number.map(str), spans, steps)
    return st.one_of(st.just("*"), st.lists(parts, min_size=1, max_size=3).map(",".join))


LINE = st.tuples(numbers(0, 59), numbers(0, 23), numbers(1, 28), numbers(1, 12), numbers(0, 7)).map(" ".join)


@given(LINE, st.sampled_from(sorted(CHANGES)), st.integers(-1_500, 1_500))
@settings(max_examples=60)
def test_any_line_agrees_with_the_daemon_near_a_change(line: str, name: str, minutes: int) -> None:
    zone, change = CHANGES[name]
    begin = change + timedelta(minutes=minutes)
    end = begin + timedelta(hours=26)
    found = list(Cron(line, timezone=zone).occurrences(begin, end - timedelta(seconds=1), inclusive=True))
    assert found == runs(line, ZoneInfo(zone), begin, end)


@given(LINE, st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001
@settings(max_examples=60)
def test_any_line_agrees_with_a_walk_over_the_minutes_where_no_clock_changes(line: str, moment: datetime) -> None:
    begin = moment.replace(second=0, microsecond=0, tzinfo=UTC)
    end = begin + timedelta(days=3)
    found = list(Cron(line).occurrences(begin, end - timedelta(seconds=1), inclusive=True))
    assert found == runs(line, ZoneInfo("UTC"), begin, end)


BERLIN = "Europe/Berlin"
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)
DAILY = "DTSTART:20260101T023000\nRRULE:FREQ=DAILY"
HALF_HOURLY = "DTSTART:20260101T000000\nRRULE:FREQ=MINUTELY;INTERVAL=30"


@pytest.mark.parametrize(
    ("schedule", "day", "hours"),
    [
        pytest.param(Cron("30 2 * * *", timezone=BERLIN), SPRING, [1.0], id="fixed cron in a gap: once, when it ends"),
        pytest.param(Cron("30 2 * * *", timezone=BERLIN), AUTUMN, [0.5], id="fixed cron in a fold: the first"),
        pytest.param(Cron("0,30 2 * * *", timezone=BERLIN), SPRING, [1.0], id="two lines of a gap end as one tick"),
        pytest.param(Cron("30 2-3 * * *", timezone=BERLIN), SPRING, [1.0, 1.5], id="a gap's tick, then the next"),
        pytest.param(Cron("*/30 2 * * *", timezone=BERLIN), SPRING, [], id="running cron in a gap: none"),
        pytest.param(Cron("*/30 2 * * *", timezone=BERLIN), AUTUMN, [0.0, 0.5, 1.0, 1.5], id="running: both of a fold"),
        pytest.param(Cron("* 30 2 * * *", timezone=BERLIN), SPRING, [], id="by the second is running too"),
        pytest.param(RRule(DAILY, timezone=BERLIN), SPRING, [1.5], id="daily rule in a gap: later by the gap"),
        pytest.param(RRule(DAILY, timezone=BERLIN), AUTUMN, [0.5], id="daily rule in a fold: the first"),
        pytest.param(
            RRule(DAILY + ";BYHOUR=2,3;BYMINUTE=0,30", timezone=BERLIN),
            SPRING,
            [1.0, 1.5],
            id="what is moved out of a gap may meet what is there",
        ),
        pytest.param(
            RRule(HALF_HOURLY + ";BYHOUR=2", timezone=BERLIN), AUTUMN, [0.0, 0.5, 1.0, 1.5], id="finer rule: both"
        ),
        pytest.param(RRule(HALF_HOURLY + ";BYHOUR=2", timezone=BERLIN), SPRING, [], id="finer rule in a gap: none"),
        pytest.param(
            Interval(timedelta(days=1), anchor=datetime(2026, 1, 1, 2, 30), timezone=BERLIN),  # noqa: DTZ001
            SPRING,
            [1.5],
            id="whole days in a gap: later by the gap",
        ),
        pytest.param(
            Interval(timedelta(days=1), anchor=datetime(2026, 1, 1, 2, 30), timezone=BERLIN),  # noqa: DTZ001
            AUTUMN,
            [0.5],
            id="whole days in a fold: the first",
        ),
    ],
)
def test_a_clock_change(schedule: Timetable, day: date, hours: list[float]) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    noon = midnight + timedelta(hours=12)
    found = schedule.occurrences(midnight - timedelta(hours=1), noon)
    assert [(instant - midnight) / timedelta(hours=1) for instant in found] == hours


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Africa/Cairo", "Asia/Beirut"])
def test_a_daily_midnight_does_not_skip_a_day_after_a_spring_change(zone: str) -> None:
    schedule = Cron("0 0 * * *", timezone=zone)
    found = list(schedule.occurrences(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)))
    days = [schedule.wall(instant).date() for instant in found]
    assert days == [days[0] + timedelta(days=index) for index in range(len(days))]
    assert len(days) > 360


def test_a_rare_beat_is_found_again_when_the_clock_goes_back() -> None:
    schedule = Cron("*/30 2 25 10 *", timezone=BERLIN)
    between = datetime(2026, 10, 25, 0, 40, tzinfo=UTC)
    found = list(schedule.occurrences(between, between + timedelta(days=370)))
    assert [f"{at:%m-%d %H:%M}" for at in found] == ["10-25 01:00", "10-25 01:30", "10-25 00:00", "10-25 00:30"]


def test_a_zone_is_read_at_its_second() -> None:
    amsterdam = changes(ZoneInfo("Europe/Amsterdam"), 1937)
    assert [change.length.total_seconds() for change in amsterdam][1] == 28
    assert changes(ZoneInfo("UTC"), 2026) == ()

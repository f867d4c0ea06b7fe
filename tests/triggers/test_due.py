"""What is due: nothing is lost or told twice, late ticks follow the policy, long absences are summed up."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.triggers.due import FEW, MOST_TICKS, CatchUp, Ticks, due, last_occurrence, previous_occurrence
from tocsin.triggers.schedules import Cron, Interval, RRule, Timetable

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOURLY = Cron("0 * * * *")
SECONDLY = Interval(timedelta(seconds=1))
MINUTE = timedelta(minutes=1)
LONG_OVER = datetime(2020, 1, 1, tzinfo=UTC)


def at(ticks: Ticks) -> list[str]:
    return [f"{tick.at:%H:%M}" for tick in ticks.ticks]


@pytest.mark.parametrize(
    ("policy", "sent", "skipped"),
    [
        pytest.param(CatchUp("all"), ["05:00", "06:00", "07:00", "08:00", "09:00"], [], id="all"),
        pytest.param(CatchUp("latest"), ["09:00"], ["05:00", "06:00", "07:00", "08:00"], id="latest: the last one"),
        pytest.param(CatchUp("none"), ["09:00"], ["05:00", "06:00", "07:00", "08:00"], id="none: what is on time"),
        pytest.param(
            CatchUp("all", timedelta(hours=2)), ["07:00", "08:00", "09:00"], ["05:00", "06:00"], id="all in a window"
        ),
    ],
)
def test_after_four_hours_down(policy: CatchUp, sent: list[str], skipped: list[str]) -> None:
    found = due(HOURLY, NOW - timedelta(hours=5), NOW, policy, None)
    assert at(found) == sent
    assert [f"{skip.first:%H:%M}" for skip in found.skipped] == skipped
    assert (found.cursor, found.next_at, found.previous) == (NOW, NOW + timedelta(hours=1), NOW)


@pytest.mark.parametrize(
    ("policy", "sent", "reason"),
    [
        pytest.param(CatchUp("all"), ["08:00"], "", id="all"),
        pytest.param(CatchUp("latest"), ["08:00"], "", id="latest is sent though it is late"),
        pytest.param(CatchUp("none"), [], "later than 60 s, and catch-up is none", id="none"),
        pytest.param(
            CatchUp("latest", timedelta(minutes=30)),
            [],
            "older than the catch-up window of 0:30:00",
            id="out of window",
        ),
        pytest.param(CatchUp("none", timedelta(hours=9)), [], "later than 60 s", id="none is none whatever the window"),
    ],
)
def test_one_tick_half_an_hour_late(policy: CatchUp, sent: list[str], reason: str) -> None:
    found = due(HOURLY, NOW - timedelta(minutes=90), NOW - timedelta(minutes=15), policy, None)
    assert at(found) == sent
    assert len(found.skipped) == (0 if sent else 1)
    assert all(reason in skip.reason and skip.exact and skip.count == 1 for skip in found.skipped)


@pytest.mark.parametrize("mode", ["all", "latest", "none"])
def test_a_minute_late_is_on_time_for_every_policy(mode: str) -> None:
    policy = CatchUp(mode, timedelta(seconds=1))  # type: ignore[arg-type]
    found = due(SECONDLY, NOW - MINUTE, NOW, policy, None)
    assert len(found.ticks) == 60
    assert found.skipped == ()


def test_a_data_interval_runs_from_one_occurrence_to_the_next() -> None:
    workdays = Cron("0 6 * * 1-5")
    found = due(workdays, NOW - timedelta(days=1), NOW, CatchUp("all"), None)
    assert [(f"{tick.previous:%a}", f"{tick.at:%a}") for tick in found.ticks] == [("Fri", "Mon")]
    first = RRule("DTSTART:20260302T080000\nRRULE:FREQ=DAILY")
    assert [tick.previous for tick in due(first, NOW - timedelta(days=1), NOW, CatchUp(), None).ticks] == [
        datetime(2026, 3, 2, 8, tzinfo=UTC)
    ]


def test_the_interval_of_the_latest_tick_is_its_own() -> None:
    found = due(HOURLY, NOW - timedelta(days=9), NOW + 5 * MINUTE, CatchUp("latest"), NOW - timedelta(days=9))
    assert [(tick.previous, tick.at) for tick in found.ticks] == [(NOW - timedelta(hours=1), NOW)]


def test_a_thousand_ticks_a_turn_and_then_the_rest() -> None:
    first = due(SECONDLY, NOW - timedelta(seconds=1_500), NOW, CatchUp("all"), None)
    assert len(first.ticks) == MOST_TICKS
    assert first.next_at is not None
    assert first.next_at <= NOW
    second = due(SECONDLY, first.cursor, NOW, CatchUp("all"), first.previous)
    assert len(second.ticks) == 500
    assert second.ticks[0].previous == first.ticks[-1].at
    assert (second.cursor, second.next_at) == (NOW, NOW + timedelta(seconds=1))


@pytest.mark.parametrize("mode", ["latest", "none"])
def test_a_year_asleep_is_one_summary(mode: str) -> None:
    found = due(SECONDLY, NOW - timedelta(days=365), NOW, CatchUp(mode), None)  # type: ignore[arg-type]
    (skip,) = found.skipped
    assert (skip.count, skip.exact) == (10_000, False)
    assert skip.first == NOW - timedelta(days=365) + timedelta(seconds=1)
    assert skip.last == found.ticks[0].at - timedelta(seconds=1)
    assert len(found.ticks) == 61


def test_few_skips_are_told_one_by_one_many_with_their_number() -> None:
    few = due(HOURLY, NOW - timedelta(hours=FEW), NOW + 5 * MINUTE, CatchUp("none"), None)
    assert [skip.count for skip in few.skipped] == [1] * FEW
    (many,) = due(HOURLY, NOW - timedelta(hours=FEW + 1), NOW + 5 * MINUTE, CatchUp("none"), None).skipped
    assert (many.count, many.exact, many.first, many.last) == (FEW + 1, True, NOW - timedelta(hours=FEW), NOW)


def test_a_clock_put_back_repeats_nothing() -> None:
    found = due(HOURLY, NOW, NOW - timedelta(hours=3), CatchUp("all"), None)
    assert (found.ticks, found.skipped, found.cursor, found.next_at) == ((), (), NOW, NOW + timedelta(hours=1))


def test_the_end_of_a_schedule_has_no_next_time() -> None:
    ending = RRule("DTSTART:20260302T080000\nRRULE:FREQ=HOURLY;COUNT=2")
    found = due(ending, NOW - timedelta(hours=3), NOW, CatchUp("all"), None)
    assert at(found) == ["08:00", "09:00"]
    assert (found.cursor, found.next_at) == (NOW, None)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        pytest.param(SECONDLY, NOW - timedelta(seconds=1), id="dense"),
        pytest.param(Cron("* * * * * *", end=LONG_OVER), LONG_OVER, id="dense, long over"),
        pytest.param(Cron("0 0 29 2 1"), datetime(2026, 2, 23, tzinfo=UTC), id="29th or a Monday in February"),
        pytest.param(Cron("0 0 29 2 *"), datetime(2024, 2, 29, tzinfo=UTC), id="rare"),
        pytest.param(Cron("0 0 1 1 *", start=datetime(2027, 1, 1, tzinfo=UTC)), None, id="none yet"),
    ],
)
def test_the_occurrence_before(schedule: Timetable, expected: datetime | None) -> None:
    assert previous_occurrence(schedule, NOW) == expected


SCHEDULES: list[Timetable] = [
    HOURLY,
    Interval(timedelta(seconds=47)),
    Cron("*/5 8 * * *", timezone="Europe/Berlin"),
    Cron("30 2 * * *", timezone="Europe/Berlin"),
    RRule("DTSTART:20260101T000000\nRRULE:FREQ=MINUTELY;INTERVAL=13;COUNT=4000"),
    Interval(timedelta(days=1), timezone="America/New_York"),
]
POLICIES = st.builds(
    CatchUp,
    st.sampled_from(["all", "latest", "none"]),
    st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=2)),
)
SPANS = st.timedeltas(timedelta(0), timedelta(days=3))


@given(st.sampled_from(SCHEDULES), SPANS, st.lists(SPANS, max_size=4), POLICIES)
@settings(max_examples=80)
def test_every_occurrence_is_sent_once_or_skipped_once(
    schedule: Timetable, begin: timedelta, turns: list[timedelta], policy: CatchUp
) -> None:
    cursor = start = datetime(2026, 3, 28, 12, tzinfo=UTC) + begin
    previous: datetime | None = None
    sent: list[datetime] = []
    skipped = 0
    now = start
    for turn in turns:
        now += turn
        while True:
            found = due(schedule, cursor, now, policy, previous)
            sent += [tick.at for tick in found.ticks]
            skipped += sum(skip.count for skip in found.skipped)
            cursor, previous = found.cursor, found.previous
            if found.next_at is None or found.next_at > now:
                break
    expected = list(schedule.occurrences(start, now))
    assert sent == sorted(set(sent))
    assert set(sent) <= set(expected)
    assert len(sent) + skipped == len(expected)
    if policy == CatchUp("all"):
        assert sent == expected


@given(st.sampled_from(SCHEDULES), SPANS, SPANS)
@settings(max_examples=100)
def test_the_last_occurrence_is_the_last(schedule: Timetable, begin: timedelta, span: timedelta) -> None:
    after = datetime(2026, 3, 28, 12, tzinfo=UTC) + begin
    expected = list(schedule.occurrences(after, after + span))
    assert last_occurrence(schedule, after, after + span) == (expected[-1] if expected else None)

"""Intervals: number k is a closed form of k, whole days on the wall clock, the rest elapsed."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.events.errors import Invalid
from tocsin.triggers.interval import Interval

NINE = datetime(2026, 1, 5, 9)  # noqa: DTZ001


def test_nine_in_new_york_stays_nine_in_summer() -> None:
    schedule = Interval(timedelta(days=1), anchor=NINE, timezone="America/New_York")
    july = datetime(2026, 7, 1, tzinfo=UTC)
    assert [schedule.wall(at).hour for at in islice(schedule.occurrences(july), 3)] == [9, 9, 9]
    week = Interval(timedelta(weeks=2), anchor=NINE, timezone="America/New_York")
    assert [f"{week.wall(at):%a %H}" for at in islice(week.occurrences(july), 2)] == ["Mon 09", "Mon 09"]


def test_hours_are_elapsed_time() -> None:
    schedule = Interval(timedelta(hours=12), anchor=NINE, timezone="America/New_York")
    found = schedule.occurrences(datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC))
    assert [f"{schedule.wall(at):%d %H}" for at in found] == ["07 21", "08 10"]


def test_a_mixed_interval_goes_by_days_and_then_by_time() -> None:
    schedule = Interval(timedelta(days=1, hours=6), anchor=NINE, timezone="America/New_York")
    assert schedule.at(4) == datetime(2026, 1, 10, 14, tzinfo=UTC)
    assert schedule.wall(schedule.at(80)) == datetime(2026, 4, 15, 10 + 480 % 24 - 1)  # noqa: DTZ001
    assert next(schedule.occurrences(schedule.at(79))) == schedule.at(80)


def test_without_an_anchor_steps_count_from_a_monday() -> None:
    weekly = Interval(timedelta(weeks=1), timezone="Europe/Berlin")
    assert f"{weekly.wall(next(weekly.occurrences(datetime(2026, 3, 5, tzinfo=UTC)))):%a %H:%M}" == "Mon 00:00"


def test_an_anchor_is_a_phase_and_start_a_bound() -> None:
    schedule = Interval(timedelta(minutes=7), anchor=datetime(2030, 1, 1, 0, 3, tzinfo=UTC))
    found = next(schedule.occurrences(datetime(2026, 3, 1, tzinfo=UTC)))
    assert (schedule.at(0) - found) % timedelta(minutes=7) == timedelta(0)
    later = Interval(timedelta(minutes=7), start=datetime(2026, 3, 1, tzinfo=UTC))
    assert next(later.occurrences(datetime(2000, 1, 1, tzinfo=UTC))) >= datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "said"),
    [
        (timedelta(0), "not between one second and"),
        (timedelta(seconds=-5), "not between one second and"),
        (timedelta(milliseconds=999), "not between one second and"),
        (timedelta(days=40_000), "not between one second and"),
        (60, "60 is no timedelta"),
    ],
)
def test_a_bad_interval_is_refused(every: timedelta, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        Interval(every)


SPANS = st.one_of(
    st.timedeltas(timedelta(minutes=20), timedelta(days=3)).map(
        lambda span: timedelta(seconds=span // timedelta(0, 1))
    ),
    st.integers(1, 40).map(lambda days: timedelta(days=days)),
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"])
MOMENTS = st.datetimes(datetime(2009, 1, 1), datetime(2014, 1, 1))  # noqa: DTZ001


@given(SPANS, MOMENTS, ZONES, MOMENTS)
@settings(max_examples=150)
def test_occurrences_are_all_k_in_order_however_far_from_the_anchor(
    every: timedelta, anchor: datetime, zone: str, moment: datetime
) -> None:
    schedule = Interval(every, anchor=anchor, timezone=zone)
    after = moment.replace(tzinfo=UTC)
    before = after + 20 * every
    middle = (after - schedule.at(0)) // every
    brute = {schedule.at(k) for k in range(middle - 10, middle + 35)}
    assert list(schedule.occurrences(after, before)) == sorted(at for at in brute if after < at <= before)

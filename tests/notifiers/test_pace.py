"""A receiver's pace: never more than its rate in any minute, and no slower than it has to be."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.notifiers.pace import Rate, rate_for, turn

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(seconds=60)


def sent(rate: Rate, asks: list[tuple[float, int]]) -> list[datetime]:
    """When messages went out: at each ask (seconds after the one before, how many) as many as may go."""
    free: datetime | None = None
    now, gone = NOW, list[datetime]()
    for pause, wanted in asks:
        now += timedelta(seconds=pause)
        step = turn(rate, free, now, wanted)
        assert step.count <= wanted
        free = step.free
        gone += [now] * step.count
    return gone


@given(
    st.integers(1, 300).flatmap(lambda per_minute: st.tuples(st.just(per_minute), st.integers(1, per_minute))),
    st.lists(st.tuples(st.floats(0, 20), st.integers(0, 50)), max_size=30),
)
def test_no_minute_has_more_than_the_rate(sizes: tuple[int, int], asks: list[tuple[float, int]]) -> None:
    per_minute, burst = sizes
    gone = sent(Rate(per_minute, burst), asks)
    for first in gone:
        assert sum(first <= other < first + MINUTE for other in gone) <= max(per_minute, burst)


@given(st.integers(2, 300), st.integers(1, 20), st.lists(st.floats(0, 90), min_size=1, max_size=20))
def test_a_receiver_that_was_left_alone_is_told_at_once(per_minute: int, burst: int, pauses: list[float]) -> None:
    rate = Rate(per_minute, min(burst, per_minute - 1))
    free: datetime | None = None
    now = NOW
    for pause in pauses:
        now += timedelta(seconds=pause)
        free = turn(rate, free, now, 1).free
    step = turn(rate, free, max(free or now, now), 1)
    assert step.count == 1


def test_a_storm_drains_at_the_rate() -> None:
    rate = Rate(per_minute=60, burst=4)
    gone = sent(rate, [(0.0, 1_000), *[(0.1, 1_000)] * 3_000])
    first_minute = [instant for instant in gone if instant < NOW + MINUTE]
    assert 58 <= len(first_minute) <= 60
    assert 270 <= len(gone) <= 284  # five minutes, asked ten times a second
    assert gone[:5].count(NOW) == 4


@pytest.mark.parametrize(
    ("own", "per_minute", "expected"),
    [
        pytest.param(None, None, None, id="no limit"),
        pytest.param(Rate(60, 4), None, Rate(60, 4), id="the kind's own"),
        pytest.param(None, 120, Rate(120, 20), id="PagerDuty's"),
        pytest.param(Rate(60, 4), 3, Rate(3, 1), id="the block's goes before it"),
        pytest.param(Rate(60, 4), "much", Rate(60, 4), id="what is no number"),
    ],
)
def test_a_block_may_have_a_rate_of_its_own(own: Rate | None, per_minute: object, expected: Rate | None) -> None:
    assert rate_for(own, per_minute) == expected

"""The broker's time is never taken for later than it is, whatever its clock and ours say."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events.brokertime import FRESH, MARGIN, MS, SKEW, BrokerTime

S = 1_000_000
BASE = 1_790_000_000 * S


@dataclass
class Broker:
    """A broker whose clock is `ahead` of ours."""

    ahead: int
    node: int = 0

    def answers(self, times: BrokerTime, asked: int, there: int, back: int) -> int:
        """It stamps what it is sent; when we know."""
        times.note(self.node, asked, asked + there + back, self.at(asked + there) // MS * MS)
        return asked + there + back

    def at(self, ours: int) -> int:
        return ours + self.ahead


trips = st.integers(0, 300_000)


@given(
    st.integers(BASE - 10 * S, BASE + 10 * S),
    st.lists(st.tuples(trips, trips, st.integers(0, 3 * S)), min_size=1, max_size=30),
)
def test_it_is_never_ahead_of_the_broker(ahead: int, turns: list[tuple[int, int, int]]) -> None:
    times, broker, now = BrokerTime(), Broker(ahead), 0
    for there, back, pause in turns:
        now = broker.answers(times, now, there, back) + pause
        reached = times.reached([0], now)[0]
        assert reached < broker.at(now) // MS * MS - MARGIN + MS
        assert broker.at(now) - reached <= 2 * (there + back) + pause // 1000 + MARGIN + 2 * MS + 2 * 600_000


@pytest.mark.parametrize("skew", [-5 * S, 0, 5 * S])
def test_a_quick_answer_tells_it_to_the_millisecond(skew: int) -> None:
    times, broker = BrokerTime(), Broker(BASE + skew)
    now = broker.answers(times, 0, 1 * MS, 1 * MS)
    assert 0 < broker.at(now) - times.reached([0], now)[0] <= MARGIN + 5 * MS


def test_a_clock_that_is_set_back_costs_a_second_for_a_while() -> None:
    times, before, after = BrokerTime(), Broker(BASE), Broker(BASE - 5 * S)
    now = before.answers(times, 0, MS, MS)
    now = after.answers(times, now, MS, MS)
    late = after.at(now) - times.reached([0], now)[0]
    assert SKEW < late < SKEW + 20 * MS
    now += FRESH
    now = after.answers(times, now, MS, MS)
    assert 0 < after.at(now) - times.reached([0], now)[0] < 20 * MS


def test_a_clock_that_is_set_forward_is_followed() -> None:
    times, before, after = BrokerTime(), Broker(BASE), Broker(BASE + 5 * S)
    now = after.answers(times, before.answers(times, 0, MS, MS), MS, MS)
    assert 0 < after.at(now) - times.reached([0], now)[0] < 20 * MS


def test_nothing_is_known_before_an_answer_and_long_after_one() -> None:
    times = BrokerTime()
    assert (times.reached([0], 0), times.stamps) == ({}, True)
    now = Broker(BASE).answers(times, 0, MS, MS)
    assert times.reached([0], now + FRESH - 1)
    assert times.reached([0], now + FRESH + 1) == {}
    times.note(0, 0, 1, None)
    assert not times.stamps


def test_each_broker_has_a_clock_of_its_own_and_an_unknown_one_the_last_of_them() -> None:
    times, first, second = BrokerTime(), Broker(BASE, 1), Broker(BASE - 3 * S, 2)
    now = second.answers(times, first.answers(times, 0, MS, MS), MS, MS)
    reached = times.reached([1, 2, 3], now)
    assert 0 < first.at(now) - reached[1] < 20 * MS
    assert 0 < second.at(now) - reached[2] < 20 * MS
    assert SKEW < second.at(now) - reached[3] < SKEW + 20 * MS


def test_a_write_that_is_under_way_is_not_reached_however_long_it_takes() -> None:
    times, broker = BrokerTime(), Broker(BASE)
    sent = broker.answers(times, 0, MS, MS)
    with times.writing(0, sent), times.writing(0, sent + MS):
        reached = times.reached([0], sent + S, times.unanswered())
        assert broker.at(sent) - 20 * MS < reached[0] < broker.at(sent)
    assert times.unanswered() == {}
    assert times.reached([0], sent + S, times.unanswered())[0] > broker.at(sent)

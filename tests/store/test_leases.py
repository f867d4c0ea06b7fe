"""Leases and positions: one holder at a time, and nobody moves a group that has moved on."""

from datetime import timedelta

import pytest

from tocsin.events.bus import Record
from tocsin.events.clock import ManualClock
from tocsin.store import leases, positions
from tocsin.store.engine import Store

TTL = timedelta(seconds=10)


def test_a_lease_has_one_holder_until_it_is_over(store: Store, clock: ManualClock) -> None:
    with store.begin() as session:
        mine = leases.acquire(session, "relay", "me", clock.now(), TTL)
        assert mine is not None
        assert leases.acquire(session, "relay", "you", clock.now(), TTL) is None
        yours = leases.acquire(session, "relay", "you", clock.advance(TTL), TTL)
        assert yours is not None
        assert yours.fence == mine.fence + 1
        assert leases.renew(session, mine, clock.now(), TTL) is None


def test_a_holder_renews_without_a_change_of_hands(store: Store, clock: ManualClock) -> None:
    with store.begin() as session:
        first = leases.acquire(session, "relay", "me", clock.now(), TTL)
        again = leases.acquire(session, "relay", "me", clock.advance(TTL / 2), TTL)
        assert first is not None
        assert again is not None
        assert again.fence == first.fence
        assert leases.renew(session, again, clock.now(), TTL) is not None
        assert leases.acquire(session, "relay", "you", clock.advance(TTL / 2), TTL) is None


def test_a_released_lease_is_free_at_once_and_its_fence_goes_on(store: Store, clock: ManualClock) -> None:
    with store.begin() as session:
        mine = leases.acquire(session, "relay", "me", clock.now(), TTL)
        assert mine is not None
        leases.release(session, mine)
        yours = leases.acquire(session, "relay", "you", clock.now(), TTL)
        assert yours is not None
        assert yours.fence > mine.fence


def records(*offsets: int, partition: int = 0) -> list[Record]:
    return [Record("t", "k", b"", "s", partition, offset) for offset in offsets]


@pytest.mark.parametrize(
    ("before", "batch", "moved", "after"),
    [
        pytest.param([], records(0, 1), True, 2, id="the first batch"),
        pytest.param([], records(7), True, 8, id="a first batch behind a dropped beginning"),
        pytest.param(records(0, 1), records(2, 3), True, 4, id="the next batch"),
        pytest.param(records(0, 1), records(5), True, 6, id="a batch behind a gap"),
        pytest.param(records(0, 1), records(1, 2), False, 2, id="a batch of which somebody has handled a part"),
        pytest.param(records(0, 5), records(2), False, 6, id="a zombie's old batch"),
    ],
)
def test_a_group_moves_only_from_where_it_stands(
    store: Store, before: list[Record], batch: list[Record], moved: bool, after: int
) -> None:
    with store.begin() as session:
        assert not before or positions.advance(session, "g", before)
        assert positions.advance(session, "g", batch) is moved
        assert positions.offsets(session, "g") == {("s", 0): after}


def test_partitions_and_groups_have_positions_of_their_own(store: Store) -> None:
    with store.begin() as session:
        assert positions.advance(session, "g", [*records(3, partition=1), *records(0)])
        assert positions.advance(session, "h", records(8))
        assert positions.offsets(session, "g") == {("s", 0): 1, ("s", 1): 4}
        assert positions.offsets(session, "h") == {("s", 0): 9}

"""What a member holds, and when it may commit it."""

import asyncio
from datetime import timedelta

import pytest

from tocsin.events.bus import Record
from tocsin.events.holdings import Holdings, Membership

PLACE = ("events", 3)


def record(offset: int, partition: int = 3) -> Record:
    return Record("events", "key", b"", "events", partition, offset)


def holding(*offsets: int) -> Holdings:
    holdings = Holdings()
    for offset in offsets:
        holdings.hand_out(PLACE, offset)
    return holdings


@pytest.mark.parametrize(
    ("handed_out", "committed", "records", "expected"),
    [
        pytest.param([5, 6, 7], None, [5, 6], ({PLACE: 7}, True), id="past the last of the records"),
        pytest.param([5, 6, 7], None, [7, 5], ({PLACE: 8}, True), id="whatever their order"),
        pytest.param([5, 6, 7], 7, [5], ({}, True), id="never back"),
        pytest.param([5, 9], None, [9], ({PLACE: 10}, True), id="over a hole in the offsets"),
        pytest.param([5, 6], None, [4], ({}, False), id="a record of an earlier ownership is not ours"),
        pytest.param([5, 6], None, [7], ({}, False), id="a record that was not handed out is not ours"),
        pytest.param([], None, [5], ({}, False), id="nothing is ours before the partitions are dealt"),
        pytest.param([5], None, [], ({}, True), id="no records move nothing"),
    ],
)
def test_a_commit_moves_what_is_held(
    handed_out: list[int], committed: int | None, records: list[int], expected: tuple[dict[tuple[str, int], int], bool]
) -> None:
    holdings = holding(*handed_out)
    if committed is not None:
        holdings.committed({PLACE: committed})
    assert holdings.moves([record(offset) for offset in records]) == expected


def test_partitions_are_told_apart() -> None:
    holdings = holding(5, 6)
    holdings.hand_out(("events", 4), 90)
    assert holdings.moves([record(6), record(90, 4), record(1, 5)]) == ({PLACE: 7, ("events", 4): 91}, False)
    holdings.committed({PLACE: 7})
    assert not holdings.settled
    assert holdings.positions() == {PLACE: 7, ("events", 4): 90}


async def stopped(member: Membership) -> None:
    while member.reading:
        await asyncio.sleep(0)


async def test_a_member_hands_over_when_all_is_committed() -> None:
    member = Membership(timedelta(minutes=5))
    member.dealt()
    member.holdings.hand_out(PLACE, 5)
    handover = asyncio.create_task(member.revoked())
    await stopped(member)
    assert not handover.done()
    member.committed({PLACE: 6})
    await asyncio.wait_for(handover, 60)
    assert member.holdings.moves([record(5)]) == ({}, False)


@pytest.mark.parametrize("how", ["time is over", "it leaves"])
async def test_a_member_that_does_not_commit_loses_what_it_holds(how: str) -> None:
    member = Membership(timedelta(milliseconds=20 if how == "time is over" else 300_000))
    member.dealt()
    member.holdings.hand_out(PLACE, 5)
    handover = asyncio.create_task(member.revoked())
    if how == "it leaves":
        await stopped(member)
        member.left()
    await asyncio.wait_for(handover, 60)
    assert member.holdings.positions() == {}

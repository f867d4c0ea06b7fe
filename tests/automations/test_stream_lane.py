"""The owner of a partition on a broker: it takes over what the last one left, and gives way to the next."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.automations.parts import define, happened, rule
from tests.automations.stream_parts import until
from tocsin.automations import stream_shard
from tocsin.automations.stream_decisions import decisions
from tocsin.automations.stream_pack import clock_pack
from tocsin.automations.stream_route import routed
from tocsin.automations.stream_shard import Shard
from tocsin.events.bus import Record
from tocsin.events.clock import SystemClock
from tocsin.events.codec import encode
from tocsin.events.errors import Conflict
from tocsin.events.topics import EVENTS, SIGNALS
from tocsin.store.engine import Store

if TYPE_CHECKING:
    from tocsin.automations.stream_lane import Arrived, Lane, Room
    from tocsin.automations.stream_lanes import Lanes
    from tocsin.events.kafka import KafkaBus


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'lane.db'}")
    define(opened, rule("counted", trigger={"expect": ["x"], "threshold": 3, "within": 1000}))
    yield opened
    opened.close()


@pytest.fixture
async def room(store: Store, kafka_bus: "KafkaBus") -> "Room":
    """One partition, whose clock no source makes."""
    from tocsin.automations.stream_lane import Room
    from tocsin.automations.stream_rules import Rulebook

    rulebook = Rulebook(store)
    await rulebook.refresh()
    return Room.of(kafka_bus, rulebook, SystemClock(), ["nobody"], 1)


def lane(room: "Room") -> "Lane":
    from tocsin.automations.stream_lane import Lane

    return Lane(room, Shard(0))


def arrived(room: "Room", number: int) -> "Arrived":
    """The pack with the `number`-th event, at that offset."""
    from tocsin.automations.stream_lane import Arrived

    record = Record(EVENTS, "", encode(happened("x", number=number + 1, at=number)), "s", 0, number, number)
    [[body]] = routed(room.rulebook.rules, 1, [record], SystemClock().now()).packs.values()
    return Arrived(number, body, lambda: None)


async def take(one: "Lane", *given: "Arrived") -> None:
    for each in given:
        await one.put(each)
        await one.turn()


async def fired(room: "Room") -> list[int]:
    """The events at which it has fired, by the decisions published."""
    found = [one async for batch in room.decisions.read(0) for one in batch]
    return [one.firing.event.id.int for each in found for one in decisions(each.body).firings if one.firing.event]


async def test_an_owner_gives_way_to_the_next_at_its_first_word(room: "Room") -> None:
    first, second = lane(room), lane(room)
    await first.recover()
    await take(first, arrived(room, 0), arrived(room, 1))
    await second.recover()
    with pytest.raises(Conflict, match="partition 0 of the signals has another owner"):
        await take(first, arrived(room, 2))
    await take(second, arrived(room, 0), arrived(room, 1), arrived(room, 2))
    assert set(await fired(room)) == {3}
    third = lane(room)
    await third.recover()
    assert dict(third.shard.places()) == dict(second.shard.places())
    assert third.shard.sources == {"tocsin.events/0": (3, 2)}


async def test_the_changelog_is_cut_and_a_new_owner_knows_all_the_same(
    room: "Room", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_shard, "ROLL_BYTES", 1)
    monkeypatch.setattr(stream_shard, "BUCKETS", 2)
    first = lane(room)
    await first.recover()
    for number in range(8):
        await take(first, arrived(room, number))
    (start, _) = (await room.changelog.bounds([0]))[0]
    assert start > 0, "nothing was cut"
    second = lane(room)
    await second.recover()
    assert dict(second.shard.places()) == dict(first.shard.places())
    await take(second, arrived(room, 8))
    assert await fired(room) == [3, 6, 9]


async def test_a_partition_that_stands_still_is_noticed(
    room: "Room", kafka_bus: "KafkaBus", monkeypatch: pytest.MonkeyPatch
) -> None:
    from tocsin.automations import stream_lanes

    lanes = stream_lanes.Lanes(room)
    lanes.dealt({0})
    await until(lambda: lanes.settled)
    assert (await lanes.figures()).lag == 0
    await kafka_bus.place(SIGNALS, {0: [clock_pack({})]})  # and nobody hands it on
    assert (await lanes.figures()).lag == 1
    monkeypatch.setattr(stream_lanes, "STALL_S", 0.0)
    with pytest.raises(stream_lanes.Stalled, match="partition 0 of the signals has stood still"):
        await lanes.figures()
    await lanes.close()


async def test_a_lane_that_is_revoked_lets_go_who_waits(room: "Room") -> None:
    from tocsin.automations import stream_lanes

    lanes = stream_lanes.Lanes(room)
    lanes.dealt({0})
    given = [arrived(room, 0)] * 100
    handing = asyncio.create_task(_hand(lanes, given))
    await asyncio.sleep(0)
    lanes.revoked()
    async with asyncio.timeout(60):
        await handing
    await lanes.close()


async def _hand(lanes: "Lanes", given: "list[Arrived]") -> None:
    for one in given:
        await lanes.put(0, one)

"""Single partitions of a topic, on a broker: written to, read, measured, cut."""

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.kafka.broker import ApacheBroker
from tocsin.events.bus import Message, Record
from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.lanes import End
from tocsin.events.topics import CHANGELOG, EVENTS

if TYPE_CHECKING:
    from tocsin.events.kafka import KafkaBus
    from tocsin.events.partitions import Partitions


@pytest.fixture
def changelog(kafka_bus: "KafkaBus") -> "Partitions":
    from tocsin.events.partitions import Partitions

    return Partitions(kafka_bus, CHANGELOG)


async def all_of(partitions: "Partitions", number: int, start: int = 0) -> list[bytes]:
    return [record.body async for batch in partitions.read(number, start) for record in batch]


async def test_what_is_written_to_a_partition_is_read_there_in_its_order(changelog: "Partitions") -> None:
    bodies = [b"%d" % number * 60_000 for number in range(9)]
    assert await changelog.write({3: bodies, 5: [b"alone"], 6: []}) == {3: 8, 5: 0}
    assert await all_of(changelog, 3) == bodies
    assert await all_of(changelog, 3, 7) == bodies[7:]
    assert await all_of(changelog, 5) == [b"alone"]
    assert await all_of(changelog, 0) == []
    assert await changelog.bounds([0, 3, 5]) == {0: (0, 0), 3: (0, 9), 5: (0, 1)}


async def test_a_body_that_is_too_large_is_refused_and_nothing_is_written(changelog: "Partitions") -> None:
    with pytest.raises(BadEvent, match="Kafka takes"):
        await changelog.write({0: [b"small", bytes(3_000_000)]})
    assert await changelog.bounds([0]) == {0: (0, 0)}


async def test_a_topic_that_is_not_there_has_no_width(kafka_bus: "KafkaBus", changelog: "Partitions") -> None:
    from tocsin.events.partitions import Partitions

    assert await changelog.width() == 8
    with pytest.raises(Invalid, match="nowhere does not exist"):
        await Partitions(kafka_bus, "nowhere").width()


async def test_what_is_cut_off_is_gone(apache_kafka: ApacheBroker, topic_prefix: str) -> None:
    from tocsin.events.kafka import KafkaBus
    from tocsin.events.partitions import Partitions

    bus = KafkaBus(apache_kafka.address, topic_prefix=topic_prefix)
    await bus.prepare()
    changelog = Partitions(bus, CHANGELOG)
    await changelog.write({1: [b"a", b"b", b"c"]})
    await changelog.cut(1, 2)
    assert await changelog.bounds([1]) == {1: (2, 3)}
    assert await all_of(changelog, 1) == [b"c"]
    assert await changelog.write({1: [b"d"]}) == {1: 3}
    await bus.close()


async def test_a_member_that_has_read_all_says_when_it_knew(kafka_bus: "KafkaBus") -> None:
    await kafka_bus.publish([Message(EVENTS, "k", b"x")])
    async with kafka_bus.subscribe("g", [EVENTS]) as member:
        assert await member.ends() == []
        records: list[Record] = []
        while not records:
            records, found = await member.fetch(), await member.ends()
        [record] = records
        while not any(one.partition == record.partition and one.at >= record.received for one in found):
            await kafka_bus.publish([Message(EVENTS, "other", b"x")])
            await member.fetch(wait=timedelta(milliseconds=20))
            found = await member.ends()
    [end] = [one for one in found if one.partition == record.partition]
    assert (end.topic, end.stream, end.offset) == (EVENTS, record.stream, 1)


@pytest.mark.parametrize("skew_s", [-5, 0, 5])
async def test_what_came_by_an_instant_lies_before_the_end_told_for_it(
    kafka_bus: "KafkaBus", monkeypatch: pytest.MonkeyPatch, skew_s: int
) -> None:
    """However wrong our wall clock is: no record that the broker stamped up to then lies at the end or behind it."""
    wall, wall_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: wall() + skew_s)
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + skew_s * 1_000_000_000)
    stop, records, ends = asyncio.Event(), list[Record](), list[End]()

    async def publish() -> None:
        for number in range(400):
            await kafka_bus.publish([Message(EVENTS, f"k{number % 3}", b"x")])
        stop.set()

    async with kafka_bus.subscribe("g", [EVENTS]) as member, asyncio.TaskGroup() as group:
        group.create_task(publish())
        while not stop.is_set() or len(records) < 400:
            records += await member.fetch(wait=timedelta(milliseconds=2))
            ends += [end for end in await member.ends() if end.at]
    assert len({end.at for end in ends}) > 10
    assert min(records[-1].received - end.at for end in ends[-8:]) < 1_000_000
    for end in ends:
        for one in records:
            assert one.partition != end.partition or one.offset < end.offset or one.received > end.at

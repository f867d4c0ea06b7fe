"""Single partitions of a topic, on a broker: written to, read, measured, cut."""

from typing import TYPE_CHECKING

import pytest

from tests.kafka.broker import ApacheBroker
from tocsin.events.bus import Message, Record
from tocsin.events.errors import BadEvent, Invalid
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
            records = await member.fetch()
        while len(found := await member.ends()) < 8:
            await member.fetch()
    [record] = records
    [end] = [one for one in found if one.partition == record.partition]
    assert (end.topic, end.stream, end.offset) == (EVENTS, record.stream, 1)
    assert end.at >= record.received

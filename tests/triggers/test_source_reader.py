"""Sources on Kafka: each message once, in order, whatever dies; a poison message stops nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from tocsin.events import cloudevents, codec
from tocsin.events.bus import Record
from tocsin.events.errors import Invalid
from tocsin.events.kafka import KafkaBus
from tocsin.events.model import Event
from tocsin.events.topics import DEAD_LETTERS, EXTERNAL
from tocsin.store import positions
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers import source_store
from tocsin.triggers.mapping import Mapping
from tocsin.triggers.source import KafkaSource
from tocsin.triggers.source_reader import SourceReader
from tocsin.triggers.sources import Sources

LONG = timedelta(seconds=30)
MAPPING = Mapping(event="'orders.paid'", resource="body.id", payload="body")
FULL = "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'disk full'); END"
LATER = Mapping(event="'orders.later'", resource="body.id", payload="body")


@pytest.fixture
def store(sqlite_url: str) -> Any:
    opened = Store.open(sqlite_url, create=True)
    yield opened
    opened.close()


@pytest.fixture
async def topic(kafka: str, topic_prefix: str) -> str:
    await make(kafka, f"{topic_prefix}shop")
    return f"{topic_prefix}shop"


@pytest.fixture
async def outside(kafka: str) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(kafka, heartbeat=timedelta(milliseconds=200), session_timeout=LONG, handover=LONG)
    yield bus
    await bus.close()


async def make(address: str, name: str, partitions: int = 2) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1)])
    await admin.close()


async def known(bus: KafkaBus, *topics: str) -> None:
    """Wait until the broker says that the topics are there."""
    plain = KafkaBus(bus.address)
    for topic in topics:
        async with asyncio.timeout(60):
            while True:
                try:
                    await plain.width(topic)
                    break
                except Invalid:
                    continue
    await plain.close()


async def send(address: str, topic: str, bodies: list[bytes], headers: list[tuple[str, bytes]] | None = None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address)
    await producer.start()
    for index, body in enumerate(bodies):
        await producer.send(topic, body, partition=index % 2, headers=headers)
    await producer.stop()


def orders(first: int, last: int) -> list[bytes]:
    return [json.dumps({"id": f"order-{number}", "n": number}).encode() for number in range(first, last)]


def events(store: Store) -> list[Event]:
    with store.read() as session:
        rows = session.exec(select(LogEntry).where(LogEntry.topic == EXTERNAL).order_by(LogEntry.seq))  # type: ignore[arg-type]
        return [codec.decode(row.body) for row in rows]


def numbers(store: Store) -> list[int]:
    return sorted(event.payload["n"] for event in events(store))


async def read(reader: SourceReader, outside: KafkaBus, source: KafkaSource, count: int) -> None:
    async with asyncio.timeout(60), outside.subscribe(f"g.{source.topic}", (source.topic,)) as member:
        while count > 0:
            count -= await reader.turn(member, LONG)


async def letters(bus: KafkaBus, count: int) -> list[dict[str, Any]]:
    found: list[Record] = []
    async with asyncio.timeout(60), bus.subscribe("letters", (DEAD_LETTERS,)) as member:
        while len(found) < count:
            found += await member.fetch(wait=LONG)
    return [json.loads(record.body) for record in found]


async def test_a_poison_message_stops_no_partition(
    store: Store, kafka: str, kafka_bus: KafkaBus, outside: KafkaBus, topic: str
) -> None:
    """In the middle of each partition: no JSON, no order, our own name; the rest is there, and each has its letter."""
    poison = [b"{", b"[]", b'{"id": "x", "n": "\\u0000"}', b"\xff", b"null", b'{"id": 1, "id": 2}']
    await send(kafka, topic, [*orders(0, 10), *poison, *orders(10, 20)])
    source = KafkaSource(name="shop", topic=topic, mapping=MAPPING)
    reader = SourceReader(source, store, kafka_bus, outside)
    await read(reader, outside, source, 26)
    assert numbers(store) == list(range(20))
    found = await letters(kafka_bus, len(poison))
    assert len(found) == len(poison) == reader.buried
    assert all(letter["reason"].startswith("source shop: ") and letter["topic"] == topic for letter in found)


async def test_in_the_order_of_its_partition(store: Store, kafka: str, outside: KafkaBus, topic: str) -> None:
    await send(kafka, topic, orders(0, 200))
    source = KafkaSource(name="shop", topic=topic, mapping=MAPPING)
    await read(SourceReader(source, store, outside, outside), outside, source, 200)
    found = [event.payload["n"] for event in events(store)]
    assert [n for n in found if n % 2 == 0] == list(range(0, 200, 2))
    assert [n for n in found if n % 2 == 1] == list(range(1, 200, 2))


async def test_what_kafka_gives_again_is_not_taken_again(
    store: Store, kafka: str, outside: KafkaBus, topic: str
) -> None:
    """A reader that dies between its transaction and Kafka's commit: the position in the database decides."""
    await send(kafka, topic, orders(0, 20))
    source = KafkaSource(name="shop", topic=topic, mapping=MAPPING)
    for group in ("first", "second"):  # to the second group Kafka gives all of it once more
        reader = SourceReader(source.model_copy(update={"group": topic + group}), store, outside, outside)
        async with asyncio.timeout(60), outside.subscribe(topic + group, (topic,)) as member:
            count = 20
            while count > 0:
                count -= await reader.turn(member, LONG)
    assert numbers(store) == list(range(20))


async def test_nothing_is_kept_of_a_batch_that_fails_in_the_database(
    store: Store, kafka: str, outside: KafkaBus, topic: str
) -> None:
    """Events and position stand in one transaction: when it fails, both are as they were."""
    await send(kafka, topic, orders(0, 4))
    source = KafkaSource(name="shop", topic=topic, mapping=MAPPING)
    reader = SourceReader(source, store, outside, outside)
    with store.begin() as session:
        session.connection().exec_driver_sql(FULL)
    with pytest.raises(IntegrityError, match="disk full"):
        await read(reader, outside, source, 4)
    with store.begin() as session:
        assert positions.offsets(session, source.consumer) == {}
        session.connection().exec_driver_sql("DROP TRIGGER full")
    await read(reader, outside, source, 4)
    assert numbers(store) == [0, 1, 2, 3]


async def test_a_topic_made_anew_is_read_from_its_start(
    store: Store, kafka: str, outside: KafkaBus, topic: str
) -> None:
    await send(kafka, topic, orders(0, 20))
    source = KafkaSource(name="shop", topic=topic, mapping=MAPPING)
    with store.begin() as session:  # as after twenty thousand messages of the topic that was there before
        old = [Record(topic, "", b"", f"{await outside.cluster()}/{topic}", number, 9_999) for number in (0, 1)]
        assert positions.advance(session, source.consumer, old)
    await read(SourceReader(source, store, outside, outside), outside, source, 20)
    assert numbers(store) == list(range(20))


async def test_a_header_without_a_value_is_empty(store: Store, kafka: str, outside: KafkaBus, topic: str) -> None:
    """Kafka lets a header have none; the message is none the worse for it."""
    await send(kafka, topic, orders(0, 2), [("trace", None)])  # type: ignore[list-item]
    source = KafkaSource(name="shop", topic=topic, mapping=MAPPING)
    await read(SourceReader(source, store, outside, outside), outside, source, 2)
    assert numbers(store) == [0, 1]


async def test_cloudevents_in_both_modes(store: Store, kafka: str, outside: KafkaBus, topic: str) -> None:
    now = datetime.now(UTC)
    sent = [Event(event="orders.paid", resource={"tocsin.resource.id": str(n)}, occurred=now) for n in range(2)]
    for event, mode in zip(sent, ("structured", "binary"), strict=True):
        headers, _, body = cloudevents.to_kafka(event, mode)  # type: ignore[arg-type]
        await send(kafka, topic, [body], headers)
    source = KafkaSource(name="shop", topic=topic, format="cloudevents")
    await read(SourceReader(source, store, outside, outside), outside, source, 2)
    assert events(store) == sent


async def until(store: Store, count: int) -> None:
    async with asyncio.timeout(60):
        with store.watch("log") as watch:
            while len(events(store)) < count:
                await watch.wait(timedelta(seconds=1))


async def test_several_sources_in_one_process_come_and_go(
    store: Store, kafka: str, kafka_bus: KafkaBus, topic: str
) -> None:
    other = f"{topic}.other"
    await make(kafka, other)
    await known(kafka_bus, topic, other)
    first = KafkaSource(name="first", topic=topic, mapping=MAPPING)
    second = KafkaSource(name="second", topic=other, mapping=MAPPING)
    stop = asyncio.Event()
    serving = asyncio.create_task(Sources(store, kafka_bus, address=kafka, group_prefix=f"{topic}.").serve(stop))
    await apply(store, [first, second])
    await send(kafka, topic, orders(0, 4))
    await send(kafka, other, orders(4, 8))
    await until(store, 8)
    await apply(store, [second.model_copy(update={"mapping": LATER})])
    with store.begin() as session:
        source_store.remove(session, "first", datetime.now(UTC))
    count = 8
    async with asyncio.timeout(60):  # what is on its way may still be read as it was
        while not any(event.event == "orders.later" for event in events(store)):
            await send(kafka, other, orders(count, count + 1))
            count += 1
            await until(store, count)
    stop.set()
    async with asyncio.timeout(60):
        await serving
    assert numbers(store) == list(range(count))


async def apply(store: Store, sources: list[KafkaSource]) -> None:
    def put(session: Session) -> None:
        source_store.apply(session, sources, datetime.now(UTC))

    await store.run(put)

"""Events of the log on a topic of the user's: every one, under its id and source, in order, whatever dies."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings import kafka as library
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.kafka.broker import ApacheBroker
from tests.store.relay_program import POINTS
from tocsin.events import cloudevents
from tocsin.events.bus import DeadLetter, Message
from tocsin.events.clock import ManualClock
from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.kafka import KafkaBus
from tocsin.events.memory import MemoryBus
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.events.topics import DEAD_LETTERS, EVENTS, EXTERNAL
from tocsin.store.cloudevents_writer import CloudEventsWriter, Outlet
from tocsin.store.engine import Store
from tocsin.store.log import HEARD, append, publish

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
TOPIC = "shop.alerts"
MODES: list[cloudevents.Mode] = ["structured", "binary"]


class Wire(MemoryBus):
    """Notes what is published, the headers too; refuses a body that holds `poison`."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Message] = []
        self.poison = b"no such thing"

    async def publish(self, messages: Sequence[Message]) -> None:
        if any(self.poison in message.body for message in messages):
            raise BadEvent("too large")
        await super().publish(messages)
        self.sent += messages


def happened(name: str, resource: str = "run.1", number: int = 0) -> Event:
    return Event(event=name, resource={RESOURCE_ID: resource}, payload={"n": number})


def fill(store: Store, events: Sequence[Event], topic: str = EVENTS) -> None:
    with store.begin() as session:
        append(session, events, topic)


@asynccontextmanager
async def serving(writer: CloudEventsWriter) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(writer.serve(stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await task


async def moved(writer: CloudEventsWriter) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await writer.lag():
            await asyncio.sleep(0.001)


def parsed(message: Message) -> BaseCloudEvent:
    """The message as the cloudevents package's own reader takes it."""
    return library.from_kafka(
        library.KafkaMessage(dict(message.headers), message.key.encode(), message.body), JSONFormat(), CloudEvent
    )


WANTED = [
    pytest.param(("tocsin.*",), ["tocsin.flow-run.Failed", "tocsin.schedule.tick"], id="tocsin's own"),
    pytest.param(("tocsin.flow-run.*", "orders.late"), ["tocsin.flow-run.Failed", "orders.late"], id="several names"),
    pytest.param(("*",), ["tocsin.flow-run.Failed", "orders.late", "tocsin.schedule.tick", "heard.it"], id="all"),
    pytest.param(("nothing",), [], id="none"),
]


@pytest.mark.parametrize(("names", "expected"), WANTED)
async def test_events_are_chosen_by_name(
    store: Store, clock: ManualClock, names: tuple[str, ...], expected: list[str]
) -> None:
    fill(store, [happened("tocsin.flow-run.Failed")])
    fill(store, [happened("orders.late")], EXTERNAL)
    with store.begin() as session:
        publish(session, [Message(EXTERNAL, "k", b"no event"), Message(DEAD_LETTERS, "k", b"{}")])
    fill(store, [happened("tocsin.schedule.tick")])
    fill(store, [happened("heard.it")], HEARD)
    wire = Wire()
    writer = CloudEventsWriter(store, wire, MemoryBus(), Outlet(TOPIC, names=names), clock, batch=2)
    async with serving(writer):
        await moved(writer)
    assert [parsed(message).get_type() for message in wire.sent] == expected
    assert {message.topic for message in wire.sent} <= {TOPIC}


@pytest.mark.parametrize("mode", MODES)
async def test_the_packages_reader_takes_what_is_written(
    store: Store, clock: ManualClock, mode: cloudevents.Mode
) -> None:
    event = msgspec.structs.replace(
        happened("tocsin.flow-run.Failed", "run.ü"), related=[{RESOURCE_ID: "f", "tocsin.resource.role": "flow"}]
    )
    fill(store, [event])
    wire = Wire()
    writer = CloudEventsWriter(store, wire, MemoryBus(), Outlet(TOPIC, mode, source="/tocsin/eu"), clock)
    async with serving(writer):
        await moved(writer)
    [message] = wire.sent
    found = parsed(message)
    assert message.key == "run.ü"
    assert (found.get_id(), found.get_source(), found.get_subject()) == (str(event.id), "/tocsin/eu", "run.ü")
    assert (found.get_type(), found.get_time(), found.get_data()) == (event.event, event.occurred, {"n": 0})
    assert ("ce_id" in dict(message.headers)) == (mode == "binary")


async def test_what_the_topic_refuses_harms_only_itself(store: Store, clock: ManualClock) -> None:
    fill(store, [happened("tocsin.x", number=number) for number in range(20)])
    wire, letters = Wire(), MemoryBus()
    writer = CloudEventsWriter(store, wire, letters, Outlet(TOPIC, "binary"), clock)
    wire.poison = b'{"n": 13}'
    async with serving(writer):
        await moved(writer)
    assert [message.body for message in wire.sent] == [b'{"n": %d}' % n for n in range(20) if n != 13]
    async with letters.subscribe("reader", [DEAD_LETTERS]) as member:
        [record] = await member.fetch(wait=timedelta(milliseconds=10))
    letter = msgspec.json.decode(record.body, type=DeadLetter)
    assert (letter.group, letter.offset) == (f"cloudevents/{TOPIC}", 14)


async def test_nothing_is_written_while_it_would_come_back(store: Store, clock: ManualClock) -> None:
    fill(store, [happened("tocsin.x")])
    reasons: list[str | None] = ["a source reads it"]
    told: list[tuple[int, int]] = []
    wire = Wire()
    writer = CloudEventsWriter(
        store,
        wire,
        MemoryBus(),
        Outlet(TOPIC),
        clock,
        blocked=lambda session: reasons[0],
        report=lambda behind, failures: told.append((behind, failures)),
    )
    async with serving(writer):
        async with asyncio.timeout(PATIENCE_S):
            while len(told) < 2:
                await asyncio.sleep(0.001)
        assert (wire.sent, told[:2]) == ([], [(1, 1), (1, 2)])
        reasons[0] = None
        await moved(writer)
    assert (len(wire.sent), told[-1]) == (1, (0, 0))


@pytest.mark.parametrize("topic", ["tocsin.events", "tocsin.external", "eu.tocsin.external"])
def test_a_topic_of_our_own_is_refused(topic: str) -> None:
    with pytest.raises(Invalid, match="name another one"):
        Outlet(topic)


async def test_it_goes_on_where_it_was_and_each_topic_has_its_own_place(store: Store, clock: ManualClock) -> None:
    wire = Wire()
    for outlet in (Outlet("a"), Outlet("a"), Outlet("b")):
        fill(store, [happened("tocsin.x")])
        writer = CloudEventsWriter(store, wire, MemoryBus(), outlet, clock)
        async with serving(writer):
            await moved(writer)
    assert [message.topic for message in wire.sent] == ["a", "a", "b", "b", "b"]


# --- Apache Kafka ---


@asynccontextmanager
async def topic_of(broker: ApacheBroker, name: str) -> AsyncIterator[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    await admin.create_topics([NewTopic(name, 3, 1)])
    yield name
    await admin.delete_topics([name])
    await admin.close()


async def arrived(broker: ApacheBroker, topic: str, until: int) -> list[tuple[int, Message]]:
    """What lies on the topic, each with its partition, once it holds so many different bodies."""
    found: list[tuple[int, Message]] = []
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker.address, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while len({parsed(one).get_id() for _, one in found}) < until:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    found += [(one.partition, _message(one)) for one in records]
        for records in (await consumer.getmany(timeout_ms=300)).values():
            found += [(one.partition, _message(one)) for one in records]
    finally:
        await consumer.stop()
    return found


def _message(one: Any) -> Message:  # Any: aiokafka has no types
    return Message(one.topic, one.key.decode(), one.value, tuple(one.headers))


@pytest.mark.parametrize("mode", MODES)
async def test_our_out_is_our_in_on_kafka_and_comes_once(
    store: Store, apache_kafka: ApacheBroker, topic_prefix: str, mode: cloudevents.Mode
) -> None:
    events = [happened("orders.late", f"order.{n % 7}", n) for n in range(300)]
    fill(store, events, EXTERNAL)
    bus = KafkaBus(apache_kafka.address)
    async with topic_of(apache_kafka, f"{topic_prefix}out.{store.dialect}") as topic:
        writer = CloudEventsWriter(store, bus, MemoryBus(), Outlet(topic, mode, ("orders.*",)), batch=50)
        async with serving(writer):
            await moved(writer)
        found = await arrived(apache_kafka, topic, len(events))
    await bus.close()
    now = datetime.now(UTC)
    back = [cloudevents.from_kafka(message.headers, message.body, now) for _, message in found]
    assert sorted(back, key=lambda event: event.id) == sorted(events, key=lambda event: event.id)
    for key in {event.resource_id for event in events}:
        assert [e for e in back if e.resource_id == key] == [e for e in events if e.resource_id == key]
    with store.begin() as session:
        assert append(session, back, EXTERNAL) == 0, "each is known under its id"


@pytest.mark.faults
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", MODES)
async def test_kill_9_at_any_point_loses_nothing_and_repeats_are_alike(
    store: Store, store_url: str, apache_kafka: ApacheBroker, topic_prefix: str, mode: cloudevents.Mode
) -> None:
    events = [happened("tocsin.flow-run.Failed", f"run.{n % 20}", n) for n in range(600)]
    fill(store, events)
    command = [sys.executable, "-m", "tests.store.cloudevents_program", store_url, apache_kafka.address]
    async with topic_of(apache_kafka, f"{topic_prefix}out.{store.dialect}") as topic:
        for point in (*POINTS, "never"):
            process = await asyncio.create_subprocess_exec(*command, topic, mode, point, cwd=ROOT)
            async with asyncio.timeout(PATIENCE_S):
                assert await process.wait() == (0 if point == "never" else -signal.SIGKILL), point
        found = await arrived(apache_kafka, topic, len(events))
    _lossless(events, found)
    assert 600 < len(found) <= 600 + len(POINTS) * 40, "the batches under way at each death came again"


@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_a_broker_that_is_killed_and_comes_back_gets_everything(
    store: Store, apache_kafka: ApacheBroker, topic_prefix: str
) -> None:
    events = [happened("tocsin.flow-run.Failed", f"run.{n % 20}", n) for n in range(600)]
    bus = KafkaBus(apache_kafka.address)
    async with topic_of(apache_kafka, f"{topic_prefix}out.{store.dialect}") as topic:
        writer = CloudEventsWriter(store, bus, MemoryBus(), Outlet(topic, "binary"), batch=20)
        async with serving(writer):
            fill(store, events[:300])
            await moved(writer)
            await asyncio.to_thread(apache_kafka.stop, "kill")
            fill(store, events[300:])
            await asyncio.to_thread(apache_kafka.start)
            await moved(writer)
        found = await arrived(apache_kafka, topic, len(events))
    await bus.close()
    _lossless(events, found)


def _lossless(events: Sequence[Event], found: Sequence[tuple[int, Message]]) -> None:
    """Everything is there, first arrivals in order, and a repeat says the same as the first."""
    first: dict[str, tuple[str, Message]] = {}
    lanes: dict[str, list[str]] = {}
    for _, message in found:
        one = parsed(message)
        known = first.setdefault(one.get_id(), (one.get_source(), message))
        assert known == (one.get_source(), message)
        lanes.setdefault(message.key, [])
        if known[1] is message:
            lanes[message.key].append(one.get_id())
    wanted: dict[str, list[str]] = {}
    for event in events:
        wanted.setdefault(event.resource_id, []).append(str(event.id))
    assert lanes == wanted

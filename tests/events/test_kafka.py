"""The bus on Kafka: what only Kafka can do wrong."""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.kafka.broker import ApacheBroker, Broker
from tests.ports import free_port
from tocsin.events.bus import Message, Record, Subscription
from tocsin.events.errors import BadEvent, Conflict, Invalid, Unavailable
from tocsin.events.kafka import KafkaBus, partition_of
from tocsin.events.topics import DEAD_LETTERS, EVENTS, EXTERNAL, TOPICS, Topic

LONG = timedelta(seconds=30)
SOON = timedelta(milliseconds=200)


def numbered(count: int, keys: int = 8, start: int = 0) -> list[Message]:
    return [Message(EVENTS, f"key-{n % keys}", str(n).encode()) for n in range(start, start + count)]


def by_key(records: Iterable[Record]) -> dict[str, list[int]]:
    lanes: dict[str, list[int]] = defaultdict(list)
    for record in records:
        lanes[record.key].append(int(record.body))
    return dict(lanes)


async def read(member: Subscription, count: int) -> list[Record]:
    found: list[Record] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await member.fetch(wait=LONG)
    return found


# Any: the bus's own keyword arguments.
def bus_on(broker: Broker, prefix: str, **options: Any) -> KafkaBus:
    return KafkaBus(broker.address, topic_prefix=prefix, idempotent=broker.idempotent, heartbeat=SOON, **options)


@pytest.fixture
async def apache_bus(apache_kafka: ApacheBroker, topic_prefix: str) -> AsyncIterator[KafkaBus]:
    bus = bus_on(apache_kafka, topic_prefix, delivery_timeout=timedelta(seconds=100))
    await bus.prepare()
    yield bus
    await bus.close()


@pytest.fixture
async def hasty_bus(apache_kafka: ApacheBroker, topic_prefix: str) -> AsyncIterator[KafkaBus]:
    bus = bus_on(apache_kafka, topic_prefix, delivery_timeout=2 * SOON, request_timeout=2 * SOON)
    yield bus
    await bus.close()


async def patiently(publish: Callable[[], Awaitable[object]]) -> None:
    """Try until a hasty bus has had its answer in time."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unavailable):
                await publish()
                return


# --- keys ---


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536), ("", 275646681)],
)
def test_a_key_goes_where_other_kafka_clients_send_it(key: str, murmur2: int) -> None:
    """Vectors of Apache Kafka's UtilsTest, so that a producer in Java meets the same partitions."""
    assert partition_of(key, 8) == (murmur2 & 0x7FFF_FFFF) % 8


# --- topics ---


async def test_prepare_makes_our_topics_once(kafka_broker: Broker, topic_prefix: str) -> None:
    bus = bus_on(kafka_broker, topic_prefix)
    await bus.prepare()
    await bus.prepare()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.address)
    await admin.start()
    found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(None)}
    await admin.close()
    ours = {name.removeprefix(topic_prefix): n for name, n in found.items() if name.startswith(topic_prefix)}
    assert ours == {topic.name: topic.partitions for topic in TOPICS}


async def test_prepare_refuses_a_topic_with_too_few_partitions(kafka_broker: Broker, topic_prefix: str) -> None:
    narrow = Topic("orders", "", 2, timedelta(days=1))
    bus = bus_on(kafka_broker, topic_prefix)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.address)
    await admin.start()
    await admin.create_topics([NewTopic(f"{topic_prefix}orders", 1, 1)])
    await admin.close()
    with pytest.raises(Invalid, match=rf"{topic_prefix}orders has 1 partitions, tocsin needs 2.*--alter"):
        await bus.prepare([narrow])


async def test_a_missing_topic_is_named_and_not_made(apache_kafka: ApacheBroker, topic_prefix: str) -> None:
    bus, hasty = bus_on(apache_kafka, topic_prefix), bus_on(apache_kafka, topic_prefix, request_timeout=SOON)
    async with bus.subscribe("g") as member:
        with pytest.raises(Invalid, match=f"{topic_prefix}{EVENTS} does not exist"):
            await member.fetch()
    with pytest.raises(Invalid, match="does not exist"):
        await patiently(lambda: hasty.publish(numbered(1)))
    await bus.close()
    await hasty.close()


# --- what others write and read ---


async def test_bytes_of_a_foreign_producer_come_through(kafka_bus: KafkaBus, kafka: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    for key, value in ((None, b"no key"), (b"\xff\xfe", b"no text"), (b"no value", None)):
        await producer.send_and_wait(kafka_bus.prefix + EXTERNAL, value, key)
    await producer.stop()
    async with kafka_bus.subscribe("g", [EXTERNAL]) as member:
        found = await read(member, 3)
        await member.commit(found)
    assert {(record.key, record.body) for record in found} == {
        ("", b"no key"),
        ("\ufffd\ufffd", b"no text"),
        ("no value", b""),
    }


async def test_the_reason_of_a_dead_letter_is_a_header_too(kafka_bus: KafkaBus, kafka: str) -> None:
    await kafka_bus.publish(numbered(1))
    async with kafka_bus.subscribe("g") as member:
        [record] = await read(member, 1)
        await member.bury(record, "not JSON: büh")
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(kafka_bus.prefix + DEAD_LETTERS, 0)])
    letter = await consumer.getone()
    await consumer.stop()
    assert letter.headers == (("reason", "not JSON: büh".encode()),)


async def test_a_message_that_is_too_large_is_refused_alone(kafka_bus: KafkaBus) -> None:
    with pytest.raises(BadEvent, match="'big': 3,000,003 bytes"):
        await kafka_bus.publish([*numbered(1), Message(EVENTS, "big", bytes(3_000_000))])
    await kafka_bus.publish(numbered(1))
    async with kafka_bus.subscribe("g") as member:
        assert by_key(await read(member, 1)) == {"key-0": [0]}


async def test_a_record_too_large_for_the_dead_letters_leaves_its_reason(kafka_bus: KafkaBus) -> None:
    large = Record(EVENTS, "k", bytes(1_900_000), kafka_bus.prefix + EVENTS, 0, 0)
    await kafka_bus.subscribe("g").bury(large, "nonsense")
    async with kafka_bus.subscribe("undertaker", [DEAD_LETTERS]) as undertaker:
        [letter] = await read(undertaker, 1)
    assert b"nonsense (body too large to keep)" in letter.body


# --- groups ---


async def test_members_share_the_work_and_nothing_is_handled_twice(kafka_bus: KafkaBus) -> None:
    handled: dict[str, list[int]] = {"one": [], "two": []}
    published = 0
    done = asyncio.Event()

    async def handle(name: str) -> None:
        async with kafka_bus.subscribe("g") as member:
            while not done.is_set():
                records = await member.fetch(20, timedelta(milliseconds=50))
                handled[name] += [int(record.body) for record in records]
                await member.commit(records)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(handle("one"))
        while len(handled["two"]) < 100:
            await kafka_bus.publish(numbered(50, keys=50, start=published))
            published += 50
            if published == 500:
                tasks.create_task(handle("two"))
        while sum(map(len, handled.values())) < published:
            await asyncio.sleep(0)
        done.set()
    assert Counter([*handled["one"], *handled["two"]]) == Counter(range(published))


async def test_a_member_that_keeps_its_records_too_long_loses_them(kafka_broker: Broker, topic_prefix: str) -> None:
    bus = bus_on(kafka_broker, topic_prefix, handover=SOON)
    await bus.prepare()
    await bus.publish(numbered(40, keys=40))
    async with bus.subscribe("g") as sleeper, bus.subscribe("g") as second:
        stale = await read(sleeper, 40)
        taken: list[Record] = []
        async with asyncio.timeout(60):
            while not taken:
                taken = await second.fetch(wait=SOON)
        lost = [record for record in stale if record.partition == taken[0].partition]
        with pytest.raises(Conflict, match="another member"):
            await sleeper.commit(lost)
        await second.commit(taken)
    await bus.close()


# --- a broker that is away ---


@pytest.mark.parametrize("call", ["publish", "fetch", "lag", "prepare"])
async def test_no_broker_is_said_at_once_and_by_address(call: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    bus = KafkaBus(address, request_timeout=timedelta(minutes=5), delivery_timeout=timedelta(minutes=5))
    async with bus.subscribe("g") as member, asyncio.timeout(60):
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "publish": lambda: bus.publish(numbered(1)),
            "fetch": member.fetch,
            "lag": member.lag,
            "prepare": bus.prepare,
        }
        with pytest.raises(Unavailable, match=f"Kafka at {address}: .*see that it runs"):
            await calls[call]()
    await bus.close()


async def test_a_broker_that_says_nothing_is_not_waited_for_for_ever() -> None:
    held: list[asyncio.Task[None]] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(asyncio.create_task(hold(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as mute:
        port = mute.sockets[0].getsockname()[1]
        bus = KafkaBus(f"127.0.0.1:{port}", request_timeout=SOON)
        with pytest.raises(Unavailable):
            await bus.publish(numbered(1))
        async with bus.subscribe("g") as member:
            with pytest.raises(Unavailable):
                await member.fetch()
        await bus.close()
        _, left_open = await asyncio.wait(held, timeout=60)
        assert not left_open


async def test_a_frozen_broker_ends_a_publish_in_time_and_the_next_one_succeeds(
    apache_kafka: ApacheBroker, apache_bus: KafkaBus, hasty_bus: KafkaBus
) -> None:
    await patiently(lambda: hasty_bus.publish(numbered(1)))
    apache_kafka.pause()
    try:
        with pytest.raises(Unavailable, match="no answer in time"):
            await hasty_bus.publish(numbered(1, start=1))
    finally:
        apache_kafka.resume()
    await patiently(lambda: hasty_bus.publish(numbered(1, start=2)))
    found: set[int] = set()
    async with apache_bus.subscribe("g") as member, asyncio.timeout(60):
        while not found >= {0, 2}:
            found |= {int(record.body) for record in await member.fetch(wait=SOON)}


async def test_a_bus_closes_cleanly_while_its_broker_is_down(mortal_kafka: ApacheBroker) -> None:
    bus = bus_on(mortal_kafka, "", request_timeout=timedelta(seconds=2))
    await patiently(bus.prepare)
    await patiently(lambda: bus.publish(numbered(10)))
    async with bus.subscribe("g") as member:
        await read(member, 10)
        mortal_kafka.stop("kill")
        assert await member.fetch(wait=SOON) == []
    async with asyncio.timeout(60):
        await bus.close()


# --- a broker that dies and comes back ---


async def test_a_kill_in_the_middle_of_publishing_loses_doubles_and_reorders_nothing(
    mortal_kafka: ApacheBroker,
) -> None:
    """Idempotence: what was sent and not answered is sent again, and written once. Readers go on by themselves."""
    halfway, total = asyncio.Event(), 6000
    bus = bus_on(mortal_kafka, "", delivery_timeout=timedelta(minutes=3))
    await bus.prepare()

    async def publish(lane: int) -> None:
        for start in range(lane * 1000, (lane + 1) * 1000, 20):
            batch = range(start, start + 20)
            await bus.publish([Message(EVENTS, f"lane-{lane}", str(n).encode()) for n in batch])
            if start % 1000 == 400:
                halfway.set()

    seen: set[bytes] = set()
    async with bus.subscribe("through") as through, asyncio.timeout(180), asyncio.TaskGroup() as tasks:
        for lane in range(total // 1000):
            tasks.create_task(publish(lane))
        await halfway.wait()
        records = await through.fetch(limit=100, wait=LONG)
        await through.commit(records)
        seen |= {record.body for record in records}
        await asyncio.to_thread(mortal_kafka.restart, "kill")
        while len(seen) < total:
            records = await through.fetch(limit=1000, wait=SOON)
            with contextlib.suppress(Conflict):
                await through.commit(records)
            seen |= {record.body for record in records}
    async with bus.subscribe("after") as after:
        found = await read(after, total)
        assert await after.fetch(wait=SOON) == []
        await after.commit(found)
        assert await after.lag() == 0
    await bus.close()
    assert by_key(found) == {f"lane-{lane}": list(range(lane * 1000, (lane + 1) * 1000)) for lane in range(6)}
    assert seen == {record.body for record in found}


async def test_a_stream_names_its_cluster_so_that_offsets_of_another_one_are_not_taken_for_its_own(
    kafka_bus: KafkaBus, topic_prefix: str
) -> None:
    cluster = await kafka_bus.cluster()
    await kafka_bus.publish(numbered(1))
    async with kafka_bus.subscribe("g") as member:
        [record] = await read(member, 1)
    assert cluster
    assert record.stream == f"{cluster}/{topic_prefix}{EVENTS}"

"""One contract for every bus: memory, the log on SQLite and PostgreSQL, Kafka."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta

import msgspec
import pytest

from tests.kafka.broker import Broker, TansuBroker
from tocsin.events.bus import Bus, DeadLetter, Message, Record, Subscription
from tocsin.events.errors import Conflict
from tocsin.events.kafka import KafkaBus
from tocsin.events.memory import MemoryBus
from tocsin.events.topics import DEAD_LETTERS, EVENTS, EXTERNAL
from tocsin.store.engine import Store
from tocsin.store.logbus import LogBus

BRIEF = timedelta(milliseconds=300)
LONG = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)  # a member that stands still for ten seconds is not dead
PATIENCE_S = 60.0


class House:
    """One bus, opened as often as a test likes: each opening stands for another process."""

    def __init__(self, make: Callable[[], tuple[Bus, Callable[[], None]]]) -> None:
        self._make = make
        self._opened: list[tuple[Bus, Callable[[], None]]] = []

    def open(self) -> Bus:
        """A bus on the same records and positions as the others of this house."""
        self._opened.append(self._make())
        return self._opened[-1][0]

    async def close(self) -> None:
        """Close every bus."""
        while self._opened:
            bus, close = self._opened.pop()
            await bus.close()
            close()


def memory(request: pytest.FixtureRequest) -> House:
    bus = MemoryBus()
    return House(lambda: (bus, lambda: None))


def log(url: str) -> House:
    def make() -> tuple[Bus, Callable[[], None]]:
        store = Store.open(url, create=True)
        return LogBus(store), store.close

    return House(make)


def sqlite(request: pytest.FixtureRequest) -> House:
    return log(request.getfixturevalue("sqlite_url"))


def postgresql(request: pytest.FixtureRequest) -> House:
    return log(request.getfixturevalue("postgres_store_url"))


def kafka(request: pytest.FixtureRequest) -> House:
    broker: Broker = request.getfixturevalue("kafka_broker")
    prefix: str = request.getfixturevalue("topic_prefix")

    def make() -> tuple[Bus, Callable[[], None]]:
        bus = KafkaBus(
            broker.address,
            topic_prefix=prefix,
            idempotent=broker.idempotent,
            heartbeat=timedelta(milliseconds=200),
            session_timeout=MINUTE,
            handover=MINUTE,
        )
        return bus, lambda: None

    return House(make)


FORMS = [
    pytest.param(memory, id="memory"),
    pytest.param(sqlite, id="log on SQLite"),
    pytest.param(postgresql, id="log on PostgreSQL", marks=pytest.mark.postgres),
    pytest.param(kafka, id="Kafka", marks=pytest.mark.kafka),
]


@pytest.fixture(params=FORMS)
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    opened: House = request.param(request)
    first = opened.open()
    if isinstance(first, KafkaBus):
        await first.prepare()
    yield opened
    await opened.close()


@pytest.fixture
def bus(house: House) -> Bus:
    return house.open()


def numbered(count: int, keys: int = 1, start: int = 0, topic: str = EVENTS) -> list[Message]:
    return [Message(topic, f"key-{n % keys}", str(n).encode()) for n in range(start, start + count)]


def numbers(records: Iterable[Record]) -> list[int]:
    return [int(record.body) for record in records]


def by_key(records: Iterable[Record]) -> dict[str, list[int]]:
    lanes: dict[str, list[int]] = defaultdict(list)
    for record in records:
        lanes[record.key].append(int(record.body))
    return dict(lanes)


async def read(member: Subscription, count: int, limit: int = 500) -> list[Record]:
    """Records until there are `count`."""
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            found += await member.fetch(min(limit, count - len(found)), LONG)
    return found


async def test_records_of_a_key_come_in_the_order_of_publishing(bus: Bus) -> None:
    for start in range(0, 300, 60):
        await bus.publish(numbered(60, keys=7, start=start))
    async with bus.subscribe("g") as member:
        found = await read(member, 300)
    assert by_key(found) == {f"key-{n}": list(range(n, 300, 7)) for n in range(7)}
    assert {record.topic for record in found} == {EVENTS}


async def test_offsets_only_grow_within_a_partition(bus: Bus) -> None:
    await bus.publish(numbered(200, keys=20))
    async with bus.subscribe("g") as member:
        found = await read(member, 200)
    lanes: dict[tuple[str, int], list[int]] = defaultdict(list)
    for record in found:
        lanes[record.stream, record.partition].append(record.offset)
    assert all(offsets == sorted(set(offsets)) for offsets in lanes.values())


async def test_each_group_reads_everything(bus: Bus) -> None:
    await bus.publish(numbered(20))
    async with bus.subscribe("one") as one, bus.subscribe("two") as two:
        await one.commit(await read(one, 20))
        assert numbers(await read(two, 20)) == list(range(20))


async def test_a_group_that_begins_late_begins_at_the_start(house: House, bus: Bus) -> None:
    await bus.publish(numbered(5))
    async with house.open().subscribe("late") as member:
        assert numbers(await read(member, 5)) == list(range(5))


async def test_a_position_outlives_its_member_and_its_bus(house: House, bus: Bus) -> None:
    await bus.publish(numbered(10))
    async with bus.subscribe("g") as member:
        await member.commit((await read(member, 10))[:6])
    async with house.open().subscribe("g") as successor:
        assert numbers(await read(successor, 4)) == [6, 7, 8, 9]


async def test_what_was_not_committed_comes_again_to_the_next_member(house: House, bus: Bus) -> None:
    await bus.publish(numbered(10))
    async with bus.subscribe("g") as member:
        await read(member, 10)
    async with house.open().subscribe("g") as successor:
        assert numbers(await read(successor, 10)) == list(range(10))


async def test_a_rewind_goes_back_to_the_committed_position(bus: Bus) -> None:
    await bus.publish(numbered(10))
    async with bus.subscribe("g") as member:
        await member.commit((await read(member, 7))[:4])
        await member.rewind()
        assert numbers(await read(member, 6)) == [4, 5, 6, 7, 8, 9]


async def test_a_rewind_before_the_first_commit_goes_back_to_the_start(bus: Bus) -> None:
    await bus.publish(numbered(10, keys=5))
    async with bus.subscribe("g") as member:
        await read(member, 10)
        await member.rewind()
        assert sorted(numbers(await read(member, 10))) == list(range(10))


async def test_what_a_rewind_brings_again_can_be_committed(house: House, bus: Bus) -> None:
    await bus.publish(numbered(4))
    async with bus.subscribe("g") as member:
        await read(member, 4)
        await member.rewind()
        await member.commit(await read(member, 4))
        assert await member.lag() == 0


async def handle(member: Subscription, handled: list[int], until: int, begun: asyncio.Event) -> None:
    """Read and commit small batches until all are handled by whomever."""
    while len(handled) < until:
        records = await member.fetch(10, timedelta(milliseconds=50))
        handled += numbers(records)
        await member.commit(records)
        if len(handled) > until // 4:
            begun.set()


async def test_two_members_never_handle_the_same_record(house: House, bus: Bus) -> None:
    await bus.publish(numbered(400, keys=40))
    handled: list[int] = []
    quarter, other = asyncio.Event(), house.open()
    async with bus.subscribe("g") as one, other.subscribe("g") as two, asyncio.TaskGroup() as tasks:
        tasks.create_task(handle(one, handled, 400, quarter))
        await quarter.wait()
        tasks.create_task(handle(two, handled, 400, quarter))
    assert sorted(handled) == list(range(400))


async def test_the_next_member_takes_over_when_the_first_leaves(house: House, bus: Bus) -> None:
    await bus.publish(numbered(10))
    async with house.open().subscribe("g") as second:
        async with bus.subscribe("g") as first:
            await first.commit(await read(first, 10))
            waiting = asyncio.create_task(read(second, 10))
            await bus.publish(numbered(10, start=10))
        assert numbers(await waiting) == list(range(10, 20))


async def test_a_member_that_slept_does_not_undo_what_its_successor_committed(house: House, bus: Bus) -> None:
    await bus.publish(numbered(10))
    async with bus.subscribe("g") as sleeper:
        stale = await read(sleeper, 10)
        await sleeper.__aexit__(None, None, None)
        async with house.open().subscribe("g") as successor:
            await successor.commit(await read(successor, 10))
            with contextlib.suppress(Conflict):
                await sleeper.commit(stale[:5])
            assert await successor.lag() == 0


async def test_a_dead_letter_keeps_its_reason_and_the_rest_goes_on(bus: Bus) -> None:
    await bus.publish([Message(EVENTS, "k", b"\xff not an event"), *numbered(2)])
    async with bus.subscribe("g") as member:
        found = await read(member, 3)
        bad = next(record for record in found if record.key == "k")
        await member.bury(bad, "no UTF-8 at byte 0")
        await member.commit(found)
        assert await member.lag() == 0
    async with bus.subscribe("undertaker", [DEAD_LETTERS]) as undertaker:
        [record] = await read(undertaker, 1)
    letter = msgspec.json.decode(record.body, type=DeadLetter)
    assert letter == DeadLetter.of(bad, "g", "no UTF-8 at byte 0")
    assert letter.body == b"\xff not an event"


async def test_a_waiting_reader_is_woken_by_a_message(house: House, bus: Bus) -> None:
    async with bus.subscribe("g") as member:
        assert await member.fetch(wait=BRIEF) == []
        waiting = asyncio.create_task(member.fetch(wait=timedelta(minutes=5)))
        await house.open().publish(numbered(1))
        async with asyncio.timeout(PATIENCE_S):
            assert numbers(await waiting) == [0]


async def test_a_reader_gets_nothing_after_its_wait(bus: Bus) -> None:
    async with bus.subscribe("g") as member:
        assert await member.fetch(wait=timedelta(0)) == []
        assert await member.fetch(wait=BRIEF) == []


async def test_a_limit_is_kept(bus: Bus) -> None:
    await bus.publish(numbered(50, keys=10))
    async with bus.subscribe("g") as member:
        assert 1 <= len(await member.fetch(7, LONG)) <= 7


async def test_a_reader_sees_its_topics_alone(bus: Bus) -> None:
    await bus.publish(
        [*numbered(3), *numbered(3, start=10, topic=EXTERNAL), *numbered(3, start=20, topic=DEAD_LETTERS)]
    )
    async with bus.subscribe("both", [EVENTS, EXTERNAL]) as both, bus.subscribe("one", [EXTERNAL]) as one:
        found = await read(both, 6)
        assert sorted((record.topic, int(record.body)) for record in found) == [
            *((EVENTS, n) for n in (0, 1, 2)),
            *((EXTERNAL, n) for n in (10, 11, 12)),
        ]
        assert numbers(await read(one, 3)) == [10, 11, 12]
        assert await one.fetch(wait=BRIEF) == []


async def test_of_1000_messages_none_is_lost_and_none_is_doubled(house: House, bus: Bus) -> None:
    async def publish(start: int) -> None:
        for n in range(start, start + 100, 10):
            await bus.publish(numbered(10, start=n))

    async with house.open().subscribe("g") as member, asyncio.TaskGroup() as tasks:
        for start in range(0, 1000, 100):
            tasks.create_task(publish(start))
        found = await read(member, 1000, limit=64)
        await member.commit(found)
        assert await member.fetch(wait=BRIEF) == []
    assert sorted(numbers(found)) == list(range(1000))


async def test_an_empty_publish_is_nothing(bus: Bus) -> None:
    await bus.publish([])
    async with bus.subscribe("g") as member:
        assert await member.fetch(wait=BRIEF) == []
        await member.commit([])


async def test_a_message_of_900_kilobytes_arrives_whole(bus: Bus) -> None:
    large = bytes(range(256)) * 3600
    await bus.publish([Message(EVENTS, "large", large), *numbered(1)])
    async with bus.subscribe("g") as member:
        found = await read(member, 2)
        large_one = next(record for record in found if record.key == "large")
        assert large_one.body == large
        await member.bury(large_one, "too large for anybody")
    async with bus.subscribe("undertaker", [DEAD_LETTERS]) as undertaker:
        [record] = await read(undertaker, 1)
    assert msgspec.json.decode(record.body, type=DeadLetter).body == large


async def test_lag_counts_what_the_group_has_not_committed(bus: Bus, request: pytest.FixtureRequest) -> None:
    if isinstance(bus, KafkaBus) and isinstance(request.getfixturevalue("kafka_broker"), TansuBroker):
        pytest.skip("Tansu tells the newest offset in batches, not in records")
    async with bus.subscribe("g") as member:
        assert await member.lag() == 0
        await bus.publish(numbered(10))
        assert await member.lag() == 10
        records = await read(member, 10)
        assert await member.lag() == 10
        await member.commit(records[:3])
        assert await member.lag() == 7
        await member.commit(records)
        assert await member.lag() == 0


async def test_keys_and_bodies_travel_unchanged(bus: Bus) -> None:
    sent = [Message(EVENTS, key, body) for key, body in (("", b"x"), ("é\U0001f514", b"\0\xff"), ("k" * 5000, b" "))]
    await bus.publish(sent)
    async with bus.subscribe("g") as member:
        found = await read(member, 3)
    assert sorted((record.key, record.body) for record in found) == sorted((m.key, m.body) for m in sent)

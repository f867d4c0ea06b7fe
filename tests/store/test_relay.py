"""The relay: everything in the log reaches the bus, in order, whatever dies on the way."""

import asyncio
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.kafka.broker import Broker
from tests.store.relay_program import POINTS
from tocsin.events.bus import DeadLetter, Message, Record
from tocsin.events.clock import ManualClock
from tocsin.events.errors import BadEvent, Invalid, Unavailable
from tocsin.events.kafka import KafkaBus
from tocsin.events.memory import MemoryBus
from tocsin.events.model import Event
from tocsin.events.topics import DEAD_LETTERS, EVENTS, EXTERNAL
from tocsin.store import leases, positions
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.relay import GROUP, LEASE, Relay, delay

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0


class Death(BaseException):
    """Stands for kill -9: nothing of the process goes on."""


class Wire(MemoryBus):
    """A memory bus whose `publish` can be disturbed before and after the messages are written."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0
        self.before: Callable[[int, Sequence[Message]], None] = lambda batch, messages: None
        self.after: Callable[[int], None] = lambda batch: None

    async def publish(self, messages: Sequence[Message]) -> None:
        self.batches += 1
        self.before(self.batches, messages)
        await super().publish(messages)
        self.after(self.batches)


def fill(store: Store, count: int, keys: int = 5, start: int = 0, topic: str = EVENTS) -> None:
    """Append numbered events, each in its own transaction's worth of ten."""
    for first in range(start, start + count, 10):
        with store.begin() as session:
            append(session, [event(n, keys) for n in range(first, min(first + 10, start + count))], topic)


def event(number: int, keys: int = 5) -> Event:
    return Event(event="n", resource={"tocsin.resource.id": f"key-{number % keys}"}, payload={"n": number})


def number(record: Record) -> int:
    found: int = msgspec.json.decode(record.body)["payload"]["n"]
    return found


def first_arrivals(records: Iterable[Record]) -> dict[str, list[int]]:
    """By key, what arrived, repeats left out."""
    lanes: dict[str, dict[int, None]] = defaultdict(dict)
    for record in records:
        lanes[record.key].setdefault(number(record))
    return {key: list(numbers) for key, numbers in lanes.items()}


def in_order(count: int, keys: int = 5) -> dict[str, list[int]]:
    return {f"key-{key}": list(range(key, count, keys)) for key in range(keys)}


async def everything(bus: MemoryBus, topic: str = EVENTS) -> list[Record]:
    async with bus.subscribe("reader", [topic]) as member:
        return await member.fetch(limit=100_000, wait=timedelta(milliseconds=10))


async def moved(relay: Relay) -> None:
    """Wait until the log is on the bus."""
    async with asyncio.timeout(PATIENCE_S):
        while await relay.lag():
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(relay: Relay) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    task = asyncio.create_task(relay.serve(stop))
    try:
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await task


async def test_the_log_arrives_in_order_on_its_topics(store: Store, clock: ManualClock) -> None:
    bus = MemoryBus()
    fill(store, 250)
    fill(store, 30, start=1000, topic=EXTERNAL)
    relay = Relay(store, bus, clock, batch=40)
    async with serving(relay):
        await moved(relay)
        fill(store, 10, start=250)
        await moved(relay)
    assert [number(record) for record in await everything(bus)] == list(range(260))
    assert [number(record) for record in await everything(bus, EXTERNAL)] == list(range(1000, 1030))


async def test_a_topic_of_somebody_else_is_left_in_the_log(store: Store, clock: ManualClock) -> None:
    bus = MemoryBus()
    fill(store, 10, topic="somebody's")
    fill(store, 10, start=10)
    relay = Relay(store, bus, clock)
    async with serving(relay):
        await moved(relay)
    assert [number(record) for record in await everything(bus)] == list(range(10, 20))
    assert await everything(bus, "somebody's") == []


async def test_a_relay_goes_on_where_the_last_one_stopped(store: Store, clock: ManualClock) -> None:
    bus = MemoryBus()
    for round_ in range(3):
        fill(store, 30, start=30 * round_)
        relay = Relay(store, bus, clock, batch=7)
        async with serving(relay):
            await moved(relay)
    assert [number(record) for record in await everything(bus)] == list(range(90))


class Dying(Relay):
    """Dies before or after it stores that its third batch is on the bus."""

    point = ""
    marks = 0

    async def _mark(self, records: Sequence[Record]) -> None:
        self.marks += bool(records)
        if records and self.marks == 3 and self.point == "before marking":
            raise Death
        await super()._mark(records)
        if records and self.marks == 3 and self.point == "after marking":
            raise Death


@pytest.mark.parametrize("point", ["before sending", "after sending", "before marking", "after marking"])
async def test_a_death_at_any_point_loses_and_reorders_nothing(store: Store, clock: ManualClock, point: str) -> None:
    bus = Wire()

    def die_before(batch: int, messages: Sequence[Message]) -> None:
        if batch == 3 and point == "before sending":
            raise Death

    def die_after(batch: int) -> None:
        if batch == 3 and point == "after sending":
            raise Death

    bus.before, bus.after = die_before, die_after
    fill(store, 100)
    dying = Dying(store, bus, clock, batch=10)
    dying.point = point
    with pytest.raises(Death):
        await dying.serve(asyncio.Event())
    clock.advance(LEASE + timedelta(seconds=1))
    heir = Relay(store, bus, clock, batch=10)
    async with serving(heir):
        await moved(heir)
    arrived = await everything(bus)
    assert first_arrivals(arrived) == in_order(100)
    assert len(arrived) <= 120, "only the batches under way come again"


async def test_one_relay_works_at_a_time_and_the_next_takes_over(store: Store, clock: ManualClock) -> None:
    bus = MemoryBus()
    first, second = Relay(store, bus, clock), Relay(store, bus, clock)
    async with serving(first):
        fill(store, 20)
        await moved(first)
        async with serving(second):
            fill(store, 20, start=20)
            await moved(first)
            assert second._lease is None
    async with serving(second):
        fill(store, 20, start=40)
        await moved(second)
    assert [number(record) for record in await everything(bus)] == list(range(60))


class Sleeper(Relay):
    """Falls asleep between sending and marking, until it is woken."""

    def fall_asleep(self) -> None:
        self.asleep, self.woken = asyncio.Event(), asyncio.Event()

    async def _mark(self, records: Sequence[Record]) -> None:
        if records:
            self.asleep.set()
            await self.woken.wait()
        await super()._mark(records)


async def told_fenced(told: Sequence[MutableMapping[str, Any]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not any(line["event"] == "relay.fenced" for line in told):
            await asyncio.sleep(0)


async def test_a_relay_that_slept_through_its_lease_moves_no_position(store: Store, clock: ManualClock) -> None:
    fill(store, 30)
    sleeper = Sleeper(store, MemoryBus(), clock, batch=10)
    sleeper.fall_asleep()
    async with serving(sleeper) as stop:
        await sleeper.asleep.wait()
        now = clock.advance(LEASE + timedelta(seconds=1))
        with store.begin() as session:
            assert leases.acquire(session, GROUP, "heir", now, LEASE)
        with capture_logs() as told:
            stop.set()
            sleeper.woken.set()
            await told_fenced(told)
    with store.read() as session:
        assert positions.offsets(session, GROUP) == {}


async def test_what_a_sleeper_sends_late_comes_behind_its_first_arrival(store: Store, clock: ManualClock) -> None:
    bus = MemoryBus()
    fill(store, 30)
    sleeper, heir = Sleeper(store, bus, clock, batch=10), Relay(store, bus, clock, batch=10)
    sleeper.fall_asleep()
    async with serving(sleeper):
        await sleeper.asleep.wait()
        clock.advance(LEASE + timedelta(seconds=1))
        async with serving(heir):
            await moved(heir)
            fill(store, 10, start=30)
            await moved(heir)
            with capture_logs() as told:
                sleeper.woken.set()
                await told_fenced(told)
            assert await heir.lag() == 0
    assert first_arrivals(await everything(bus)) == in_order(40)


@pytest.mark.parametrize("error", [Unavailable("no broker"), Invalid("no topic")])
async def test_a_broker_that_is_away_is_told_once_and_nothing_is_lost(
    store: Store, clock: ManualClock, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.store.relay.FIRST_DELAY", timedelta(milliseconds=1))
    bus = Wire()

    def away(batch: int, messages: Sequence[Message]) -> None:
        if 3 <= batch <= 8:
            raise error

    bus.before = away
    fill(store, 100)
    relay = Relay(store, bus, clock, batch=10)
    with capture_logs() as told:
        async with serving(relay):
            await moved(relay)
    assert [number(record) for record in await everything(bus)] == list(range(100))
    assert [line["event"] for line in told] == ["relay.waiting", "relay.resumed"]
    assert told[0]["reason"] == str(error)


async def test_a_record_that_the_bus_refuses_harms_only_itself(store: Store, clock: ManualClock) -> None:
    bus = Wire()

    def picky(batch: int, messages: Sequence[Message]) -> None:
        if any(b'"n":13}' in message.body for message in messages if message.topic == EVENTS):
            raise BadEvent("too large")

    bus.before = picky
    fill(store, 30)
    relay = Relay(store, bus, clock, batch=10)
    async with serving(relay):
        await moved(relay)
    assert {number(record) for record in await everything(bus)} == set(range(30)) - {13}
    [letter] = [msgspec.json.decode(record.body, type=DeadLetter) for record in await everything(bus, DEAD_LETTERS)]
    assert (letter.group, letter.stream, letter.offset, letter.body) == ("relay", "log", 14, b"")
    assert letter.reason.startswith("too large")


@pytest.mark.parametrize(("failures", "seconds"), [(0, 1.0), (1, 0.2), (2, 0.4), (5, 3.2), (6, 5.0), (10_000, 5.0)])
def test_the_wait_doubles_up_to_five_seconds(failures: int, seconds: float) -> None:
    assert delay(failures) == timedelta(seconds=seconds)


def test_waits_never_shrink() -> None:
    assert all(first <= second for first, second in pairwise(delay(n) for n in range(1, 40)))


# --- the real broker ---


async def arrivals(bus: KafkaBus, wanted: dict[str, list[int]]) -> list[Record]:
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S), bus.subscribe("reader") as member:
        while first_arrivals(found).keys() < wanted.keys() or any(
            len(lane) < len(wanted[key]) for key, lane in first_arrivals(found).items()
        ):
            found += await member.fetch(limit=10_000, wait=timedelta(seconds=5))
        found += await member.fetch(limit=10_000, wait=timedelta(milliseconds=300))
    return found


async def test_the_log_arrives_on_kafka_once_and_in_order(store: Store, kafka_bus: KafkaBus) -> None:
    fill(store, 1500, keys=20)
    relay = Relay(store, kafka_bus, batch=200)
    async with serving(relay):
        await moved(relay)
    found = await arrivals(kafka_bus, in_order(1500, 20))
    assert first_arrivals(found) == in_order(1500, 20)
    assert len(found) == 1500


@pytest.mark.faults
async def test_kill_9_at_any_point_loses_and_reorders_nothing(
    store: Store, store_url: str, kafka_broker: Broker, kafka_bus: KafkaBus
) -> None:
    fill(store, 600, keys=20)
    command = [sys.executable, "-m", "tests.store.relay_program", store_url, kafka_broker.address, kafka_bus.prefix]
    for point in (*POINTS, "never"):
        arguments = [*command, str(kafka_broker.idempotent), point]
        process = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT)
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == (0 if point == "never" else -signal.SIGKILL), point
    found = await arrivals(kafka_bus, in_order(600, 20))
    assert first_arrivals(found) == in_order(600, 20)
    assert 600 < len(found) <= 600 + len(POINTS) * 40, "the batches under way at each death came again"

"""The embedded host on Kafka: partitions in any order, a host that dies before it commits, forgeries, poison."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.automations.parts import a_clock, a_run, calling, causes, define, firings, happened, invocations, rule
from tocsin.automations.host import Host
from tocsin.events.bus import Message, Record, Subscription
from tocsin.events.topics import DEAD_LETTERS, EVENTS, EXTERNAL
from tocsin.store.engine import Store

if TYPE_CHECKING:
    from tocsin.events.kafka import KafkaBus

WAIT = timedelta(milliseconds=500)


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    opened = Store.open(sqlite_url)
    yield opened
    opened.close()


def run(number: int) -> str:
    return f"tocsin.flow-run.00000000-0000-0000-0000-{number:012}"


async def handled(host: Host, bus: "KafkaBus", count: int) -> None:
    """Until the host has handled so many records."""
    async with bus.subscribe("automations", (EVENTS, EXTERNAL)) as subscription, asyncio.timeout(60):
        while count > 0:
            count -= await host.turn(subscription, WAIT)


async def test_each_event_is_evaluated_once_whatever_partition_it_lies_on(store: Store, kafka_bus: "KafkaBus") -> None:
    define(store, rule("rule", resolve_on={"expect": ["tocsin.flow-run.Completed"]}), calling("call", "orders.*"))
    runs = [run(number) for number in range(30)]
    failed = [a_run("Failed", run=one, number=n + 1) for n, one in enumerate(runs)]
    completed = [a_run("Completed", run=one, number=n + 101, at=1) for n, one in enumerate(runs)]
    late = [happened("orders.late", f"order-{n}", number=n + 201, payload={"n": n}) for n in range(30)]
    forged = [a_run("Failed", run=run(99))]
    await kafka_bus.publish([Message.of(event) for event in (*failed, *completed)])
    await kafka_bus.publish([Message.of(event, EXTERNAL) for event in (*late, *forged)])
    await kafka_bus.publish([Message(EVENTS, f"k{n}", b"poison") for n in range(3)])
    await handled(Host(store, kafka_bus, clock=a_clock(), batch=20), kafka_bus, 94)
    found = Counter((one.automation, one.state) for one in firings(store))
    assert found == {("rule", "Triggered"): 30, ("rule", "Resolved"): 30, ("call", "Triggered"): 30}
    assert len(invocations(store)) == 30
    async with kafka_bus.subscribe("graves", [DEAD_LETTERS]) as graves:
        letters = [record.body for record in await taken(graves, 4)]
    assert sum(b"not an event" in letter for letter in letters) == 3
    assert sum(b"kept for tocsin itself" in letter for letter in letters) == 1


async def taken(subscription: Subscription, count: int) -> list[Record]:
    found: list[Record] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await subscription.fetch(wait=WAIT)
    return found


async def test_a_host_that_dies_before_it_commits_leaves_nothing_to_repeat(store: Store, kafka_bus: "KafkaBus") -> None:
    counted = rule("counted", trigger={"expect": ["x"], "threshold": 2, "within": 1000})
    define(store, counted)
    await kafka_bus.publish([Message.of(happened("x", "one", number=n + 1, at=n)) for n in range(5)])
    first = Host(store, kafka_bus, clock=a_clock())
    async with kafka_bus.subscribe("automations", (EVENTS,)) as subscription:
        records = await taken(subscription, 5)
        batch = await store.look(lambda session: first.decide(session, records))
        await store.run(lambda session: first.write(session, batch))
    await kafka_bus.publish([Message.of(happened("x", "one", number=6, at=6))])
    await handled(Host(store, kafka_bus, clock=a_clock()), kafka_bus, 6)
    assert causes(store) == [2, 4, 6]

"""The clock while Kafka goes away and comes back: what was due stands on its topic in the end, each under one id."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Literal

import pytest
from sqlmodel import func, select

from tests.kafka.broker import ApacheBroker
from tests.triggers import relay_process
from tests.triggers.trouble import SCHEDULES, TROUBLE_S, Trouble, caught_up, check, logged, put, trouble
from tocsin.events.codec import decode
from tocsin.events.kafka import KafkaBus
from tocsin.events.model import Event
from tocsin.events.topics import EVENTS
from tocsin.store import positions
from tocsin.store.engine import Store
from tocsin.store.relay import GROUP
from tocsin.store.tables import LogEntry

RELAYS = 2
PATIENCE_S = 120.0

Way = Literal["graceful", "kill"]


@contextmanager
def relays(url: str, address: str, prefix: str) -> Iterator[None]:
    """Relays in processes of their own, of which one works; none of them lives on."""
    command = [sys.executable, "-m", relay_process.__name__, url, address, prefix]
    running = [
        subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL) for _ in range(RELAYS)
    ]
    try:
        yield
        assert all(one.poll() is None for one in running), "a broker that is away ends no relay"
    finally:
        for one in running:
            one.kill()
            one.wait()


def newest(store: Store) -> int:
    """The number of the last event in the log."""
    with store.read() as session:
        return session.exec(select(func.max(LogEntry.seq))).one() or 0


def relayed(store: Store) -> int:
    """The number up to which the log is on Kafka."""
    with store.read() as session:
        return max(positions.offsets(session, GROUP).values(), default=0) - 1


def until(said: str, reached: Callable[[], bool]) -> None:
    """Return when it is reached; fails with what is `said` when it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


async def on_kafka(address: str, prefix: str, wanted: set[str]) -> list[Event]:
    """All that `tocsin.events` carries from its beginning, in the order of arrival, when all `wanted` ids are there."""
    bus, found = KafkaBus(address, topic_prefix=prefix), list[Event]()
    async with asyncio.timeout(PATIENCE_S), bus.subscribe("reader", (EVENTS,)) as member:
        while not wanted <= {str(event.id) for event in found}:
            records = await member.fetch(wait=timedelta(seconds=10))
            found += [decode(record.body) for record in records]
            await member.commit(records)
        while await member.lag():
            records = await member.fetch(wait=timedelta(seconds=10))
            found += [decode(record.body) for record in records]
            await member.commit(records)
    await bus.close()
    return found


async def made(address: str, prefix: str) -> None:
    """Our topics are there."""
    bus = KafkaBus(address, topic_prefix=prefix)
    await bus.prepare()
    await bus.close()


def once(events: list[Event]) -> list[Event]:
    """The first arrival of each id; what arrives again must be the same."""
    first: dict[object, Event] = {}
    for event in events:
        assert first.setdefault(event.id, event) == event, "one id, one event"
    return list(first.values())


def away(broker: ApacheBroker, how: Way, store: Store, schedulers: Trouble) -> None:
    """The broker ends, ticks come all the same, it is back, and they are on it."""
    broker.stop(how)
    try:
        schedulers.step()
        enough = newest(store) + 2 * len(SCHEDULES)
        until("the clock stands still", lambda: newest(store) >= enough)
        assert relayed(store) < enough, "there is no broker to take them"
    finally:
        broker.start()
    until("the relay does not come back", lambda: relayed(store) >= enough)


@pytest.mark.faults
@pytest.mark.postgres
@pytest.mark.timeout(TROUBLE_S + 400)
def test_a_broker_that_goes_and_comes_keeps_every_tick_and_its_id(
    apache_kafka: ApacheBroker, postgres_store_url: str, topic_prefix: str
) -> None:
    """Schedulers are killed meanwhile, too. The clock goes on while Kafka is away; the relay makes up for it."""
    url, address = postgres_store_url, apache_kafka.address
    ways: Iterator[Way] = cycle(("graceful", "kill"))
    asyncio.run(made(address, topic_prefix))
    store, restarts = Store.open(url), 0
    with relays(url, address, topic_prefix):
        with trouble(url) as schedulers:
            begin, end = put(store), time.monotonic() + TROUBLE_S
            until("the relay does not begin", lambda: relayed(store) > 0)
            while restarts < 2 or time.monotonic() < end:
                away(apache_kafka, next(ways), store, schedulers)
                restarts += 1
        now = caught_up(store)
        found = asyncio.run(on_kafka(address, topic_prefix, {str(event.id) for event in logged(store)}))
    check(once(found), begin, now)
    store.close()

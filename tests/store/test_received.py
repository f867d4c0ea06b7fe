"""When an event was received: along the log it never decreases, whatever the clocks of those who wrote there say."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

from sqlmodel import col, select

from tocsin.events.clock import ManualClock, micros
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.logbus import LogBus
from tocsin.store.tables import LogEntry

NO_WAIT = timedelta(0)
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def written(store: Store, *seconds: float) -> None:
    """An event for each of these instants of its writer's clock, each in a transaction of its own."""
    for at in seconds:
        now = START + timedelta(seconds=at)
        with store.begin() as session:
            append(session, [Event(event="x", occurred=now, resource={RESOURCE_ID: "r"})], now=now)


async def received(bus: LogBus, limit: int, *, commit: bool = True) -> list[float]:
    """What a new member reads first, in seconds from the start."""
    async with bus.subscribe("readers") as subscription:
        records = await subscription.fetch(limit, NO_WAIT)
        if commit:
            await subscription.commit(records)
    return [(record.received - micros(START)) / 1e6 for record in records]


async def test_what_came_later_was_received_later(store: Store) -> None:
    written(store, 1, 3, 2, 4)
    bus = LogBus(store, ManualClock(START))
    assert await received(bus, 10) == [1, 3, 3, 4]


async def test_it_is_the_same_wherever_a_member_begins(store: Store) -> None:
    written(store, 1, 3, 2, 4)
    bus = LogBus(store, ManualClock(START))
    assert await received(bus, 2) == [1, 3]
    assert await received(bus, 2) == [3, 4]


async def test_the_lag_counts_what_is_being_written(store: Store) -> None:
    """Whoever sees no lag may decide what was due before it looked: nothing comes that was received by then."""
    looked, wrote = threading.Event(), threading.Event()

    def write() -> None:
        with store.begin() as session:
            append(session, [Event(event="x", occurred=START, resource={RESOURCE_ID: "r"})])
            wrote.set()
            looked.wait(0.02)

    writing = asyncio.create_task(asyncio.to_thread(write))
    await asyncio.to_thread(wrote.wait)
    async with LogBus(store).subscribe("readers") as subscription:
        assert await subscription.lag() == 1
    looked.set()
    await writing


async def test_a_clock_that_is_far_astray_is_not_followed(store: Store) -> None:
    written(store, 1, 3_000, 2, 3)
    assert await received(LogBus(store, ManualClock(START)), 10) == [1, 3_000, 2, 3]


def test_who_waits_for_the_writer_before_him_was_received_after_him(sqlite_url: str) -> None:
    """A process that waits for another one's transaction on SQLite reads its clock when its own has begun."""
    first, second = (Store.open(sqlite_url) for _ in range(2))
    waiting = threading.Thread(target=lambda: _write(second, "second"))
    with first.begin() as session:
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        append(session, [Event(event="first", resource={RESOURCE_ID: "r"})])
    waiting.join()
    with first.read() as session:
        rows = session.exec(select(LogEntry).order_by(col(LogEntry.recorded))).all()
    assert [row.event for row in rows] == ["first", "second"]
    first.close()
    second.close()


def _write(store: Store, name: str) -> None:
    with store.begin() as session:
        append(session, [Event(event=name, resource={RESOURCE_ID: "r"})])

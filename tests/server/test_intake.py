"""The intake: many posts in one commit, each answered for itself; a full one refuses and keeps nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.server.conftest import ORDERS
from tocsin.events.errors import Unavailable
from tocsin.events.model import Event
from tocsin.server import history
from tocsin.server.intake import Full, Intake
from tocsin.store.engine import Store


def some(count: int) -> list[Event]:
    return [Event(event="a", resource=ORDERS) for _ in range(count)]


@asynccontextmanager
async def working(intake: Intake) -> AsyncIterator[None]:
    serving = asyncio.create_task(intake.serve())
    yield
    intake.close()
    await serving


def stored(store: Store) -> int:
    with store.read() as session:
        return len(history.search(session, history.Filter(), limit=1_000).entries)


async def test_what_put_returns_for_is_stored(store: Store) -> None:
    intake = Intake(store)
    async with working(intake):
        await asyncio.gather(*(intake.put(some(3)) for _ in range(100)))
        assert (stored(store), intake.waiting) == (300, 0)


async def test_posts_that_wait_share_a_commit_up_to_the_bound(store: Store) -> None:
    intake = Intake(store, max_group=10)
    puts = [asyncio.create_task(intake.put(some(4))) for _ in range(5)]
    await asyncio.sleep(0)
    assert [len(group) for group in (intake._next_group(), intake._next_group(), intake._next_group())] == [2, 2, 1]
    for put in puts:
        put.cancel()
    await asyncio.gather(*puts, return_exceptions=True)


async def test_a_full_intake_refuses_and_says_when_to_come_back(store: Store) -> None:
    intake = Intake(store, max_waiting=10)
    first = asyncio.create_task(intake.put(some(10)))
    await asyncio.sleep(0)
    assert intake.full
    with pytest.raises(Full) as refusal:
        await intake.put(some(1))
    assert refusal.value.retry_after_s >= 1
    async with working(intake):
        await first
        await intake.put(some(1))
    assert stored(store) == 11


async def test_a_few_large_posts_fill_it_too(store: Store) -> None:
    intake = Intake(store, max_bytes=1_000_000)
    first = asyncio.create_task(intake.put(some(1), 900_000))
    await asyncio.sleep(0)
    with pytest.raises(Full):
        await intake.put(some(1), 200_000)
    async with working(intake):
        await first
        await intake.put(some(1), 200_000)
    assert stored(store) == 2


async def test_one_batch_larger_than_the_bound_is_taken_when_nothing_waits(store: Store) -> None:
    intake = Intake(store, max_waiting=10)
    async with working(intake):
        await intake.put(some(50))
    assert stored(store) == 50


async def test_a_stop_stores_what_waits_and_takes_no_more(store: Store) -> None:
    intake = Intake(store)
    put = asyncio.create_task(intake.put(some(5)))
    await asyncio.sleep(0)
    intake.close()
    await intake.serve()
    await put
    assert stored(store) == 5
    with pytest.raises(Unavailable, match="stopping"):
        await intake.put(some(1))


async def test_a_client_that_went_away_harms_nobody(store: Store) -> None:
    intake = Intake(store)
    gone = asyncio.create_task(intake.put(some(1)))
    await asyncio.sleep(0)
    gone.cancel()
    async with working(intake):
        await intake.put(some(1))
    assert stored(store) == 2


async def test_a_post_that_cannot_be_stored_does_not_refuse_the_others(store: Store) -> None:
    intake = Intake(store)
    bad = Event(event="a", resource={"tocsin.resource.id": ""})
    puts = [asyncio.create_task(intake.put(events)) for events in (some(1), [bad], some(1))]
    await asyncio.sleep(0)
    async with working(intake):
        answers = await asyncio.gather(*puts, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["NoneType", "BadEvent", "NoneType"]
    assert stored(store) == 2


async def test_a_database_that_is_away_is_said_and_nothing_hangs(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    with store.begin() as session:
        session.connection().exec_driver_sql("DROP TABLE log")
    intake = Intake(store)
    async with working(intake):
        with pytest.raises(Unavailable, match="send these again"):
            await intake.put(some(1))
    store.close()

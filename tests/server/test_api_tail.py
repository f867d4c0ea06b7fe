"""GET /api/events/tail: every event once and in order, also over a reconnect, and a slow reader is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

import pytest

from tests.server.conftest import ORDERS, Api
from tocsin.events.model import Event
from tocsin.server.api.tail import stream
from tocsin.server.feed import Feed
from tocsin.server.history import Filter
from tocsin.store.engine import Store
from tocsin.store.log import append


@asynccontextmanager
async def tail(api: Api, query: str = "", last: str | None = None) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
    """Messages as (id, event name), from a connection that is open when this is entered."""
    headers = {"last-event-id": last} if last is not None else {}
    async with api.http.get(f"{api.url}/api/events/tail{query}", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")

        async def messages() -> AsyncIterator[tuple[str, str]]:
            number = ""
            async for line in answer.content:
                if line.startswith(b"id: "):
                    number = line[4:].decode().strip()
                elif line.startswith(b"data: "):
                    yield number, json.loads(line[6:])["event"]

        yield messages()


async def take(messages: AsyncIterator[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    async with asyncio.timeout(60):
        return [await anext(messages) for _ in range(count)]


async def post(api: Api, *names: str) -> None:
    assert (await api.post("/api/events", json=[{"event": name, "resource": ORDERS} for name in names])).status == 201


async def test_a_tail_shows_what_happens_from_now_on(api: Api) -> None:
    await post(api, "old")
    async with tail(api) as messages:
        await post(api, "a", "b")
        await post(api, "c")
        assert [name for _, name in await take(messages, 3)] == ["a", "b", "c"]


async def test_a_reconnect_goes_on_behind_the_last_id(api: Api) -> None:
    async with tail(api) as messages:
        await post(api, "a", "b", "c")
        (_, _), (last, _) = await take(messages, 2)
    await post(api, "d")
    async with tail(api, last=last) as messages:
        await post(api, "e")
        assert [name for _, name in await take(messages, 3)] == ["c", "d", "e"]


async def test_a_late_reader_catches_up_beside_one_that_is_there(api: Api) -> None:
    async with tail(api, last="0") as first:
        await post(api, *(f"e.{number}" for number in range(900)))
        async with tail(api, last="0") as second:
            await post(api, *(f"e.{number}" for number in range(900, 1200)))
            expected = [f"e.{number}" for number in range(1200)]
            assert [name for _, name in await take(second, 1200)] == expected
            assert [name for _, name in await take(first, 1200)] == expected


async def test_a_tail_shows_only_what_its_filter_wants(sqlite_api: Api) -> None:
    async with tail(sqlite_api, "?name=orders.*") as messages:
        await post(sqlite_api, "orders.a", "stock.a", "orders.b")
        assert [name for _, name in await take(messages, 2)] == ["orders.a", "orders.b"]


async def test_an_id_that_is_none_is_refused(sqlite_api: Api) -> None:
    answer = await sqlite_api.get("/api/events/tail", headers={"last-event-id": "x"})
    assert (answer.status, "Last-Event-ID" in answer.json()["detail"]) == (422, True)


@pytest.fixture
async def feed(store: Store) -> AsyncIterator[Feed]:
    opened = Feed(store)
    serving = asyncio.create_task(opened.serve())
    yield opened
    opened.close()
    await serving


def emit(store: Store, count: int) -> None:
    with store.begin() as session:
        append(session, [Event(event="a", resource=ORDERS) for _ in range(count)])


async def test_a_reader_too_slow_is_told_how_many_it_missed(store: Store, feed: Feed) -> None:
    reader = feed.join(0, size=10)
    assert reader is not None
    with reader:
        emit(store, 25)
        while feed.position < 25:
            await asyncio.sleep(0.01)
        entries, dropped = await reader.take(timedelta(seconds=60))
        assert ([entry.seq for entry in entries], dropped) == (list(range(1, 11)), 15)
        emit(store, 1)
        entries, dropped = await reader.take(timedelta(seconds=60))
        assert ([entry.seq for entry in entries], dropped) == ([26], 0)


async def test_a_quiet_stream_says_that_it_is_there(store: Store, feed: Feed) -> None:
    async with aclosing(stream(feed, Filter(), 0, timedelta(milliseconds=1))) as parts:
        assert [await anext(parts) for _ in range(3)] == [b": tocsin\n\n", b": still here\n\n", b": still here\n\n"]


async def test_nobody_reads_nothing_is_kept(store: Store, feed: Feed) -> None:
    reader = feed.join(0)
    assert reader is not None
    with reader:
        emit(store, 3)
        assert len((await reader.take(timedelta(seconds=60)))[0]) == 3
    emit(store, 3)
    again = feed.join(6)
    assert again is not None
    with again:
        emit(store, 1)
        assert [entry.seq for entry in (await again.take(timedelta(seconds=60)))[0]] == [7]

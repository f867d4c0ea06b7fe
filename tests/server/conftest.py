"""A real server on a free port of this machine, and a client for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tocsin.server.settings import Settings

if TYPE_CHECKING:
    from tocsin.store.engine import Store

ORDERS = {"tocsin.resource.id": "orders"}


@dataclass(frozen=True)
class Answer:
    """What a request was answered with."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        import json

        return json.loads(self.body)


@dataclass(frozen=True)
class Api:
    """A running server."""

    url: str
    http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self.http.request(method, self.url + path, **options) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, headers, await answer.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.ask("POST", path, **options)


@asynccontextmanager
async def serving(store: Store, settings: Settings) -> AsyncIterator[Api]:
    from tocsin.events.clock import SystemClock
    from tocsin.server.http import address, listen, serve_http
    from tocsin.server.wiring import Parts, open_bus

    stop = asyncio.Event()
    listener = listen(settings)
    parts = Parts(settings, store, open_bus(settings, store), SystemClock())
    serve = asyncio.create_task(serve_http(parts, stop, listener))
    async with aiohttp.ClientSession() as http:
        yield Api(address(listener), http)
    stop.set()
    await serve


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Api]:
    """A server without a key, once on SQLite and once on PostgreSQL."""
    async with serving(store, Settings(port=0)) as running:
        yield running


@pytest.fixture
async def sqlite_api(sqlite_url: str) -> AsyncIterator[Api]:
    """A server without a key, on SQLite."""
    from tocsin.store.engine import Store

    store = Store.open(sqlite_url)
    async with serving(store, Settings(port=0)) as running:
        yield running
    store.close()

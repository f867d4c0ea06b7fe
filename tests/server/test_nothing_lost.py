"""16,000 events as fast as HTTP takes them: each is stored and evaluated, or refused with 429. Others lose a third."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen
from uuid import UUID, uuid4

import pytest
from sqlmodel import func, select

from tests.ports import free_port
from tests.server.conftest import ORDERS, serving
from tocsin.automations import Automation, DoNothing
from tocsin.automations.store import apply
from tocsin.automations.tables import StoredFiring
from tocsin.events.topics import EXTERNAL
from tocsin.server.settings import Settings
from tocsin.store.engine import Store
from tocsin.store.positions import offsets
from tocsin.store.tables import LogEntry
from tocsin.triggers import EventTrigger

RESOURCES = 2_000
EACH = 8
CONNECTIONS = 128
SOON_S = 90.0


def every_eighth() -> Automation:
    """Fires once for a resource when, and only when, all of its eight events were evaluated."""
    trigger = EventTrigger(
        expect=["load.posted"], for_each=["tocsin.resource.id"], threshold=EACH, within=timedelta(hours=1)
    )
    return Automation(name="all-eight", trigger=trigger, actions=[DoNothing()])


class Client:
    """Posts events over a few connections that stay open, each as soon as the one before is answered."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers: dict[UUID, int] = {}

    async def post_all(self, events: list[dict[str, object]]) -> None:
        rest = iter(events)
        outcomes = await asyncio.gather(*(self._connection(rest) for _ in range(CONNECTIONS)), return_exceptions=True)
        if broken := [outcome for outcome in outcomes if outcome is not None]:
            raise ExceptionGroup("connections broke", [error for error in broken if isinstance(error, Exception)])

    async def _connection(self, events: Iterator[dict[str, object]]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for event in events:
                body = json.dumps(event).encode()
                head = "POST /api/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                self.answers[UUID(str(event["id"]))] = int(answer[9:12])
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def ids(self, status: int) -> set[UUID]:
        return {event for event, answered in self.answers.items() if answered == status}


@asynccontextmanager
async def processes(environment: dict[str, str], *roles: str) -> AsyncIterator[None]:
    """One process a role; each must end in order."""
    command = [sys.executable, "-m", "tocsin.server"]
    started = [subprocess.Popen([*command, role], env=os.environ | environment) for role in roles]
    try:
        yield
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        ended = [await asyncio.to_thread(process.wait, 60) for process in started]
    assert ended == [0] * len(roles)


async def ready(url: str) -> None:
    async with asyncio.timeout(SOON_S):
        while not await asyncio.to_thread(answers, url):
            await asyncio.sleep(0.05)


def answers(url: str) -> bool:
    try:
        return bool(urlopen(f"{url}/api/ready", timeout=30).status == 200)
    except OSError:
        return False


async def evaluated(store: Store) -> None:
    """Return when the automations have read the log to its end."""
    last = await store.look(
        lambda session: session.exec(select(func.max(LogEntry.seq)).where(LogEntry.topic == EXTERNAL)).one()
    )
    assert last is not None
    async with asyncio.timeout(SOON_S):
        while await store.look(lambda session: offsets(session, "automations").get(("log", 0), 0)) <= last:
            await asyncio.sleep(0.1)


def flood() -> list[dict[str, object]]:
    """Every resource's events, interleaved."""
    resources = [{"tocsin.resource.id": f"resource.{number}"} for number in range(RESOURCES)]
    rounds = [resource for _ in range(EACH) for resource in resources]
    return [{"id": str(uuid4()), "event": "load.posted", "resource": resource} for resource in rounds]


@pytest.mark.timeout(240)
async def test_of_16000_posted_events_each_is_stored_and_evaluated_or_refused(sqlite_url: str, tmp_path: Path) -> None:
    store = Store.open(sqlite_url)
    with store.begin() as session:
        apply(session, [every_eighth()], datetime.now(UTC))
    port = free_port()
    environment = {"TOCSIN_DATABASE_URL": sqlite_url, "TOCSIN_PORT": str(port), "TOCSIN_LOG_LEVEL": "WARNING"}
    events = flood()
    assert len(events) == 16_000
    client = Client(port)
    async with processes(environment, "server", "processor"):
        await ready(f"http://127.0.0.1:{port}")
        await client.post_all(events)
        await evaluated(store)
    assert Counter(client.answers.values()).keys() <= {201, 429}
    with store.read() as session:
        stored = set(session.exec(select(LogEntry.id).where(LogEntry.topic == EXTERNAL)))
        fired = sorted(key for (key,) in session.exec(select(StoredFiring.key)))
    taken = client.ids(201)
    assert stored == taken
    whole = Counter(str(event["resource"]["tocsin.resource.id"]) for event in events if UUID(str(event["id"])) in taken)  # type: ignore[index]
    assert fired == sorted(resource for resource, count in whole.items() if count == EACH)
    store.close()


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
async def test_what_was_answered_is_stored_however_the_server_ends(sqlite_url: str, number: signal.Signals) -> None:
    store = Store.open(sqlite_url)
    port = free_port()
    environment = {"TOCSIN_DATABASE_URL": sqlite_url, "TOCSIN_PORT": str(port), "TOCSIN_LOG_LEVEL": "WARNING"}
    server = subprocess.Popen([sys.executable, "-m", "tocsin.server", "server"], env=os.environ | environment)
    await ready(f"http://127.0.0.1:{port}")
    client = Client(port)
    posting = asyncio.create_task(client.post_all(flood()))
    async with asyncio.timeout(SOON_S):
        while len(client.answers) < 1_000:
            await asyncio.sleep(0.001)
    server.send_signal(number)
    assert await asyncio.to_thread(server.wait, 60) == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    await asyncio.gather(posting, return_exceptions=True)
    with store.read() as session:
        stored = set(session.exec(select(LogEntry.id)))
    assert 1_000 <= len(client.ids(201)) < 16_000
    assert client.ids(201) <= stored
    store.close()


async def test_a_full_intake_answers_429_and_what_it_took_is_stored(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    async with serving(store, Settings(port=0)) as api:
        batch = [{"event": "a", "resource": ORDERS}] * 1_000
        held = store.begin()
        held.__enter__()  # the writer's place is taken: nothing can be stored
        posts = [asyncio.create_task(api.post("/api/events", json=batch)) for _ in range(16)]
        async with asyncio.timeout(SOON_S):
            while (await api.get("/api/ready")).status == 200 or sum(post.done() for post in posts) < 6:
                await asyncio.sleep(0.01)
        held.__exit__(None, None, None)
        found = [await post for post in posts]
        refused = [answer for answer in found if answer.status == 429]
        assert Counter(answer.status for answer in found) == {201: 10, 429: 6}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert "send these again" in refused[0].json()["detail"]
        with store.read() as session:
            assert session.exec(select(func.count()).select_from(LogEntry)).one() == 10_000
    store.close()

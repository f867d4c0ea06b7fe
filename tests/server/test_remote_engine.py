"""Runs of a process that has no database: written down by the server, once, whatever happens to the line."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr
from sqlmodel import select

from tests.ports import free_port
from tests.server.conftest import Api, serving
from tocsin.events import codec
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import uuid7
from tocsin.flows import posts
from tocsin.flows.flow_requests import FindRun
from tocsin.flows.line import Line
from tocsin.flows.posts import Post
from tocsin.flows.remote import RemoteBook
from tocsin.flows.tables import FlowRun, LogLine, TaskRun
from tocsin.server.settings import Settings
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry

PROGRAM = """
import sys
from tocsin.flows import flow, get_run_logger, task
from tocsin.flows.cache_policies import INPUTS

@task(retries=1)
def work(number):
    get_run_logger().info("line %s", number)
    if number == 3 and not tried:
        tried.append(1)
        raise ValueError("once")
    return number

@task(cache_policy=INPUTS)
def cached(number):
    return number * 2

@flow
def inner(number):
    return work(number)

@flow(retries=1)
def outer(count):
    done = [work(number) for number in range(count)]
    done += work.map(range(count)).result()
    assert cached(1) == cached(1) == 2
    assert inner(7) == 7
    if not failed:
        failed.append(1)
        raise ValueError("the flow is tried again")
    return sum(done)

tried, failed = [], []
print(outer(int(sys.argv[1])))
"""


async def played(url: str, home: Path, count: int) -> str:
    """What the program prints that runs against the server."""
    environment = os.environ | {"TOCSIN_API_URL": url, "TOCSIN_HOME": str(home)}
    command = (sys.executable, "-c", PROGRAM, str(count))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode().strip()


def as_it_should_be(store: Store, count: int) -> None:
    """Each task run is there once, each change of it is one event, and no line is missing or doubled."""
    with store.read() as session:
        tasks = session.exec(select(TaskRun)).all()
        runs = session.exec(select(FlowRun)).all()
        lines = Counter(line.message for line in session.exec(select(LogLine)))
        events = [codec.decode(entry.body) for entry in session.exec(select(LogEntry))]
    assert {run.flow_name: run.state_name for run in runs} == {"outer": "Completed", "inner": "Completed"}
    assert {task.state_name for task in tasks} <= {"Completed", "Cached"}
    assert len(tasks) == 2 * count + 3
    expected = Counter({f"line {number}": 2 for number in range(count)})
    expected.update(["line 3", "line 7"])
    assert lines == expected
    told = Counter(event.resource["tocsin.resource.id"].rpartition(".")[2] for event in events)
    assert told == {str(task.id): task.version for task in tasks} | {str(run.id): run.version for run in runs}


async def test_a_program_without_a_database_is_written_down_by_the_server(store: Store, tmp_path: Path) -> None:
    async with serving(store, Settings(port=0)) as api:
        assert await played(api.url, tmp_path / "far", 20) == str(2 * sum(range(20)))
    as_it_should_be(store, 20)
    assert not (tmp_path / "far" / "tocsin.db").exists()


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_line_that_breaks_at_every_point_loses_and_doubles_nothing(
    sqlite_url: str, tmp_path: Path, seed: int
) -> None:
    store = Store.open(sqlite_url)
    async with serving(store, Settings(port=0)) as api, breaking(api, random.Random(seed)) as (url, broken):
        assert await played(url, tmp_path / "far", 15) == str(2 * sum(range(15)))
    assert len(broken) > 5
    as_it_should_be(store, 15)
    store.close()


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
async def test_a_server_that_is_restarted_in_the_middle_loses_and_doubles_nothing(
    store_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port()
    environment = os.environ | {"TOCSIN_DATABASE_URL": store_url, "TOCSIN_PORT": str(port)}
    store = Store.open(store_url)
    running = asyncio.create_task(played(f"http://127.0.0.1:{port}", tmp_path / "far", 100))
    deaths = 0
    while not running.done():
        with subprocess.Popen([sys.executable, "-m", "tocsin.server", "server"], env=environment) as server:
            await answering(port)
            await asyncio.wait([running], timeout=random.uniform(0.6, 1.5))
            server.send_signal(number)
            deaths += 1
    assert await running == str(2 * sum(range(100)))
    assert deaths > 1
    as_it_should_be(store, 100)
    store.close()


def test_every_request_of_the_engine_may_come_from_far_away() -> None:
    """Their names in JSON are unlike, and none was forgotten in the list of their modules."""
    room = Path(posts.__file__).parent
    told = {f"{kind.__module__}.{kind.__name__}" for kind in posts.kinds()}
    for file in room.rglob("*.py"):
        module = ".".join(("tocsin.flows", *file.relative_to(room).with_suffix("").parts))
        for text in file.read_text().splitlines():
            if text.startswith("class ") and "(Request" in text:
                assert f"{module}.{text.split('(')[0].removeprefix('class ')}" in told
    kinds = {kind.__name__: kind for kind in posts.kinds()}
    names = Counter(kind.__name__ for kind in posts.kinds())
    assert [name for name, count in names.items() if count > 1] == []
    untyped = [kind.__name__ for kind in posts.kinds() if kind.answer is Any]
    assert [name for name in untyped if signature(kinds[name].perform).return_annotation is not None] == []


async def test_what_the_server_refuses_is_raised_as_it_was_there(sqlite_api: Api) -> None:
    book = RemoteBook(sqlite_api.url, "", patience_s=5)
    try:
        with pytest.raises(NotFound, match="tocsin run ls"):
            await asyncio.to_thread(book.ask, FindRun(run_id=uuid7()))
    finally:
        await asyncio.to_thread(book.close)
    line = Line(sqlite_api.url, "", "/api/engine")
    odd = msgspec.json.encode(Post(uuid7(), request=msgspec.Raw(b'{"type": "Unheard"}')))
    with pytest.raises(Invalid, match="one version"):
        await asyncio.to_thread(line.post, "posts", odd, 1.0)
    await asyncio.to_thread(line.close)


async def test_a_key_is_asked_for(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    settings = Settings(port=0, api_key=SecretStr("k" * 32))
    async with serving(store, settings) as api:
        line = Line(api.url, "", "/api/engine")
        with pytest.raises(Invalid, match="TOCSIN_API_KEY"):
            await asyncio.to_thread(line.post, "beat", b"{}", 1.0)
        await asyncio.to_thread(line.close)
    store.close()


async def answering(port: int) -> None:
    """Return when somebody listens at the port."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return


@asynccontextmanager
async def breaking(api: Api, chance: random.Random) -> AsyncIterator[tuple[str, list[str]]]:
    """A way to the server that breaks now and then: before the question has gone through, or before the answer has."""
    host, port = api.url.removeprefix("http://").split(":")
    broken: list[str] = []
    talks: set[asyncio.Task[None]] = set()

    def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.create_task(connected(reader, writer)))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                fate = chance.random()
                if fate < 0.1:
                    broken.append("question")
                    return
                back.write(head + body)
                answer = await there.readuntil(b"\r\n\r\n")
                answer += await there.readexactly(int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
                if fate < 0.3:
                    broken.append("answer")
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            for end in (writer, back):
                end.close()
                await end.wait_closed()

    server = await asyncio.start_server(called, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", broken
    await asyncio.gather(*talks, return_exceptions=True)

"""How many posts to a hook the server takes: Standard Webhooks signatures checked, mapped, durable before the answer.

    python bench/hooks.py [--posts 8000] [--connections 64] [--rounds 3]

A real server (`tocsin server`) in a process of its own, on an SQLite file and on PostgreSQL (fsync on); another process
posts, each body under its own id and signature, made before the clock runs; an answer other than 200 with an id ends
the bench. Floors of the same run: `http` is the same HTTP server (uvicorn, h11) with an application that reads the
body and answers as long a text; `json` is the API's own `POST /api/events` with the same events, which checks no
signature and maps nothing. `cpu_us` is the server's processor time a post. JSON on the standard output.
"""

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvicorn
from sqlmodel import func, select
from standardwebhooks import Webhook
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.ports import free_port
from tests.postgres.cluster import Cluster
from tocsin.events.topics import EXTERNAL
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers.hook import hook_from
from tocsin.triggers.hooks import put_hook

SECRET = "whsec_" + base64.b64encode(b"a secret of the bench, 32 bytes!").decode()
HOOK = {
    "name": "bench",
    "verify": {"kind": "standard-webhooks", "secret": SECRET},
    "mapping": {
        "event": "join('.', ['orders', body.kind])",
        "resource": {"tocsin.resource.id": "body.order.id", "region": "body.order.region"},
        "occurred": "body.at",
    },
    "per_minute": 100_000,
}
TICKS = os.sysconf("SC_CLK_TCK")

# Any, in this file: figures on their way to JSON.


def body(number: int) -> dict[str, Any]:
    """What a shop may post, about 300 bytes."""
    order = {"id": f"order-{number % 5_000}", "region": "eu", "lines": [{"sku": f"s{number % 97}", "count": 2}]}
    return {"kind": "loaded", "order": order, "at": datetime.now(UTC).isoformat(), "note": "x" * 120}


def request(path: str, sent: bytes, *headers: str) -> bytes:
    """A request as it goes over the wire."""
    lines = (f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", *headers)
    return "\r\n".join([*lines, f"content-length: {len(sent)}", "", ""]).encode() + sent


def to_hook(number: int) -> bytes:
    """A signed post under an id of its own."""
    now, own, sent = datetime.now(UTC), f"msg_{uuid4().hex}", json.dumps(body(number))
    signature = Webhook(SECRET).sign(own, now, sent)
    stamp = f"webhook-timestamp: {int(now.timestamp())}"
    return request("/api/hooks/bench", sent.encode(), f"webhook-id: {own}", stamp, f"webhook-signature: {signature}")


def to_events(number: int) -> bytes:
    """The event that the hook makes of it, posted as such."""
    found = body(number)
    event = {
        "id": str(uuid4()),
        "event": "orders.loaded",
        "occurred": found["at"],
        "resource": {"tocsin.resource.id": found["order"]["id"], "region": "eu"},
        "payload": found,
    }
    return request("/api/events", json.dumps(event).encode())


async def talk(port: int, requests: Iterator[bytes], begun: asyncio.Event) -> None:
    """One connection that posts what is left, one request after another. Raises when an answer is not well."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await begun.wait()
    for each in requests:
        writer.write(each)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        said = await reader.readexactly(length)
        if head[9:12] not in (b"200", b"201") or b"-" not in said:
            raise RuntimeError(f"{head.decode()}{said.decode()}")
    writer.close()


async def posted(port: int, requests: Sequence[bytes], connections: int) -> float:
    """Seconds until all are answered."""
    begun, left = asyncio.Event(), iter(requests)
    talks = [asyncio.create_task(talk(port, left, begun)) for _ in range(connections)]
    await asyncio.sleep(0.5)  # connecting is not counted
    start = time.perf_counter()
    begun.set()
    await asyncio.gather(*talks)
    return time.perf_counter() - start


async def bare(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """The least that an application does with a post."""
    while (await receive()).get("more_body"):
        continue
    said = b'{"id":"0197c1f2-8a34-7cc1-9f6e-4f3f7c1d2a10"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": said, "more_body": False})


def serve_bare(port: int) -> None:
    """The floor's server, until killed."""
    uvicorn.run(bare, port=port, http="h11", access_log=False, log_level="warning", lifespan="off")


@contextmanager
def floor_server() -> Iterator[tuple[int, int]]:
    """Port and process id of the floor's server."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve_bare, args=(port,))
    process.start()
    try:
        yield port, process.pid or 0
    finally:
        process.kill()
        process.join()


@contextmanager
def server(url: str, home: str) -> Iterator[tuple[int, int]]:
    """Port and process id of a server on a database that has the hook."""
    port = free_port()
    own = {"TOCSIN_DATABASE_URL": url, "TOCSIN_HOME": home, "TOCSIN_PORT": str(port), "TOCSIN_LOG_LEVEL": "ERROR"}
    process = subprocess.Popen([sys.executable, "-m", "tocsin.server", "server"], env=os.environ | own)
    try:
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


async def answers(port: int) -> None:
    """Wait until somebody listens."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def cpu_s(process: int) -> float:
    """Processor time of a process and what it waited for."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def figures(where: tuple[int, int], make: Any, given: argparse.Namespace) -> dict[str, Any]:
    """The medians over the rounds, after one that is not counted."""
    port, process = where
    await answers(port)
    await posted(port, [make(number) for number in range(500)], given.connections)
    walls, cpus = [], []
    for _ in range(given.rounds):
        requests = [make(number) for number in range(given.posts)]
        before = cpu_s(process)
        walls.append(await posted(port, requests, given.connections) / given.posts)
        cpus.append((cpu_s(process) - before) / given.posts)
    return {"per_s": round(1 / statistics.median(walls)), "cpu_us": round(statistics.median(cpus) * 1e6)}


async def on(url: str, home: str, given: argparse.Namespace) -> dict[str, Any]:
    """Hook and API on one database; every post has to be in the log in the end."""
    os.environ["TOCSIN_HOME"] = home  # where the key is that seals the hook's secret
    store = Store.open(url, create=True)
    with store.begin() as session:
        put_hook(session, hook_from(HOOK), datetime.now(UTC))
    with server(url, home) as where:
        found = {"hook": await figures(where, to_hook, given), "json": await figures(where, to_events, given)}
    with store.read() as session:
        kept = session.exec(select(func.count()).where(LogEntry.topic == EXTERNAL)).one()
    store.close()
    if kept != 2 * (500 + given.rounds * given.posts):
        raise RuntimeError(f"{kept} events in the log")
    return found


async def run(given: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    with floor_server() as where:
        floor = await figures(where, to_hook, given)
    with tempfile.TemporaryDirectory() as home:
        sqlite = await on(f"sqlite:///{home}/bench.db", home, given)
    cluster = Cluster(settings=())
    cluster.start()
    try:
        with tempfile.TemporaryDirectory() as home:
            postgresql = await on(cluster.create(), home, given)
    finally:
        cluster.stop()
    found: dict[str, Any] = {"posts": given.posts, "bytes": len(to_hook(1)), "http": floor}
    for name, rates in (("sqlite", sqlite), ("postgresql", postgresql)):
        of_http = round(rates["hook"]["per_s"] / floor["per_s"], 2)
        of_json = round(rates["hook"]["per_s"] / rates["json"]["per_s"], 2)
        found[name] = {**rates, "of_http": of_http, "of_json": of_json}
    return {**found, "load": round(os.getloadavg()[0], 1), "python": sys.version.split()[0]}


def main() -> None:
    """Read the arguments, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=8_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    print(json.dumps(asyncio.run(run(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()

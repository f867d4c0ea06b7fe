"""Emit → action performed: how long until a webhook that an automation calls has arrived.

The real parts in one process: the log on SQLite as the bus, the embedded host, the performer with its HTTP door. The
emitter (`emit_event`) and the receiver (http.server) are processes of their own. Clocks: CLOCK_MONOTONIC, which all
processes of a machine share.

    python bench/latency.py [--samples 200] [--spacing 0.1] [--burst 200]
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import random
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tocsin.automations import Automation, CallWebhook
from tocsin.automations.host import Host
from tocsin.automations.perform import Performer
from tocsin.automations.store import apply
from tocsin.events import emit_event
from tocsin.store.engine import Store
from tocsin.store.logbus import LogBus
from tocsin.triggers import EventTrigger

TIMEOUT_S = 60.0


class Receiver(BaseHTTPRequestHandler):
    """Notes when each numbered call arrived."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    arrived: dict[int, int] = {}  # noqa: RUF012  (one for all requests, on purpose)

    def do_POST(self) -> None:
        """Note the time, then answer."""
        now = time.monotonic_ns()
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.arrived.setdefault(body["n"], now)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's name)
        """Be quiet."""


class Server(ThreadingHTTPServer):
    """Takes a burst of connections; with http.server's backlog of 5 the kernel drops some for a second."""

    request_queue_size = 128


def receive(pipe: Connection) -> None:
    """A process: serve, and hand over what has arrived whenever asked."""
    server = Server(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(server.server_port)
    while pipe.recv() == "arrived":
        pipe.send(dict(Receiver.arrived))


def emit(pipe: Connection) -> None:
    """A process: emit events `first` to `first + count - 1`, `spacing` seconds apart; answer with the times."""
    emit_event("bench.warm-up", resource={"tocsin.resource.id": "bench"})
    pipe.send("ready")
    while (order := pipe.recv()) is not None:
        first, count, spacing = order
        emitted = {}
        for number in range(first, first + count):
            emitted[number] = time.monotonic_ns()
            emit_event("bench.sample", resource={"tocsin.resource.id": f"bench.{number}"}, payload={"n": number})
            time.sleep(spacing * random.uniform(0.5, 1.5))
        pipe.send(emitted)


async def run(samples: int, spacing: float, burst: int) -> dict[str, Any]:
    """All measurements, as a JSON object."""
    context = multiprocessing.get_context("spawn")
    receiver, theirs = context.Pipe()
    context.Process(target=receive, args=(theirs,), daemon=True).start()
    port = await asyncio.to_thread(receiver.recv)
    store = Store.open()
    with store.begin() as session:
        apply(session, [bench_automation(port)], datetime.now(UTC))
    stop = asyncio.Event()
    roles = [
        asyncio.create_task(Host(store, LogBus(store)).serve(stop)),
        asyncio.create_task(Performer(store).serve(stop)),
    ]
    emitter, theirs = context.Pipe()
    context.Process(target=emit, args=(theirs,), daemon=True).start()
    await asyncio.to_thread(emitter.recv)
    await measure(emitter, receiver, 0, 20, 0.05)  # connections, caches, imports
    quiet = await measure(emitter, receiver, 1_000, samples, spacing)
    heap = await measure(emitter, receiver, 10_000, burst, 0.0)
    stop.set()
    emitter.send(None)
    receiver.send("end")
    await asyncio.gather(*roles)
    store.close()
    return {"quiet": summary(quiet), "burst": {**summary(heap), "done_within_s": round(spread(heap), 3)}}


def bench_automation(port: int) -> Automation:
    """Calls the receiver with the event's number."""
    url = f"http://127.0.0.1:{port}/"
    action = CallWebhook(url=url, payload={"n": "{{ event.payload.n }}"}, allow_private=[f"127.0.0.1:{port}"])
    return Automation(name="bench", trigger=EventTrigger(expect=["bench.sample"]), actions=[action])


async def measure(
    emitter: Connection, receiver: Connection, first: int, count: int, spacing: float
) -> dict[int, tuple[int, int]]:
    """For each event when it was emitted and when its call arrived, in nanoseconds."""
    emitter.send((first, count, spacing))
    emitted: dict[int, int] = await asyncio.to_thread(emitter.recv)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        receiver.send("arrived")
        arrived: dict[int, int] = await asyncio.to_thread(receiver.recv)
        if emitted.keys() <= arrived.keys():
            return {number: (emitted[number], arrived[number]) for number in emitted}
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(emitted.keys() - arrived.keys())} of {count} calls never arrived")
        await asyncio.sleep(0.05)


def summary(found: dict[int, tuple[int, int]]) -> dict[str, Any]:
    """Latencies in milliseconds."""
    latencies = sorted((there - here) / 1e6 for here, there in found.values())
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    figures = {"p50_ms": cuts[49], "p90_ms": cuts[89], "p99_ms": cuts[98], "max_ms": latencies[-1]}
    return {"events": len(latencies), **{name: round(value, 2) for name, value in figures.items()}}


def spread(found: dict[int, tuple[int, int]]) -> float:
    """Seconds from the first emit to the last arrival."""
    return (max(there for _, there in found.values()) - min(here for here, _ in found.values())) / 1e9


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--spacing", type=float, default=0.1)
    parser.add_argument("--burst", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TOCSIN_HOME"] = folder
        os.environ["TOCSIN_DATABASE_URL"] = f"sqlite:///{Path(folder) / 'tocsin.db'}"
        figures = asyncio.run(run(given.samples, given.spacing, given.burst))
    load = [round(part, 2) for part in os.getloadavg()]
    machine = {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version(), "load": load}
    print(json.dumps({"bench": "latency", "machine": machine, **figures}, indent=2))


if __name__ == "__main__":
    main()

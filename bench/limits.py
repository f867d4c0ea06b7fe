"""How soon a freed slot is taken by another process, and what a limit costs a task.

`handover`: two processes pass one slot to and fro, each holds it for 20 ms while the other waits; the delay is from the
holder leaving its block to the waiter being inside its own. `floor`: one process commits a small change and rings, the
other one hears it: by LISTEN and NOTIFY on PostgreSQL, by the probe of every 10 ms on SQLite. `crowd`: handovers a
second when eight processes want one slot and do nothing with it, and the longest that one of them waited. `task_us`: a
task in sequence without a limit, and under one that nobody else wants.

    python bench/limits.py [--rounds 300] [--tasks 500] [--only sqlite postgresql]
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.postgres.cluster import Cluster
from tocsin.flows import flow, ledger, task
from tocsin.flows.beat import TTL
from tocsin.flows.concurrency import concurrency
from tocsin.flows.limits import set_limits
from tocsin.store.bell import bell, ring
from tocsin.store.engine import Store
from tocsin.store.leases import acquire

HOLD_S = 0.02
CROWD, CROWD_S = 8, 5.0
SPAWN = multiprocessing.get_context("spawn")
Figures = dict[str, Any]  # Any: numbers and objects of numbers, for JSON
Span = tuple[float, float]


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--only", nargs="*", default=["sqlite", "postgresql"])
    asked = parser.parse_args()
    figures: Figures = {"python": platform.python_version(), "cores": os.cpu_count()}
    for kind in asked.only:
        with database(kind) as url:
            figures[kind] = measured(url, asked.rounds, asked.tasks)
    print(json.dumps(figures))


@contextmanager
def database(kind: str) -> Iterator[str]:
    """The address of a new database with every table."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            url = f"sqlite:///{folder}/tocsin.db"
            Store.open(url).close()
            yield url
            return
        cluster = Cluster(settings=())
        cluster.start()
        try:
            url = cluster.create()
            Store.open(url, create=True).close()
            yield url
        finally:
            cluster.stop()


def measured(url: str, rounds: int, tasks: int) -> Figures:
    """All figures on one database."""
    os.environ["TOCSIN_DATABASE_URL"] = url
    set_limits({"global:one": 1, "limited": 1})
    spans = [span for found in crew(holder, url, 2, rounds) for span in found]
    crowd = crew(crowded, url, CROWD, 0)
    figures = {
        "handover_ms": percentiles(handovers(sorted(spans))),
        "floor_ms": percentiles(rings(url, rounds)),
        "crowd": {
            "per_s": round(sum(count for _, count in crowd) / CROWD_S),
            "each": sorted(count for _, count in crowd),
            "longest_ms": round(max(longest for longest, _ in crowd) * 1000, 1),
        },
        "task_us": costs(tasks),
    }
    ledger.close()
    return figures


def crew(work: Callable[..., None], url: str, count: int, rounds: int) -> list[Any]:  # Any: what the work sends
    """What so many processes have to say when they have done their work, begun at the same time."""
    lines = []
    for _ in range(count):
        near, far = SPAWN.Pipe()
        process = SPAWN.Process(target=work, args=(url, far, rounds), daemon=True)
        process.start()
        lines.append((near, process))
    for near, _ in lines:
        near.recv()
    for near, _ in lines:
        near.send("go")
    told = [near.recv() for near, _ in lines]
    for _, process in lines:
        process.join()
    return told


def holder(url: str, line: Connection, rounds: int) -> None:
    """Hold the slot so many times; tells when it was inside and when it began to leave."""
    spans: list[Span] = []
    ready(url, line)
    for _ in range(rounds):
        with concurrency("one"):
            inside = time.monotonic()
            time.sleep(HOLD_S)
            left = time.monotonic()
        spans.append((inside, left))
    line.send(spans)


def crowded(url: str, line: Connection, rounds: int) -> None:
    """Take the slot and give it back for some seconds; tells the longest wait (s), and how often it had it."""
    longest, count = 0.0, 0
    ready(url, line)
    end = time.monotonic() + CROWD_S
    while (began := time.monotonic()) < end:
        with concurrency("one"):
            longest = max(longest, time.monotonic() - began)
        count += 1
    line.send((longest, count))


def ready(url: str, line: Connection) -> None:
    """Open the book and take the lease before the clock runs."""
    os.environ["TOCSIN_DATABASE_URL"] = url
    assert ledger.current().lease
    line.send("ready")
    line.recv()


def handovers(spans: list[Span]) -> list[float]:
    """Seconds from one leaving to the other being inside, where the other waited; ordered by time."""
    return [after[0] - before[1] for before, after in pairwise(spans)]


def rings(url: str, rounds: int) -> list[float]:
    """Seconds from before a commit that rings until another process has heard it."""
    near, far = SPAWN.Pipe()
    listener = SPAWN.Process(target=listen, args=(url, far, rounds), daemon=True)
    listener.start()
    near.recv()
    store, delays = Store.open(url), []
    for _ in range(rounds):
        time.sleep(HOLD_S)
        before = time.monotonic()
        with store.begin() as session:
            acquire(session, "bench", "bench", datetime.now(UTC), TTL)
            ring(session, "bench")
        heard: float = near.recv()
        delays.append(heard - before)
    store.close()
    listener.join()
    return delays


def listen(url: str, line: Connection, rounds: int) -> None:
    """Tell each time that the bell was heard."""
    store = Store.open(url)
    heard = bell(store, "bench")
    heard.wait(0.1)
    line.send(0.0)
    for _ in range(rounds):
        while not heard.wait(1.0):
            pass
        line.send(time.monotonic())
    heard.close()
    store.close()


@task
def plain() -> None:
    """No limit."""


@task
def limited() -> None:
    """Under a limit."""


@flow
def plain_flow(count: int) -> None:
    """Tasks without a limit."""
    for _ in range(count):
        plain()


@flow
def limited_flow(count: int) -> None:
    """Tasks under one."""
    for _ in range(count):
        limited()


def costs(tasks: int) -> Figures:
    """Microseconds a task."""
    found = {}
    for name, work in (("without", plain_flow), ("under_a_limit", limited_flow)):
        work(20)
        before = time.perf_counter()
        work(tasks)
        found[name] = round((time.perf_counter() - before) / tasks * 1e6)
    return found


def percentiles(delays: list[float]) -> Figures:
    """Milliseconds."""
    ordered = sorted(delays)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    found = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in shares.items()}
    return {name: round(value * 1000, 2) for name, value in found.items()} | {"count": len(ordered)}


if __name__ == "__main__":
    main()

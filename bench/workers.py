"""How long until a run that was asked for is at work, how many a worker carries, and when a death is seen.

For each database (SQLite, PostgreSQL) and type of pool (thread, process): a worker in a process of its own; runs asked
for one at a time, apart by `spacing`; the time until the first line of the flow. For threads also a load of `rate`
runs a second. Then deaths: a run's process, or the worker, is killed while a vigil is kept in this process.
Floor, in the same run: a bare thread, a bare interpreter, and an interpreter that imports what runs a flow.

    python -m bench.workers [--runs 40] [--rate 100] [--seconds 5] [--databases sqlite postgresql]
"""

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import select

from tests.postgres.cluster import find
from tocsin.flows.changes import FLOW_RUN
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.pools import create_pool
from tocsin.flows.runs import create_run, get_run
from tocsin.flows.vigil import Vigil
from tocsin.store.engine import Store

FLOWS = """
import os, time
from tocsin.flows import flow

@flow
def begin() -> int:
    return time.time_ns()

@flow
def hold(mark: str) -> None:
    with open(mark, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(3600)
"""
WORKER = """
import asyncio, sys
from tocsin.flows.worker import Worker
from tocsin.store.engine import Store
asyncio.run(Worker(Store.open(), sys.argv[1], limit=int(sys.argv[2])).serve(asyncio.Event()))
"""
IMPORT = "import tocsin.flows.execute"
PATIENCE_S = 120.0
Figures = dict[str, Any]  # Any: numbers and objects of numbers, for JSON


class Place:
    """A database with the flows deployed on a pool of one type."""

    def __init__(self, url: str, kind: str, folder: Path) -> None:
        self.url, self.kind, self.folder = url, kind, folder
        self.store = Store.open(url, create=True)
        (folder / "flows.py").write_text(FLOWS)
        now = datetime.now(UTC)
        with self.store.begin() as session:
            create_pool(session, kind, kind=kind, now=now)
            for name in ("begin", "hold"):
                where = f"{folder / 'flows.py'}:{name}"
                put_deployment(session, Deployment(name=name, entrypoint=where, flow_name=name, work_pool=kind), now)

    @contextmanager
    def worker(self, limit: int = 32) -> Iterator[subprocess.Popen[bytes]]:
        """A worker of this pool, in a process of its own."""
        environment = {**os.environ, "TOCSIN_DATABASE_URL": self.url, "TOCSIN_HOME": str(self.folder)}
        program = subprocess.Popen([sys.executable, "-c", WORKER, self.kind, str(limit)], env=environment)
        try:
            yield program
        finally:
            program.kill()
            program.wait()

    def ask(self, flow: str, **parameters: str) -> tuple[UUID, int]:
        """A run, and when it was asked for, in nanoseconds."""
        asked = time.time_ns()
        with self.store.begin() as session:
            return create_run(session, flow, parameters=parameters, now=datetime.now(UTC)).id, asked

    def begun(self, asked: dict[UUID, int]) -> list[float]:
        """Milliseconds from asking to the flow's first line, of runs that have completed."""
        statement = select(FLOW_RUN.c.id, FLOW_RUN.c.result).where(FLOW_RUN.c.state_name == "Completed")
        with self.store.read() as session:
            found = {row.id: row.result for row in session.connection().execute(statement)}
        return [(int(found[run]["text"]) - at) / 1e6 for run, at in asked.items() if run in found]


def until(condition: Callable[[], Any], pause_s: float = 0.02) -> float:
    """Seconds until the condition holds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE_S:
            raise SystemExit("waited in vain")
        time.sleep(pause_s)
    return time.monotonic() - began


def starts(place: Place, runs: int, spacing: float) -> Figures:
    """One run at a time."""
    asked: dict[UUID, int] = {}
    with place.worker():
        warm = dict([place.ask("begin")])
        until(lambda: place.begun(warm))
        time.sleep(1.0)
        for _ in range(runs):
            run, at = place.ask("begin")
            asked[run] = at
            time.sleep(spacing * random.uniform(0.5, 1.5))
        until(lambda: len(place.begun(asked)) == runs)
    return {"spacing_s": spacing, **summary(place.begun(asked))}


def load(place: Place, rate: float, seconds: float) -> Figures:
    """So many runs a second, for so many seconds."""
    asked: dict[UUID, int] = {}
    with place.worker() as worker:
        warm = dict([place.ask("begin")])
        until(lambda: place.begun(warm))
        began, used = time.monotonic(), cpu_s(worker.pid)
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            run, at = place.ask("begin")
            asked[run] = at
        offered = len(asked) / (time.monotonic() - began)
        until(lambda: len(place.begun(asked)) == len(asked), 0.05)
        carried = len(asked) / (time.monotonic() - began)
        each = (cpu_s(worker.pid) - used) / len(asked) * 1000
    rates = {"offered_per_s": offered, "carried_per_s": carried, "cpu_ms_a_run": each}
    return {**{name: round(value, 1) for name, value in rates.items()}, **summary(place.begun(asked))}


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used: what counts on a machine that others use, too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def deaths(place: Place, victim: str) -> Figures:
    """Seconds from a kill until the run has crashed."""
    found = []
    for number in range(5):
        mark = place.folder / f"mark-{place.kind}-{victim}-{number}"
        with place.worker(4) as worker, vigil(place.store):
            run, _ = place.ask("hold", mark=str(mark))
            until(lambda mark=mark: mark.exists() and mark.read_text())  # type: ignore[misc]
            until(lambda run=run: state(place, run) == "Running")  # type: ignore[misc]
            os.kill(int(mark.read_text()) if victim == "child" else worker.pid, signal.SIGKILL)
            found.append(until(lambda run=run: state(place, run) == "Crashed", 0.005))  # type: ignore[misc]
    return {"kills": len(found), "median_s": round(statistics.median(found), 3), "max_s": round(max(found), 3)}


def state(place: Place, run: UUID) -> str:
    """The name of a run's state."""
    with place.store.read() as session:
        return get_run(session, run).state_name


@contextmanager
def vigil(store: Store) -> Iterator[None]:
    """A vigil, as a dispatcher keeps it."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(Vigil(store).serve(stop),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def floor(runs: int) -> Figures:
    """What the machine itself needs."""
    program = "import time; print(time.time_ns())"
    return {
        "thread": summary([thread_start() for _ in range(runs)]),
        "interpreter": summary([interpreter(program) for _ in range(runs)]),
        "interpreter_with_imports": summary(
            [interpreter(f"import tocsin.flows.execute; {program}") for _ in range(10)]
        ),
    }


def thread_start() -> float:
    """Milliseconds until a thread is at work."""
    began: list[int] = []
    asked = time.time_ns()
    thread = threading.Thread(target=lambda: began.append(time.time_ns()))
    thread.start()
    thread.join()
    return (began[0] - asked) / 1e6


def interpreter(program: str) -> float:
    """Milliseconds until a new interpreter is at work."""
    asked = time.time_ns()
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return (int(said) - asked) / 1e6


def summary(values: list[float]) -> Figures:
    """Latencies in milliseconds."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    figures = {"p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(values)}
    return {"runs": len(values), **{name: round(value, 2) for name, value in figures.items()}}


def measured(database: str, kind: str, options: argparse.Namespace) -> Figures:
    """All figures of one database and type of pool."""
    with tempfile.TemporaryDirectory() as folder, url_of(database, folder) as url:
        os.environ["TOCSIN_HOME"] = folder
        place = Place(url, kind, Path(folder))
        figures: Figures = {"starts": starts(place, options.runs, 0.1 if kind == "thread" else 0.5)}
        if kind == "thread":
            figures["load"] = load(place, options.rate, options.seconds)
        else:
            figures["child_killed"] = deaths(place, "child")
        figures["worker_killed"] = deaths(place, "worker")
        place.store.close()
    return figures


@contextmanager
def url_of(database: str, folder: str) -> Iterator[str]:
    """An empty database."""
    if database == "sqlite":
        yield f"sqlite:///{folder}/tocsin.db"
        return
    server = find()
    url = server.create()
    try:
        yield url
    finally:
        server.drop(url)
        server.stop()


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--types", nargs="+", default=["thread", "process"])
    options = parser.parse_args()
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
    figures: Figures = {"machine": machine, "floor": floor(options.runs)}
    for database in options.databases:
        figures[database] = {kind: measured(database, kind, options) for kind in options.types}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

"""What a task and a flow run cost: every state recorded, durable on SQLite, beside two floors of the same run.

`bare_commit_us` is one sqlite3 commit of the same number of bytes (WAL, synchronous NORMAL) without us; `pool_us` one
no-op through a ThreadPoolExecutor. `of_commit` is our task divided by the bare commit; `…_cpu_us` is what the
process itself spends, whoever else uses the machine. A cold start is a new process with a fresh TOCSIN_HOME, from
`python -c` until its first flow has ended: interpreter, imports, new database, run.

    python bench/tasks.py [--rounds 5] [--tasks 1000] [--prefect | --prefect-python PATH]

Prefect 3 is measured in an environment of its own: `--prefect` makes one with pip under the user's cache folder,
`--prefect-python` names the Python of one that is there. `times_prefect` is its figure divided by ours;
`nothing_kept` is ours with `TOCSIN_DATABASE_URL=memory:`.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench._tasks_others import delayed, environment, prefect

Figures = dict[str, Any]  # Any: numbers and objects of numbers, for JSON

RUNS = 100
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tocsin-bench"
COLD = "from tocsin.flows import flow\n@flow\ndef first() -> int:\n    return 1\nassert first() == 1"
ROW_BYTES = 2_300
"""What a task leaves: its row and the bodies of its two events."""


def no_op(number: int) -> int:
    """Nothing."""
    return number


def in_line(count: int, rounds: int) -> Figures:
    """Microseconds a no-op task inside one flow run, one after the other: called, awaited."""
    from tocsin.flows import flow, task

    work = task(no_op)

    @task
    async def awaited(number: int) -> int:
        return number

    @flow
    def calls() -> list[float]:
        return [_timed(lambda: work(1)) for _ in range(count)]

    @flow
    async def awaits() -> float:
        began = time.perf_counter()
        for number in range(count):
            await awaited(number)
        return time.perf_counter() - began

    calls()
    began = time.process_time()
    single = statistics.median(calls())
    cpu = (time.process_time() - began) / count
    return {
        "called_us": _median_us(lambda: _timed(calls), count, rounds),
        "called_p50_us": round(single * 1e6, 1),
        "called_cpu_us": round(cpu * 1e6, 1),
        "awaited_us": _median_us(lambda: asyncio.run(awaits()), count, rounds),
    }


def beside(count: int, rounds: int) -> Figures:
    """Microseconds a no-op task inside one flow run, in threads: submitted one by one, mapped."""
    from tocsin.flows import flow, task

    work = task(no_op)

    @flow
    def submits() -> float:
        return _timed(lambda: [work.submit(number).result() for number in range(count)])

    @flow
    def maps() -> float:
        return _timed(lambda: work.map(range(count)).result())

    maps()
    return {
        "submitted_us": _median_us(submits, count, rounds),
        "submitted_cpu_us": _cpu_us(submits, count, rounds),
        "mapped_us": _median_us(maps, count, rounds),
        "mapped_cpu_us": _cpu_us(maps, count, rounds),
    }


def runs(rounds: int) -> Figures:
    """Milliseconds of a flow run that does nothing."""
    from tocsin.flows import flow

    @flow
    def trivial() -> None:
        return None

    trivial()
    spans = [_timed(lambda: [trivial() for _ in range(RUNS)]) / RUNS for _ in range(rounds)]
    cpu = _cpu_us(lambda: [trivial() for _ in range(RUNS)], RUNS, rounds)
    return {
        "trivial_flow_ms": round(statistics.median(spans) * 1e3, 2),
        "trivial_flow_cpu_ms": round(cpu / 1e3, 2),
    }


def floors(folder: Path, count: int, rounds: int) -> Figures:
    """Microseconds of a bare commit and of a bare thread pool."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE floor (id INTEGER PRIMARY KEY, body TEXT)")
    body = "x" * ROW_BYTES

    def commits() -> None:
        for _ in range(count):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO floor (body) VALUES (?)", (body,))
            connection.execute("COMMIT")

    commit = statistics.median(_timed(commits) for _ in range(rounds)) / count
    connection.close()
    with ThreadPoolExecutor(8) as pool:
        spans = [
            _timed(lambda: [each.result() for each in [pool.submit(no_op, 1) for _ in range(count)]])
            for _ in range(rounds)
        ]
    return {
        "bare_commit_us": round(commit * 1e6, 1),
        "pool_us": round(statistics.median(spans) / count * 1e6, 1),
    }


def cold(rounds: int) -> Figures:
    """Seconds from nothing to the end of the first flow, beside those of a bare interpreter."""

    def processor() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def start(program: str) -> float:
        with tempfile.TemporaryDirectory() as home:
            environment = {**os.environ, "TOCSIN_HOME": home}
            command = [sys.executable, "-c", program]
            return _timed(lambda: subprocess.run(command, env=environment, check=True))

    before = processor()
    spans = [start(COLD) for _ in range(rounds)]
    return {
        "cold_start_s": round(statistics.median(spans), 3),
        "cold_start_cpu_s": round((processor() - before) / rounds, 3),
        "interpreter_s": round(statistics.median(start("pass") for _ in range(rounds)), 3),
    }


def _median_us(run: Callable[[], float], count: int, rounds: int) -> float:
    return round(statistics.median(run() for _ in range(rounds)) / count * 1e6, 1)


def _cpu_us(run: Callable[[], object], count: int, rounds: int) -> float:
    def spent() -> float:
        began = time.process_time()
        run()
        return time.process_time() - began

    return round(statistics.median(spent() for _ in range(rounds)) / count * 1e6, 1)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--prefect", action="store_true")
    parser.add_argument("--prefect-python")
    parser.add_argument("--prefect-tasks", type=int, default=200)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as home:
        os.environ["TOCSIN_HOME"] = home
        os.environ.pop("TOCSIN_DATABASE_URL", None)
        figures = cold(given.rounds) | floors(Path(home), given.tasks, given.rounds)
        figures |= in_line(given.tasks, given.rounds) | beside(given.tasks, given.rounds) | runs(given.rounds)
        _close()
        figures["memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        os.environ["TOCSIN_DATABASE_URL"] = "memory:"
        unkept = in_line(given.tasks, given.rounds) | beside(given.tasks, given.rounds) | runs(given.rounds)
        figures["nothing_kept"] = {name: value for name, value in unkept.items() if "cpu" in name or "called" in name}
        _close()
    figures["of_commit"] = round(figures["called_us"] / figures["bare_commit_us"], 1)
    figures["tasks_per_s_mapped"] = round(1e6 / figures["mapped_us"])
    figures |= delayed(given.tasks, given.rounds)
    if python := given.prefect_python or (environment(CACHE / "prefect") if given.prefect else None):
        figures["prefect"] = prefect(python, given.prefect_tasks, 5)
        figures["times_prefect"] = _times(figures["prefect"], figures)
    load = [round(part, 2) for part in os.getloadavg()]
    machine = {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version(), "load": load}
    print(json.dumps({"bench": "tasks", "machine": machine, **figures}, indent=2))


def _times(theirs: Figures, ours: Figures) -> Figures:
    """How many times ours theirs are, where there are both."""
    numbers = {name: value for name, value in theirs.items() if isinstance(value, float | int)}
    names = {name: name.replace("_with_server", "") for name in numbers}
    return {name: round(numbers[name] / ours[own], 1) for name, own in names.items() if ours.get(own)}


def _close() -> None:
    from tocsin.flows import ledger

    ledger.close()


if __name__ == "__main__":
    main()

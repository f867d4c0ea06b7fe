"""The same flows on Prefect 3, for `tasks.py`; run by the Python of an environment of its own. Prints one JSON object.

python _tasks_prefect.py TASKS RUNS
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, task


@task
def no_op(number: int) -> int:
    return number


@flow
def calls(count: int) -> None:
    for number in range(count):
        no_op(number)


@flow
def submits(count: int) -> None:
    for number in range(count):
        no_op.submit(number).result()


@flow
def maps(count: int) -> None:
    no_op.map(range(count)).result()


@flow
def trivial() -> None:
    return None


def spent(work: Callable[[], Any]) -> tuple[float, float, float]:  # Any: not looked at
    """Seconds by the wall clock, of the processor in this process, and in the server that it has started."""
    wall, cpu, server = time.perf_counter(), time.process_time(), of_children()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu, of_children() - server


def of_children() -> float:
    """Seconds of the processor of processes that this one has started and that run; 0 where there is no /proc."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == os.getpid():
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run each flow once to warm up and once to measure."""
    count, runs = int(sys.argv[1]), int(sys.argv[2])
    figures: dict[str, float] = {}
    for name, each in (("called", calls), ("submitted", submits), ("mapped", maps)):
        each(5)
        wall, cpu, server = spent(lambda each=each: each(count))  # type: ignore[misc]
        figures[f"{name}_us"], figures[f"{name}_cpu_us"] = wall / count * 1e6, cpu / count * 1e6
        figures[f"{name}_with_server_cpu_us"] = (cpu + server) / count * 1e6
    wall, cpu, server = spent(lambda: [trivial() for _ in range(runs)])
    figures["trivial_flow_ms"], figures["trivial_flow_cpu_ms"] = wall / runs * 1e3, cpu / runs * 1e3
    figures["trivial_flow_with_server_cpu_ms"] = (cpu + server) / runs * 1e3
    figures["memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

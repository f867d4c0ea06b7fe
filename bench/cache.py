"""What a cached task costs: a hit against the bare function, the key of a large table, the handover of a flight.

    python bench/cache.py [--rows 1000000] [--handovers 50]      one line of JSON on stdout

On SQLite in a temporary folder, unless TOCSIN_DATABASE_URL names another database (its runs stay in it).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAITER = """
import sys, time
from tocsin.flows import task

@task(cache_key_fn=lambda context, arguments: arguments["key"])
def handed(key):
    return -1.0

handed("warm")
print("ready", flush=True)
for line in sys.stdin:
    value = handed(line.strip())
    print(time.time(), value, flush=True)
"""


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--hits", type=int, default=500)
    options.add_argument("--handovers", type=int, default=50)
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TOCSIN_HOME"] = folder
        report = {
            "hit": hit(wanted.hits),
            "table": table(wanted.rows),
            "handover": handover(wanted.handovers, Path(folder)),
            "database": os.environ.get("TOCSIN_DATABASE_URL", "sqlite").partition(":")[0],
            "cores": os.cpu_count(),
        }
        from tocsin.flows import ledger

        ledger.close()
    print(json.dumps(report))


def hit(count: int) -> dict[str, float]:
    """Microseconds a call: of the bare function, of a task without options, of a hit, of the first run of a key."""
    from tocsin.flows import flow, task
    from tocsin.flows.cache_policies import INPUTS

    def add(number: int) -> int:
        return number + 1

    plain, cached = task(add), task(cache_policy=INPUTS)(add)
    found: dict[str, float] = {}

    @flow
    def calls() -> None:
        cached(0)
        found["bare_us"] = each(lambda number: add(0), count)
        found["plain_task_us"] = each(lambda number: plain(0), count)
        found["hit_us"] = each(lambda number: cached(0), count)
        found["miss_us"] = each(lambda number: cached(number + 1), count)

    calls()
    return found


def table(rows: int) -> dict[str, Any]:
    """Seconds for the key of a table, and for the row hashes of pandas."""
    import numpy
    import pandas

    from tocsin.flows.keys import input_hash

    random = numpy.random.default_rng(0)
    columns = {
        "id": numpy.arange(rows),
        "amount": random.random(rows),
        "at": pandas.date_range("2020", periods=rows, freq="s"),
        "name": [f"name-{number % 5000}" for number in range(rows)],
        "paid": random.random(rows) > 0.5,
    }
    frame = pandas.DataFrame(columns)
    ours = best(lambda: input_hash({"df": frame}))
    theirs = best(lambda: pandas.util.hash_pandas_object(frame).to_numpy().tobytes())
    return {"rows": rows, "key_s": ours, "pandas_s": theirs, "ratio": round(ours / theirs, 2)}


def handover(count: int, folder: Path) -> dict[str, float]:
    """Milliseconds from the end of a task in this process until another process that waits for it has the result."""
    from tocsin.flows import task

    script = folder / "waiter.py"
    script.write_text(WAITER)
    waiter = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert waiter.stdin is not None
    assert waiter.stdout is not None
    waiter.stdout.readline()
    to_waiter, from_waiter = waiter.stdin, waiter.stdout

    @task(cache_key_fn=lambda context, arguments: arguments["key"])
    def handed(key: str) -> float:
        to_waiter.write(f"{key}\n")
        to_waiter.flush()
        time.sleep(0.3)
        return time.time()

    delays = []
    for number in range(count):
        handed(f"key {number}")
        at, value = map(float, from_waiter.readline().split())
        delays.append((at - value) * 1000)
    to_waiter.close()
    waiter.wait()
    ordered = sorted(delays)
    return {"p50_ms": statistics.median(ordered), "p99_ms": ordered[int(0.99 * (count - 1))], "most_ms": ordered[-1]}


def each(call: Callable[[int], Any], count: int) -> float:
    """Microseconds a call."""
    begun = time.perf_counter()
    for number in range(count):
        call(number)
    return (time.perf_counter() - begun) / count * 1e6


def best(call: Callable[[], Any]) -> float:
    """The least of five times, in seconds."""
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times)


if __name__ == "__main__":
    main()

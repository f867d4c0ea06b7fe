"""The clock: many schedules due in one second, a thousand of one second each, and what a next time costs.

One scheduler in one process, as `tocsin scheduler` runs it, on a PostgreSQL that syncs its writes (or on SQLite).
A reader in a process of its own follows the log: a tick counts when it can be read there, not when it was decided.

    python bench/clock.py [--only burst beat next] [--burst 10000 100000] [--beat 1000] [--seconds 60] [--sqlite]

burst: so many schedules (a thousand definitions, cron, interval and RRule) fall due at one instant. Reported: when the
    last of their ticks could be read, and for how long the event loop did not come round (at most).
beat: so many schedules of one second, for so long, all at the same instant and spread over the second; lateness of
    each tick as its payload says (when it was decided) and as the reader saw it.
next: microseconds for one next time, of tocsin, cronsim, croniter and APScheduler, by line; each asked anew at every
    instant, as a scheduler does after a restart, and going on from the last.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.postgres.cluster import Cluster
from tocsin.events.codec import decode
from tocsin.store.engine import Store, insert_new
from tocsin.store.log import Follower
from tocsin.triggers.jitter import next_sending
from tocsin.triggers.scheduler import Scheduler
from tocsin.triggers.schedules import Cron, Interval, RRule, Timetable
from tocsin.triggers.tables import Schedule

SECOND = timedelta(seconds=1)
AHEAD = 3.0
DEFINITIONS = 1_000
ZONE = "Europe/Berlin"
COPIES = """
    INSERT INTO schedule (slug, {others})
    WITH RECURSIVE copy (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM copy WHERE n < :copies)
    SELECT slug || '.' || n, {others} FROM schedule, copy WHERE n <= :copies
"""

Figures = dict[str, Any]  # Any: numbers and objects of numbers, for JSON


def main() -> None:
    """Measure what is asked for, and print it as JSON."""
    asked = _arguments()
    load = round(os.getloadavg()[0], 1)
    figures: Figures = {"bench": "clock", "python": platform.python_version(), "cores": os.cpu_count(), "load": load}
    if "next" in asked.only:
        figures["next_us"] = next_times()
    with databases(asked.sqlite) as fresh:
        if "burst" in asked.only:
            figures["burst"] = {f"{count:,}": burst(fresh(), count) for count in asked.burst}
        if "beat" in asked.only:
            named = {"at one instant": False, "spread over the second": True}
            figures["beat"] = {
                name: beat(fresh(), asked.beat, asked.seconds, spread=spread) for name, spread in named.items()
            }
    json.dump(figures, sys.stdout, indent=2, ensure_ascii=False)
    print()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=["burst", "beat", "next"], default=["burst", "beat", "next"])
    parser.add_argument("--burst", nargs="+", type=int, default=[10_000, 100_000])
    parser.add_argument("--beat", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--sqlite", action="store_true", help="a file instead of PostgreSQL")
    return parser.parse_args()


@contextmanager
def databases(sqlite: bool) -> Iterator[Callable[[], str]]:
    """Makes databases, each with every table; their server is gone at the end."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = None if sqlite else Cluster(settings=("shared_buffers=256MB",))
        if cluster is not None:
            cluster.start()
        number = iter(range(1_000))

        def fresh() -> str:
            url = f"sqlite:///{folder}/{next(number)}.db" if cluster is None else cluster.create()
            Store.open(url, create=True).close()
            return url

        try:
            yield fresh
        finally:
            if cluster is not None:
                cluster.stop()


# --- bursts ---


def burst(url: str, count: int) -> Figures:
    """All of them due at one instant: until a reader in another process has the last, and what the loop suffered."""
    store = Store.open(url)
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=AHEAD + count / 5_000)
    kinds = min(count, DEFINITIONS)
    count -= count % kinds
    fill(store, {f"s{number}": _due_at(at, number) for number in range(kinds)}, at - SECOND, count // kinds)
    assert datetime.now(UTC) < at - SECOND, "making the schedules took too long"
    seen, blocked = asyncio.run(_served(store, url, count, (at - datetime.now(UTC)).total_seconds() + 120))
    took = max(seen) / 1e6
    store.close()
    return {"s": round(took, 2), "per_s": round(count / took), "loop_blocked_ms": round(blocked * 1e3)}


def _due_at(at: datetime, number: int) -> Timetable:
    """One of many definitions that have an occurrence at this instant."""
    wall = at.astimezone(ZoneInfo(ZONE))
    match number % 4:
        case 0:
            return Cron(f"{wall.second} {wall.minute} {wall.hour} * * *", timezone=ZONE, start=at - number * SECOND)
        case 1:
            return Cron(f"{wall.second} */1 * * * *", timezone=ZONE, start=at - number * SECOND)
        case 2:
            return Interval(timedelta(seconds=600 + number), anchor=at)
        case _:
            return RRule("FREQ=DAILY", start=at - timedelta(days=1 + number))


def fill(store: Store, schedules: dict[str, Timetable], now: datetime, copies: int = 1) -> None:
    """Put the schedules into their table, each so many times; they begin at `now`."""
    rows = [
        {
            **dict.fromkeys(("declared", "window_s", "deployment")),
            "slug": slug,
            "kind": one.kind,
            "spec": one.to_dict(),
            "timezone": one.timezone,
            "active": True,
            "catchup": "all",
            "overlap": "allow",
            "parameters": {},
            "cursor": now,
            "previous_at": now,
            "next_at": next_sending(one, slug, now),
            "version": 1,
            "created": now,
            "updated": now,
        }
        for slug, one in schedules.items()
    ]
    others = ", ".join(name for name in rows[0] if name != "slug")
    with store.begin() as session:
        insert_new(session, Schedule, rows)
        session.connection().execute(text(COPIES.format(others=others)), {"copies": copies})
    if store.dialect == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE schedule"))


async def _served(store: Store, url: str, count: int, limit_s: float) -> tuple[list[int], float]:
    """Serve until a reader has seen so many ticks; how late it saw each (µs), and the longest the loop was blocked."""
    near, far = multiprocessing.Pipe()
    reader = multiprocessing.get_context("spawn").Process(target=read, args=(url, count, far), daemon=True)
    reader.start()
    await asyncio.to_thread(near.recv)
    gc.collect()
    gc.freeze()  # as `tocsin scheduler` does
    stop, blocked = asyncio.Event(), [0.0]
    serving = asyncio.create_task(Scheduler(store).serve(stop))
    watching = asyncio.create_task(_watch_loop(blocked))
    try:
        async with asyncio.timeout(limit_s):
            seen: list[int] = await asyncio.to_thread(near.recv)
    finally:
        stop.set()
        await serving
        watching.cancel()
        reader.kill()
    return seen, blocked[0]


async def _watch_loop(longest: list[float]) -> None:
    """Note for how long the loop does not come round."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        longest[0] = max(longest[0], time.perf_counter() - before - 0.001)


def read(url: str, count: int, told: Connection) -> None:
    """Follow the log until so many ticks were seen; tell how many microseconds after its time each was."""
    store, follower = Store.open(url), Follower()
    seen: list[int] = []
    after = 0
    told.send("ready")
    while len(seen) < count:
        with store.read() as session:
            found = follower.records(session, after, 5_000)
        now = datetime.now(UTC)
        seen += [round((now - decode(record.body).occurred).total_seconds() * 1e6) for record in found]
        after = found[-1].offset if found else after
        if not found:
            time.sleep(0.002)
    told.send(seen)


# --- a steady beat ---


def beat(url: str, count: int, seconds: int, *, spread: bool) -> Figures:
    """Schedules of one second each, for a while: how late each tick was decided, and readable elsewhere."""
    store = Store.open(url)
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    step = SECOND / count if spread else timedelta(0)
    begin = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=AHEAD)
    fill(store, {f"s{number}": Interval(SECOND, anchor=anchor + number * step) for number in range(count)}, begin)
    seen, blocked = asyncio.run(_served(store, url, count * seconds, seconds * 3 + 60))
    with store.read() as session:
        rows = session.connection().execute(text("SELECT body FROM log ORDER BY seq"))
        decided = [decode(bytes(body)).payload["lateness_s"] * 1e3 for (body,) in rows]
    store.close()
    return {
        "schedules": count,
        "seconds": seconds,
        "decided": _percentiles(decided[: count * seconds]),
        "readable": _percentiles([one / 1e3 for one in seen]),
        "loop_blocked_ms": round(blocked * 1e3),
    }


def _percentiles(late_ms: list[float]) -> Figures:
    cuts = statistics.quantiles(late_ms, n=100)
    return {"p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1), "max_ms": round(max(late_ms), 1)}


# --- the cost of a next time ---

LINES = ("*/5 * * * *", "0 9 * * 1-5", "0 0 1 1 *")
STEPS = 300
SINCE = datetime(2026, 3, 1, tzinfo=UTC)


def next_times() -> Figures:
    """One next time, in microseconds: going on, and asked anew."""
    from apscheduler.triggers.cron import CronTrigger
    from croniter import croniter  # type: ignore[import-untyped]
    from cronsim import CronSim

    berlin = ZoneInfo(ZONE)
    begin = SINCE.astimezone(berlin)
    going: dict[str, Callable[[str], Iterator[Any]]] = {
        "tocsin": lambda line: Cron(line, timezone=ZONE).occurrences(SINCE),
        "cronsim": lambda line: CronSim(line, begin),
        "croniter": lambda line: croniter(line, begin, ret_type=datetime),
        "APScheduler": lambda line: _apscheduler(CronTrigger.from_crontab(line, berlin), begin),
    }
    anew: dict[str, Callable[[str], Callable[[datetime], Any]]] = {
        "tocsin": lambda line: _tocsin_anew(Cron(line, timezone=ZONE)),
        "cronsim": lambda line: lambda at: next(CronSim(line, at.astimezone(berlin))),
        "croniter": lambda line: lambda at: croniter(line, at.astimezone(berlin), ret_type=datetime).get_next(),
        "APScheduler": lambda line: _apscheduler_anew(CronTrigger.from_crontab(line, berlin), berlin),
    }
    figures: Figures = {}
    for line in LINES:
        instants = list(islice(Cron(line, timezone=ZONE).occurrences(SINCE), STEPS))
        figures[line] = {
            "going on": _each(going, partial(_going_on, line)),
            "asked anew": _each(anew, partial(_asked_anew, line, instants)),
        }
    return figures


def _each(libraries: dict[str, Any], work: Callable[[Any], object]) -> Figures:  # Any: either form of asking
    return {name: round(_cost(partial(work, library)), 1) for name, library in libraries.items()}


def _going_on(line: str, make: Callable[[str], Iterator[Any]]) -> object:
    return list(islice(make(line), STEPS))


def _asked_anew(line: str, instants: list[datetime], make: Callable[[str], Callable[[datetime], Any]]) -> object:
    ask = make(line)
    return [ask(at) for at in instants]


def _cost(work: Callable[[], object]) -> float:
    """Microseconds of one of the steps; the best of five."""
    best = float("inf")
    for _ in range(5):
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return best / STEPS * 1e6


def _tocsin_anew(schedule: Timetable) -> Callable[[datetime], datetime]:
    return lambda at: next(schedule.occurrences(at))


def _apscheduler(trigger: Any, at: datetime) -> Iterator[datetime]:  # Any: APScheduler has no types
    previous = None
    while True:
        previous = trigger.get_next_fire_time(previous, at)
        at = previous + timedelta(microseconds=1)
        yield previous


def _apscheduler_anew(trigger: Any, zone: ZoneInfo) -> Callable[[datetime], datetime]:  # Any: as above
    return lambda at: trigger.get_next_fire_time(None, at.astimezone(zone) + timedelta(microseconds=1))


if __name__ == "__main__":
    main()

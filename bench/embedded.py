"""The embedded host: how many events it handles a second, durably, and how soon a firing is on record.

One process, SQLite, 1,000 automations (70 % one exact label, 20 % a prefix, 10 % a related resource and a condition)
and 700-byte events that lie in the log. `drain`: events handled a second when 1 % of them concern an automation, when
all do (each fires), and when all are counted by automations that wait for the third within a minute. The floor of the
same run is reading and decoding the same log: `of_floor` is our rate divided by that one. `paced`: an emitter in a
process of its own writes 1,000 events a second, one commit a hundredth of a second; the delay is from the emit to the
commit of the firing.

    python bench/embedded.py [--events 30000] [--seconds 10]
"""

import argparse
import asyncio
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
from multiprocessing.synchronize import Event as Flag
from typing import Any

from tocsin.automations import Automation, DoNothing
from tocsin.automations.host import Batch, Host
from tocsin.automations.store import apply
from tocsin.events import Event, codec
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.logbus import LogBus
from tocsin.triggers import EventTrigger

RULES = 1_000
RATE = 1_000
TICK_S = 0.01
Figures = dict[str, Any]  # Any: numbers and objects of numbers, for JSON


def trigger(number: int, **more: Any) -> EventTrigger:  # Any: fields of the trigger
    """What the automation of this number waits for: of ten, seven by label, two by prefix, one by related and where."""
    kind = number % 10
    names = {"expect": ["order.*"], **more}
    if kind < 7:
        return EventTrigger(match={"customer": f"c{number}"}, **names)
    if kind < 9:
        return EventTrigger(match={"path": f"eu/p{number}/*"}, **names)
    related = {"tocsin.resource.role": "flow", "tocsin.resource.id": f"flow.{number}"}
    return EventTrigger(match_related=related, where="payload.rows > `10`", **names)


def automations(**more: Any) -> list[Automation]:  # Any: as above
    """The automations, which may fire as often as they like."""
    return [
        Automation(name=f"rule-{number:04}", trigger=trigger(number, **more), actions=[DoNothing()], rate_limit=None)
        for number in range(RULES)
    ]


def sample(number: int, target: int, occurred: datetime) -> Event:
    """An event of about 700 bytes for the automation `target` (beyond the last: for none)."""
    return Event(
        event="order.loaded",
        occurred=occurred,
        resource={
            "tocsin.resource.id": f"order.{number}",
            "tocsin.resource.name": "an order of the day",
            "customer": f"c{target}",
            "path": f"eu/p{target}/north/warehouse-7",
            "region": "eu-central",
        },
        related=[
            {"tocsin.resource.id": f"flow.{target}", "tocsin.resource.role": "flow", "tocsin.resource.name": "daily"},
            {"tocsin.resource.id": "tag.etl", "tocsin.resource.role": "tag"},
        ],
        payload={"rows": 1_000 + number, "text": "x" * 160, "at": time.monotonic(), "sizes": [number % 7, 2, 3]},
    )


@contextmanager
def opened() -> Iterator[Store]:
    """A store in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{folder}/bench.db")
        try:
            yield store
        finally:
            store.close()


def fill(store: Store, count: int, target: Callable[[int], int]) -> None:
    """Write so many events to the log, a thousand in a transaction."""
    begun = datetime.now(UTC)
    for start in range(0, count, 1_000):
        with store.begin() as session:
            numbers = range(start, min(count, start + 1_000))
            append(session, [sample(n, target(n), begun + timedelta(milliseconds=n)) for n in numbers])


async def read_only(store: Store) -> float:
    """Seconds to read the whole log in the host's batches and decode it."""
    begun = time.perf_counter()
    async with LogBus(store).subscribe("floor") as subscription:
        while records := await subscription.fetch(1_000, timedelta(0)):
            for record in records:
                codec.decode(record.body)
    return time.perf_counter() - begun


async def drained(store: Store) -> tuple[float, float]:
    """Seconds for a host to handle all that the log holds, its own events included, and processor seconds."""
    bus = LogBus(store)
    host = Host(store, bus)
    begun, burnt = time.perf_counter(), time.process_time()
    async with bus.subscribe("automations") as subscription:
        while await host.turn(subscription, timedelta(0)):
            pass
    return time.perf_counter() - begun, time.process_time() - burnt


def drain(count: int, target: Callable[[int], int], **more: Any) -> Figures:  # Any: fields of the triggers
    """Events handled a second, and what that is of reading alone."""
    with opened() as store:
        with store.begin() as session:
            apply(session, automations(**more), datetime.now(UTC))
        asyncio.run(drained(store))  # the events of the apply itself
        fill(store, count, target)
        floor = asyncio.run(read_only(store))
        seconds, burnt = asyncio.run(drained(store))
        fired = store_count(store)
    return {
        "events": count,
        "firings": fired,
        "per_s": round(count / seconds),
        "cpu_us": round(1e6 * burnt / count, 1),
        "floor_per_s": round(count / floor),
        "of_floor": round(floor / seconds, 3),
    }


def store_count(store: Store) -> int:
    """How many firings are on record."""
    with store.read() as session:
        return int(session.connection().exec_driver_sql("SELECT count(*) FROM firing").scalar() or 0)


class Timed(Host):
    """Notes for each firing how long ago its event was emitted, once the firing is committed."""

    delays: list[float]

    async def _written(self, batch: Batch) -> int | None:
        due = await super()._written(batch)
        now = time.monotonic()
        self.delays += [
            now - one.firing.event.payload["at"] for one in batch.decided.firings if one.firing.event is not None
        ]
        return due


def emit(url: str, seconds: float, ready: Flag) -> None:
    """A process: 1,000 events a second, one of a hundred for an automation each."""
    store = Store.open(url)
    ready.set()
    begun, number = time.monotonic(), 0
    while (elapsed := time.monotonic() - begun) < seconds:
        wanted = int(elapsed * RATE)
        if wanted > number:
            now = datetime.now(UTC)
            with store.begin() as session:
                append(session, [sample(n, n % RULES if n % 10 == 0 else RULES, now) for n in range(number, wanted)])
            number = wanted
        time.sleep(TICK_S)
    store.close()


async def _paced(store: Store, url: str, seconds: float) -> list[float]:
    stop, ready = asyncio.Event(), multiprocessing.Event()
    bus = LogBus(store)
    host = Timed(store, bus)
    host.delays = []
    emitter = multiprocessing.Process(target=emit, args=(url, seconds, ready))
    emitter.start()
    serving = asyncio.create_task(host.serve(stop))
    await asyncio.to_thread(emitter.join)
    await asyncio.sleep(1)
    stop.set()
    await serving
    return host.delays


def paced(seconds: float) -> Figures:
    """Milliseconds from emit to the commit of the firing at 1,000 events a second, one in ten of which fires."""
    with opened() as store:
        with store.begin() as session:
            apply(session, automations(), datetime.now(UTC))
        delays = asyncio.run(_paced(store, store.engine.url.render_as_string(hide_password=False), seconds))
    ordered = sorted(1_000 * one for one in delays[50:])
    return {
        "events_per_s": RATE,
        "firings": len(delays),
        "p50_ms": round(statistics.median(ordered), 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 1),
        "max_ms": round(ordered[-1], 1),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=10)
    chosen = parser.parse_args()
    figures = {
        "bench": "embedded",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "rules": RULES,
        "drain": {
            "1 % fire": drain(chosen.events, lambda n: n // 100 % RULES if n % 100 == 0 else RULES),
            "all fire": drain(chosen.events // 3, lambda n: n % RULES),
            "all counted, a third fire": drain(chosen.events // 3, lambda n: n // 3 % RULES, threshold=3, within=60),
        },
        "paced": paced(chosen.seconds),
    }
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()

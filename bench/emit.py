"""How fast events are kept, in the log on SQLite and PostgreSQL and on Kafka, and how soon a reader elsewhere hears.

Each rate stands beside a floor of the same run, what the library below does without us: bare sqlite3 or psycopg
commits of the same bytes to a table without indexes, a bare aiokafka producer. `of_floor` is our rate divided by that
one; `cpu_us` is this process's processor time an event, which a busy machine changes little. Events are made before
the clock runs, their encoding is inside.

    python bench/emit.py [--rounds 3] [--only sqlite postgresql kafka wake]
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
from aiokafka import AIOKafkaProducer
from sqlalchemy import make_url

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.kafka.broker import open_broker
from tests.postgres.cluster import Cluster
from tocsin.events import Event, codec, emit_event
from tocsin.events.bus import Message
from tocsin.events.kafka import KafkaBus
from tocsin.events.topics import EVENTS
from tocsin.store.emitter import LogEmitter
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.logbus import LogBus
from tocsin.store.relay import Relay

BATCH = 1000
COLUMNS = "id {bytes}, topic TEXT, key TEXT, event TEXT, occurred TEXT, body {bytes}"
FLOOR_TABLE = f"CREATE TABLE floor (seq {{number}}, {COLUMNS})"
FLOOR_ROW = "INSERT INTO floor (id, topic, key, event, occurred, body) VALUES ({values})"
Figures = dict[str, Any]  # Any: numbers and objects of numbers, for JSON
Work = Callable[[list[Event]], object]


def sample(number: int) -> Event:
    """An event of about 700 bytes; ten in a row are of one resource, as the changes of state of a flow run are."""
    scattered = number // 10 * 2_654_435_761 % 2**32
    return Event(
        event="bench.sample",
        resource={"tocsin.resource.id": f"bench.resource.{scattered:08x}", "tocsin.resource.name": "a resource"},
        related=[{"tocsin.resource.id": f"bench.related.{n}", "tocsin.resource.role": "bench"} for n in range(2)],
        payload={"n": number, "note": "x" * 300},
    )


def batches(count: int, size: int = BATCH) -> list[list[Event]]:
    """`count` new events, `size` together."""
    start = random.randrange(2**28) * 10
    return [[sample(start + number) for number in range(first, first + size)] for first in range(0, count, size)]


class Clock:
    """Wall and processor time of work on a number of events, round by round."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.processor: list[float] = []

    @contextmanager
    def round(self, events: int) -> Iterator[None]:
        """Time what happens inside."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall.append((time.perf_counter() - wall) / events)
        self.processor.append((time.process_time() - processor) / events)

    def figures(self, floor: "Clock | None" = None) -> Figures:
        """Medians: events a second, microseconds of this process's processor time an event, and the floor's."""
        wall, processor = statistics.median(self.wall), statistics.median(self.processor)
        found: Figures = {"per_s": round(1 / wall), "cpu_us": round(processor * 1e6, 1)}
        if floor:
            bare = floor.figures()
            found |= {"floor_per_s": bare["per_s"], "floor_cpu_us": bare["cpu_us"]}
            found["of_floor"] = round(found["per_s"] / bare["per_s"], 2)
        return found


def rates(count: int, size: int, rounds: int, ours: Work, floor: Work) -> Figures:
    """Figures of `ours` beside `floor`, in turns."""
    clocks = Clock(), Clock()
    for _ in range(rounds):
        for clock, work in zip(clocks, (ours, floor), strict=True):
            made = batches(count, size)
            gc.collect()
            gc.freeze()  # the collector shall look after the work, not after what the bench has made for it
            with clock.round(count):
                for batch in made:
                    work(batch)
            gc.unfreeze()
    return clocks[0].figures(clocks[1])


def row(event: Event) -> tuple[object, ...]:
    """What the floor writes of an event: the same bytes."""
    identity, occurred = event.id.bytes, event.occurred.isoformat()
    return identity, EVENTS, event.resource_id, event.event, occurred, codec.encode(event)


# --- the log ---


def logs(emitter: LogEmitter, rounds: int, floor: Work) -> Figures:
    """Rates of the log behind `emitter`; `floor` commits a batch to the bare table."""

    def public(events: list[Event]) -> None:
        [event] = events
        emit_event(event.event, event.resource, event.related, event.payload)

    return {
        "emit_event": rates(3_000, 1, rounds, public, floor),
        "single": rates(3_000, 1, rounds, emitter.emit, floor),
        "batches": rates(30_000, BATCH, rounds, emitter.emit, floor),
    }


def sqlite(rounds: int) -> Figures:
    """The log on SQLite against a bare connection with the same settings."""
    with tempfile.TemporaryDirectory() as folder, environment(f"sqlite:///{folder}/tocsin.db"):
        bare = sqlite3.connect(f"{folder}/bare.db", isolation_level=None)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL"):
            bare.execute(statement)
        bare.execute(FLOOR_TABLE.format(number="INTEGER PRIMARY KEY", bytes="BLOB"))
        insert = FLOOR_ROW.format(values="?, ?, ?, ?, ?, ?")

        def floor(events: list[Event]) -> None:
            bare.execute("BEGIN IMMEDIATE")
            bare.executemany(insert, [row(event) for event in events])
            bare.execute("COMMIT")

        with closing(bare):
            return logs(LogEmitter(), rounds, floor)


def postgresql(rounds: int) -> Figures:
    """The log on PostgreSQL (fsync on) against a bare psycopg connection."""
    cluster = Cluster(settings=())
    cluster.start()
    try:
        url = cluster.create()
        Store.open(url, create=True).close()
        address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with environment(url), psycopg.connect(address) as bare:
            bare.execute(FLOOR_TABLE.format(number="BIGSERIAL PRIMARY KEY", bytes="BYTEA"))
            insert = FLOOR_ROW.format(values="%s, %s, %s, %s, %s, %s")

            def floor(events: list[Event]) -> None:
                bare.cursor().executemany(insert, [row(event) for event in events])
                bare.commit()

            return logs(LogEmitter(), rounds, floor)
    finally:
        cluster.stop()


@contextmanager
def environment(url: str) -> Iterator[None]:
    """`emit_event` writes to `url`."""
    os.environ["TOCSIN_DATABASE_URL"] = url
    yield
    del os.environ["TOCSIN_DATABASE_URL"]


# --- Kafka ---


def kafka(rounds: int) -> Figures:
    """Publishing, reading and the relay on a real broker; the floor is aiokafka alone on the same topics."""
    with tempfile.TemporaryDirectory() as folder:
        broker = open_broker(Path(folder))
        try:
            figures = asyncio.run(on_kafka(broker.address, broker.idempotent, rounds))
        finally:
            broker.stop()
    return {"broker": type(broker).__name__, **figures}


async def on_kafka(address: str, idempotent: bool, rounds: int) -> Figures:
    """Publish, the floor, read and relay, in turns."""
    bus = KafkaBus(address, topic_prefix=f"bench{uuid4().hex[:8]}.", idempotent=idempotent)
    await bus.prepare()
    bare = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=idempotent, acks="all")
    await bare.start()
    await bus.publish([Message.of(sample(number)) for number in range(100)])
    publish, floor, read, relay = Clock(), Clock(), Clock(), Clock()
    for number in range(rounds):
        made = batches(30_000)
        with publish.round(30_000):
            for batch in made:
                await bus.publish([Message.of(event) for event in batch])
        made = batches(30_000)
        with floor.round(30_000):
            for batch in made:
                sent = [await bare.send(bus.prefix + EVENTS, codec.encode(e), e.resource_id.encode()) for e in batch]
                await asyncio.gather(*sent)
        await reading(bus, f"bench-{number}", 30_000, read)
        await relaying(bus, 30_000, relay)
    await bare.stop()
    await bus.close()
    return {"publish": publish.figures(floor), "read": read.figures(), "relay": relay.figures()}


async def reading(bus: KafkaBus, group: str, count: int, clock: Clock) -> None:
    """Fetch and commit, after the group has been joined."""
    async with bus.subscribe(group) as member:
        await member.commit(await member.fetch(1, timedelta(seconds=30)))
        read = 0
        with clock.round(count):
            while read < count:
                records = await member.fetch(BATCH, timedelta(seconds=30))
                await member.commit(records)
                read += len(records)


async def relaying(bus: KafkaBus, count: int, clock: Clock) -> None:
    """A full log on SQLite moves to Kafka, positions stored."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{folder}/tocsin.db")
        for batch in batches(count):
            with store.begin() as session:
                append(session, batch)
        relay, stop = Relay(store, bus), asyncio.Event()
        with clock.round(count):
            serving = asyncio.create_task(relay.serve(stop))
            while await relay.lag():  # noqa: ASYNC110  # nobody tells when a log is empty
                await asyncio.sleep(0.01)
        stop.set()
        await serving
        store.close()


# --- the reader in another process ---


def wake(rounds: int) -> Figures:
    """Milliseconds from before an emit to the moment a reader in another process holds the event."""
    context = multiprocessing.get_context("spawn")
    samples = 150 * rounds
    with tempfile.TemporaryDirectory() as folder, environment(f"sqlite:///{folder}/tocsin.db"):
        emitter = LogEmitter()
        pipe, theirs = context.Pipe()
        reader = context.Process(target=follow, args=(theirs, samples), daemon=True)
        reader.start()
        pipe.recv()
        emitted = {}
        for number in range(samples):
            time.sleep(random.uniform(0.005, 0.05))
            emitted[number] = time.monotonic_ns()
            emitter.emit([sample(number)])
        arrived: dict[int, int] = pipe.recv()
        reader.join()
    latencies = sorted((arrived[number] - emitted[number]) / 1e6 for number in emitted)
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    found = {"p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": latencies[-1]}
    return {"events": samples, **{name: round(value, 2) for name, value in found.items()}}


def follow(pipe: Connection, samples: int) -> None:
    """A process: read along and hand over when each numbered event was there (CLOCK_MONOTONIC, one for all)."""
    arrived: dict[int, int] = {}

    async def run() -> None:
        store = Store.open()
        async with LogBus(store).subscribe("wake", ["tocsin.external"]) as member:
            await member.fetch(wait=timedelta(0))
            pipe.send("ready")
            while len(arrived) < samples:
                records = await member.fetch(wait=timedelta(seconds=5))
                now = time.monotonic_ns()
                arrived.update({msgspec.json.decode(record.body)["payload"]["n"]: now for record in records})
        store.close()

    asyncio.run(run())
    pipe.send(arrived)


PARTS: dict[str, Callable[[int], Figures]] = {"sqlite": sqlite, "postgresql": postgresql, "kafka": kafka, "wake": wake}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    given = parser.parse_args(arguments)
    figures = {name: PARTS[name](given.rounds) for name in given.only}
    load = [round(part, 2) for part in os.getloadavg()]
    machine = {"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version(), "load": load}
    print(json.dumps({"bench": "emit", "machine": machine, **figures}, indent=2))


if __name__ == "__main__":
    main()

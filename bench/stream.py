"""What a stream processor carries: events consumed, matched, state kept, decisions published, on a real Kafka.

    python -m bench.stream [--events 100000] [--cases 1:3 100:12] [--members 1 2] [--keys 1000000] [--deadlines 300]

A case `100:12`: of a hundred events 100 match, and each key fires at its 12th match. It lays events on fresh topics
before frozen members, and measures from the first event routed until the last signal is decided and its state written.
`bare` is a loop that fetches and decodes the same events and does nothing else, in the same run. `recovery`: how long
a fresh member takes to read the states of so many keys. `deadlines`: how late so many dead man's switches are on
record, and what share of a core a member takes while nothing comes. JSON on the standard output.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlmodel import select

from tests.kafka.broker import ApacheBroker
from tocsin.automations.evaluate import Place
from tocsin.automations.model import Automation
from tocsin.automations.store import apply
from tocsin.automations.stream_host import StreamHost
from tocsin.automations.stream_pack import partition_for
from tocsin.automations.stream_shard import Held, Shard, claim, deltas
from tocsin.automations.tables import StoredFiring
from tocsin.events import codec
from tocsin.events.bus import Message
from tocsin.events.ids import uuid7
from tocsin.events.kafka import KafkaBus
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event
from tocsin.events.partitions import Partitions
from tocsin.events.topics import CHANGELOG, EVENTS
from tocsin.store.engine import Store

KEYS = 5_000
WIDTH = 8
STATE = (
    b'{"trigger":"2f9c4b7f3c5d1e0a","node":{"kind":"sliding","waiting":[[1790000000000000,"01a205000000700080000000000000'
    b'00"],[1790000001000000,"01a20500000170008000000000000000"]],"newest":1790000001000000,"touched":1790000001000000}}'
)
START = datetime.now(UTC)
TICK_S = 0.05
PATIENCE_S = 120.0
SETTLE_S, IDLE_S = 5.0, 8.0

# Any, in this file: figures on their way to JSON.


def event(number: int, share: int) -> Event:
    """An event of about 700 bytes; `share` of a hundred are of a name that the automation waits for."""
    name = "orders.failed" if number % 100 < share else "orders.loaded"
    labels = {RESOURCE_ID: f"orders.{number % KEYS}", "tocsin.resource.name": f"orders {number % KEYS}", "team": "data"}
    related = [{RESOURCE_ID: f"tocsin.flow.{number % 50}", RESOURCE_ROLE: "flow", "tocsin.resource.name": "daily"}]
    payload = {"n": number, "text": "x" * 250, "rows": number * 3, "source": {"system": "shop", "region": "eu"}}
    at = START + timedelta(milliseconds=number)
    return Event(id=uuid7(), event=name, resource=labels, related=related, payload=payload, occurred=at)


def counting(threshold: int) -> Automation:
    """Fires when an order fails so often within an hour: a state per order, written with every match."""
    trigger = {"expect": ["orders.failed"], "for_each": [RESOURCE_ID], "threshold": threshold, "within": 3600}
    wanted = {"name": "failures", "trigger": trigger, "actions": [{"type": "do-nothing"}], "rate_limit": None}
    return Automation.model_validate(wanted)


def messages(events: int, share: int) -> list[Message]:
    """The events as they lie on the bus."""
    return [Message.of(event(number, share)) for number in range(events)]


async def bare(bus: KafkaBus, events: int) -> dict[str, Any]:
    """Fetch and decode, nothing else."""
    async with bus.subscribe("bare", (EVENTS,)) as subscription:
        records = await subscription.fetch(2_000)
        begun, count, cpu = time.perf_counter(), len(records), time.process_time()
        for record in records:
            codec.decode(record.body)
        while count < events:
            records = await subscription.fetch(2_000)
            for record in records:
                codec.decode(record.body)
            count += len(records)
            await subscription.commit(records)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return {"events_per_s": round(events / seconds), "cpu_s_per_100k": round(cpu / events * 100_000, 2)}


async def member(address: str, prefix: str, url: str) -> None:
    """One processor: prints what it has done whenever that has changed, until its input ends."""
    store, bus, stop = Store.open(url), KafkaBus(address, topic_prefix=prefix), asyncio.Event()
    host = StreamHost(store, bus)
    serving = asyncio.create_task(host.serve(stop))
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), stop.set)
    said = (-1, -1, 0)
    while not stop.is_set() and not serving.done():
        now = (host.routed, host.decided, host.ready)
        if now != said:
            print(json.dumps([*now, time.time(), time.process_time()]), flush=True)
            said = now
        await asyncio.sleep(TICK_S)
    await serving
    await bus.close()
    store.close()


class Member:
    """A processor in a process of its own."""

    def __init__(self, address: str, prefix: str, url: str) -> None:
        command = [sys.executable, "-m", "bench.stream", "--member", address, prefix, url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said: list[list[float]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def read(self) -> None:
        """Raises when it is no more."""
        if self._process.poll() is not None:
            raise RuntimeError(f"a member ended with {self._process.returncode}")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(json.loads(line))

    @property
    def cpu_s(self) -> float:
        """What it has taken so far, on all cores."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def send(self, number: signal.Signals) -> None:
        """Freeze it, or let it go on."""
        self._process.send_signal(number)

    def end(self) -> None:
        """Stop it and wait."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@contextmanager
def members(count: int, address: str, prefix: str, url: str) -> Iterator[list[Member]]:
    """So many processors."""
    found = [Member(address, prefix, url) for _ in range(count)]
    try:
        yield found
    finally:
        for one in found:
            one.end()


def wait(found: list[Member], done: Any) -> None:
    """Until `done(found)`."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        for one in found:
            one.read()
        if done(found):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"not done in {PATIENCE_S:.0f} s: {[one.said[-1:] for one in found]}")
        time.sleep(TICK_S)


def total(found: list[Member], column: int) -> float:
    """What the members have said last, together."""
    return sum(one.said[-1][column] if one.said else 0 for one in found)


async def lay(bus: KafkaBus, found: list[Member], laid: list[Message]) -> None:
    """Lay the events on the bus while the members are frozen, so that they find them all there."""
    for one in found:
        one.send(signal.SIGSTOP)
    for start in range(0, len(laid), 10_000):
        await bus.publish(laid[start : start + 10_000])
    for one in found:
        one.send(signal.SIGCONT)


async def case(address: str, events: int, share: int, threshold: int, count: int) -> dict[str, Any]:
    """The figures of one case."""
    laid = messages(events, share)
    matching = sum(number % 100 < share for number in range(events))
    prefix = f"b{uuid4().hex[:8]}."
    bus = KafkaBus(address, topic_prefix=prefix)
    await bus.prepare()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        store = Store.open(url)
        with store.begin() as session:
            apply(session, [counting(threshold)], START)
        store.close()
        with members(count, address, prefix, url) as found:
            wait(found, lambda every: total(every, 2) == WIDTH and all(one.said[-1][2] > 0 for one in every))
            before = [len(one.said) for one in found]
            cpu_before = total(found, 4)
            await lay(bus, found, laid)
            wait(found, lambda every: total(every, 0) >= events and total(every, 1) >= matching)
            times = [at for one, start in zip(found, before, strict=True) for *_, at, _ in one.said[start:]]
            cpu = total(found, 4) - cpu_before
        alone = await bare(bus, events)
    await bus.close()
    seconds = max(times) - min(times)
    return {
        "match_percent": share,
        "threshold": threshold,
        "members": count,
        "events": events,
        "events_per_s": round(events / seconds),
        "signals_per_s": round(matching / seconds),
        "cpu_s_per_100k": round(cpu / events * 100_000, 2),
        "bare": alone,
        "of_bare": round(events / seconds / alone["events_per_s"], 2),
    }


async def recovery(address: str, keys: int) -> dict[str, Any]:
    """How long a member takes to take all partitions over that remember `keys` keys."""
    prefix = f"b{uuid4().hex[:8]}."
    bus = KafkaBus(address, topic_prefix=prefix)
    await bus.prepare()
    changelog, size = Partitions(bus, CHANGELOG), 0
    for number, places in enumerate(_by_partition(keys)):
        shard = Shard(number)
        await changelog.write({number: [claim(shard, "bench")]})
        shard.epoch, shard.by = 1, "bench"
        for start in range(0, len(places), 2_000):
            changed: dict[Place, Held | None] = dict.fromkeys(places[start : start + 2_000], Held(STATE, None))
            records = deltas(shard, changed, 0)
            size += sum(map(len, records))
            await changelog.write({number: records})
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        Store.open(url).close()
        with members(1, address, prefix, url) as found:
            wait(found, lambda every: every[0].said)
            begun = time.perf_counter()
            wait(found, lambda every: total(every, 2) == WIDTH)
            seconds = time.perf_counter() - begun
    await bus.close()
    return {"keys": keys, "changelog_mb": round(size / 1e6), "seconds": round(seconds, 1)}


async def deadlines(address: str, count: int) -> dict[str, Any]:
    """How late a member records that so many events did not come, one after another."""
    prefix = f"b{uuid4().hex[:8]}."
    bus = KafkaBus(address, topic_prefix=prefix)
    await bus.prepare()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        store = Store.open(url)
        with store.begin() as session:
            apply(session, [switch()], START)
        with members(1, address, prefix, url) as found:
            wait(found, lambda every: total(every, 2) == WIDTH)
            await asyncio.sleep(SETTLE_S)
            before = found[0].cpu_s
            await asyncio.sleep(IDLE_S)
            idle = (found[0].cpu_s - before) / IDLE_S
            for number in range(count):
                started = Event(
                    id=uuid7(), event="start", resource={RESOURCE_ID: f"r{number}"}, occurred=datetime.now(UTC)
                )
                await bus.publish([Message.of(started)])
                await asyncio.sleep(TICK_S)
            wait(found, lambda _: len(lateness(store)) == count)
        late = lateness(store)
        store.close()
    await bus.close()
    quantiles = {f"p{share}_ms": round(1000 * late[count * share // 100]) for share in (0, 50, 90, 99)}
    return {"deadlines": count, **quantiles, "idle_cores": round(idle, 3), "load": os.getloadavg()[0]}


def switch() -> Automation:
    """Fires when what has started has not ended after two seconds."""
    trigger = {"posture": "Proactive", "after": ["start"], "expect": ["end"], "for_each": [RESOURCE_ID], "within": 2}
    wanted = {"name": "overdue", "trigger": trigger, "actions": [{"type": "do-nothing"}], "rate_limit": None}
    return Automation.model_validate(wanted)


def lateness(store: Store) -> list[float]:
    """By how many seconds each firing was recorded after it was due, in order."""
    with store.read() as session:
        return sorted((one.recorded - one.at).total_seconds() for one in session.exec(select(StoredFiring)))


def _by_partition(keys: int) -> list[list[Place]]:
    places: list[list[Place]] = [[] for _ in range(WIDTH)]
    for number in range(keys):
        place = "failures", (f"orders.{number}",)
        places[partition_for(*place, WIDTH)].append(place)
    return places


async def run(
    events: int, kinds: list[tuple[int, int]], counts: list[int], keys: int, switches: int, address: str | None
) -> dict[str, Any]:
    """All cases on one broker."""
    with tempfile.TemporaryDirectory() as folder:
        broker = None if address else ApacheBroker(Path(folder))
        where = address or (broker.address if broker else "")
        try:
            found = [await case(where, events, *kind, count) for kind in kinds for count in counts]
            last = {"recovery": await recovery(where, keys) if keys else None}
            last["deadlines"] = await deadlines(where, switches) if switches else None
        finally:
            if broker:
                broker.stop()
    return {"cpus": os.cpu_count(), "python": sys.version.split()[0], "cases": found, **last}


def kind(text: str) -> tuple[int, int]:
    """`100:12`: 100 of a hundred events match, and 12 matches of a key make a firing."""
    share, threshold = map(int, text.split(":"))
    return share, threshold


def main() -> None:
    """Read the arguments, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--cases", type=kind, nargs="*", default=[(1, 3), (100, 100), (100, 12)])
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys to recover; 0: leave that out")
    parser.add_argument("--deadlines", type=int, default=300, help="switches that go off; 0: leave that out")
    parser.add_argument("--kafka", help="host:port of a broker that runs already")
    parser.add_argument("--member", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.member:
        asyncio.run(member(*given.member))
        return
    figures = run(given.events, given.cases, given.members, given.keys, given.deadlines, given.kafka)
    print(json.dumps(asyncio.run(figures), indent=2))


if __name__ == "__main__":
    main()

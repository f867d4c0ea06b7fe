"""What a source carries: messages of somebody else's topic, mapped, kept and evaluated, on one core.

    python bench/sources.py [--messages 50000] [--kafka host:port]

The messages lie on a fresh topic. In one process that may use one core only: `bare` fetches them and reads their JSON
(`json.loads`), nothing else; `mapped` is a source's reader, whose events are durable in an SQLite log; `evaluated` is
the reader and the embedded host together, until the last event is decided: of a hundred one matches, and each third
match of an order fires. JSON on the standard output; `cpu_us` is processor time a message.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.kafka.broker import ApacheBroker
from tocsin.automations.host import Host
from tocsin.automations.model import Automation
from tocsin.automations.store import apply
from tocsin.events.bus import Message
from tocsin.events.kafka import KafkaBus
from tocsin.events.topics import EVENTS, EXTERNAL
from tocsin.store import positions
from tocsin.store.engine import Store
from tocsin.store.logbus import LogBus
from tocsin.triggers.source import KafkaSource, source_of
from tocsin.triggers.source_reader import SourceReader

PARTITIONS = 4
KEYS = 5_000
START = datetime.now(UTC)
MAPPING = {
    "event": "join('.', ['orders', body.kind])",
    "resource": {"tocsin.resource.id": "body.order.id", "region": "body.order.region"},
    "related": [{"tocsin.resource.id": "body.customer", "tocsin.resource.role": "'customer'"}],
    "occurred": "body.at",
}

# Any, in this file: figures on their way to JSON.


def body(number: int) -> bytes:
    """A message of about 350 bytes."""
    message = {
        "kind": "failed" if number % 100 == 0 else "loaded",
        "order": {
            "id": f"order-{number % KEYS}",
            "region": "eu",
            "lines": [{"sku": f"s{number % 97}", "count": number % 7, "price": 9.5}, {"sku": "x", "count": 1}],
        },
        "customer": f"customer-{number % 900}",
        "at": (START - timedelta(milliseconds=number)).isoformat(),
        "note": "x" * 120,
    }
    return json.dumps(message).encode()


def counting() -> Automation:
    """Fires at the third failure of an order within an hour."""
    trigger = {"expect": ["orders.failed"], "for_each": ["tocsin.resource.id"], "threshold": 3, "within": 3600}
    wanted = {"name": "failures", "trigger": trigger, "actions": [{"type": "do-nothing"}], "rate_limit": None}
    return Automation.model_validate(wanted)


async def lay(bus: KafkaBus, topic: str, count: int) -> None:
    """A fresh topic with so many messages."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bus.address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    for start in range(0, count, 10_000):
        numbers = range(start, min(start + 10_000, count))
        await bus.publish([Message(topic, f"order-{number % KEYS}", body(number)) for number in numbers])


async def timed(count: int, work: Callable[[], Awaitable[int]]) -> dict[str, Any]:
    """Call `work`, which gives how many messages it has handled, until it has handled all; the figures."""
    first = await work()  # joining the group is not counted
    done, begun, cpu = first, time.perf_counter(), time.process_time()
    while done < count:
        done += await work()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    handled = done - first
    return {"per_s": round(handled / seconds), "cpu_us": round(cpu / handled * 1e6, 1)}


async def bare(bus: KafkaBus, topic: str, count: int) -> dict[str, Any]:
    """Fetch, read the JSON, commit."""
    async with bus.subscribe(f"bare.{topic}", (topic,)) as subscription:

        async def turn() -> int:
            records = await subscription.fetch(2_000, timedelta(seconds=30))
            for record in records:
                json.loads(record.body)
            await subscription.commit(records)
            return len(records)

        return await timed(count, turn)


async def read(bus: KafkaBus, source: KafkaSource, count: int, *, evaluate: bool) -> dict[str, Any]:
    """A source's reader, alone or with the host that evaluates."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{folder}/bench.db", create=True)
        with store.begin() as session:
            apply(session, [counting()], START)
        reader, log = SourceReader(source, store, bus, bus), LogBus(store)
        group = f"{source.topic}.{evaluate}"
        async with (
            bus.subscribe(group, (source.topic,)) as outside,
            log.subscribe("automations", (EVENTS, EXTERNAL)) as inside,
        ):
            host = Host(store, log)

            async def turn() -> int:
                got = await reader.turn(outside, timedelta(seconds=30))
                while evaluate and await host.turn(inside, timedelta(0)):
                    continue
                return got

            figures = await timed(count, turn)
        with store.read() as session:
            handled = positions.offsets(session, "automations")
        store.close()
    if evaluate and sum(handled.values()) < count:
        raise RuntimeError(f"{handled} of {count} evaluated")
    return figures


async def run(count: int, address: str | None) -> dict[str, Any]:
    """All figures on one broker."""
    with tempfile.TemporaryDirectory() as folder:
        broker = None if address else ApacheBroker(Path(folder))
        where = address or (broker.address if broker else "")
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # after the broker, which may use all
        try:
            bus, topic = KafkaBus(where), f"b{uuid4().hex[:8]}"
            await lay(bus, topic, count)
            source = source_of({"name": "bench", "topic": topic, "mapping": MAPPING})
            floor = await bare(bus, topic, count)
            mapped = await read(bus, source, count, evaluate=False)
            evaluated = await read(bus, source, count, evaluate=True)
            await bus.close()
        finally:
            if broker:
                broker.stop()
    return {
        "messages": count,
        "bytes": len(body(1)),
        "python": sys.version.split()[0],
        "bare": floor,
        "mapped": mapped,
        "evaluated": evaluated,
        "evaluated_of_bare": round(evaluated["per_s"] / floor["per_s"], 3),
        "cpu_of_bare": round(evaluated["cpu_us"] / floor["cpu_us"], 1),
    }


def main() -> None:
    """Read the arguments, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--kafka", help="host:port of a broker that runs already")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(run(given.messages, given.kafka)), indent=2))


if __name__ == "__main__":
    main()

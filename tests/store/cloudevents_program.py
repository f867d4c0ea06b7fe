"""A writer of CloudEvents in a process of its own that kills itself at a named point, or runs until all is written.

python -m tests.store.cloudevents_program URL BROKER TOPIC MODE POINT
"""

import asyncio
import sys
from datetime import timedelta
from typing import Literal, cast

from tests.store.relay_program import Dying, run
from tocsin.events.kafka import KafkaBus
from tocsin.events.memory import MemoryBus
from tocsin.store.cloudevents_writer import CloudEventsWriter, Outlet
from tocsin.store.engine import Store


class DyingWriter(Dying, CloudEventsWriter):
    """A writer that dies as a relay does."""

    sent_s = 0.003


async def write(url: str, broker: str, topic: str, mode: str, point: str) -> None:
    """Write the log until it is on the broker, or die."""
    store, bus = Store.open(url), KafkaBus(broker)
    outlet = Outlet(topic, cast(Literal["structured", "binary"], mode))
    writer = DyingWriter(store, bus, MemoryBus(), outlet, batch=20, ttl=timedelta(milliseconds=500))
    await run(writer, point, bus, store)


if __name__ == "__main__":
    asyncio.run(write(*sys.argv[1:]))

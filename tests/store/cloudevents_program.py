"""A writer of CloudEvents in a process of its own that kills itself at a named point, or runs until all is written.

python -m tests.store.cloudevents_program URL BROKER TOPIC MODE POINT
"""

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, cast

from tests.store.relay_program import SURVIVED, die
from tocsin.events.bus import Record
from tocsin.events.kafka import KafkaBus
from tocsin.events.memory import MemoryBus
from tocsin.store.cloudevents_writer import CloudEventsWriter, Outlet
from tocsin.store.engine import Store


class DyingWriter(CloudEventsWriter):
    """Dies at `point` of its fourth batch."""

    point = ""
    batches = 0

    async def _publish(self, records: Sequence[Record]) -> None:
        self.batches += 1
        self._die("before sending")
        sending = asyncio.create_task(super()._publish(records))
        if self.batches > SURVIVED and self.point == "while sending":
            await asyncio.sleep(0.003)
            self._die("while sending")
        await sending
        self._die("after sending")

    async def _mark(self, records: Sequence[Record]) -> None:
        await super()._mark(records)
        if records:
            self._die("after marking")

    def _die(self, point: str) -> None:
        if point == self.point and self.batches > SURVIVED:
            die()


async def write(url: str, broker: str, topic: str, mode: str, point: str) -> None:
    """Write the log until it is on the broker, or die."""
    store, bus = Store.open(url), KafkaBus(broker)
    outlet = Outlet(topic, cast(Literal["structured", "binary"], mode))
    writer = DyingWriter(store, bus, MemoryBus(), outlet, batch=20, ttl=timedelta(milliseconds=500))
    writer.point = point
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.serve(stop))
        while await writer.lag():
            await asyncio.sleep(0.02)
        stop.set()
    await bus.close()
    store.close()


if __name__ == "__main__":
    asyncio.run(write(*sys.argv[1:]))

"""A relay in a process of its own that kills itself with SIGKILL at a named point, or runs until all is moved.

python -m tests.store.relay_program URL BROKER PREFIX IDEMPOTENT POINT
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from tocsin.events.bus import Record
from tocsin.events.kafka import KafkaBus
from tocsin.store.engine import Store
from tocsin.store.relay import Relay

POINTS: Final = ("before sending", "while sending", "after sending", "after marking")
SURVIVED: Final = 3
"""How many batches go well before the end."""


class Dying(Relay):
    """Dies at `point` of its fourth batch; a batch is under way for `sent_s` before it dies while sending."""

    point = ""
    sent_s = 0.001
    batches = 0

    async def _publish(self, records: Sequence[Record]) -> None:
        self.batches += 1
        self._die("before sending")
        sending = asyncio.create_task(super()._publish(records))
        if self.batches > SURVIVED and self.point == "while sending":
            await asyncio.sleep(self.sent_s)
            self._die("while sending")
        await sending
        self._die("after sending")

    async def _mark(self, records: Sequence[Record]) -> None:
        await super()._mark(records)
        if records:
            self._die("after marking")

    def _die(self, point: str) -> None:
        if point == self.point and self.batches > SURVIVED:
            os.kill(os.getpid(), signal.SIGKILL)


async def run(relay: Dying, point: str, bus: KafkaBus, store: Store) -> None:
    """Serve until all is on the broker, or die at `point`."""
    relay.point = point
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(relay.serve(stop))
        while await relay.lag():
            await asyncio.sleep(0.02)
        stop.set()
    await bus.close()
    store.close()


async def move(url: str, broker: str, prefix: str, idempotent: str, point: str) -> None:
    """Move the log until it is on the broker, or die."""
    store = Store.open(url)
    bus = KafkaBus(broker, topic_prefix=prefix, idempotent=idempotent == "True")
    await run(Dying(store, bus, batch=20, ttl=timedelta(seconds=2)), point, bus, store)


if __name__ == "__main__":
    asyncio.run(move(*sys.argv[1:]))

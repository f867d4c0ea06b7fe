"""A relay as a process of its own: `python -m tests.triggers.relay_process URL KAFKA PREFIX`."""

import asyncio
import sys
from datetime import timedelta

from tocsin.events.kafka import KafkaBus
from tocsin.store.engine import Store
from tocsin.store.relay import Relay


async def main(url: str, address: str, prefix: str) -> None:
    """Move the log to Kafka until killed; so impatient that a broker which is away fails what is being sent."""
    store, bus = Store.open(url), KafkaBus(address, topic_prefix=prefix, delivery_timeout=timedelta(seconds=1))
    await Relay(store, bus).serve(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

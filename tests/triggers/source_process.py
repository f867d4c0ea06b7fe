"""Readers of sources in a process that is killed: `python -m tests.triggers.source_process URL KAFKA PREFIX`."""

import asyncio
import sys

from tocsin.events.kafka import KafkaBus
from tocsin.store.engine import Store
from tocsin.triggers.sources import Sources


async def main(url: str, address: str, prefix: str) -> None:
    """Read until killed."""
    store, bus = Store.open(url), KafkaBus(address, topic_prefix=prefix)
    await Sources(store, bus, address=address, group_prefix=prefix).serve(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

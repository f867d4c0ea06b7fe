"""A member of the stream on its own, until it is killed.

python stream_program.py URL ADDRESS PREFIX
"""

import asyncio
import sys
from datetime import timedelta

from tocsin.automations.stream_host import StreamHost
from tocsin.events.kafka import KafkaBus
from tocsin.store.engine import Store

SESSION = timedelta(seconds=3)


async def main(url: str, address: str, prefix: str) -> None:
    """Serve for ever; say when all that was dealt is taken over."""
    store, never = Store.open(url), asyncio.Event()
    bus = KafkaBus(address, topic_prefix=prefix, session_timeout=SESSION, heartbeat=SESSION / 10)
    host = StreamHost(store, bus, session=SESSION)
    serving = asyncio.create_task(host.serve(never))
    while not host.ready:
        await asyncio.sleep(0.02)
    print("ready", flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

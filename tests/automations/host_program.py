"""A processor on its own: host and performer on one database, until it is killed.

    python host_program.py URL AHEAD

`AHEAD` seconds are added to the clock, so that the leases of a predecessor that was killed are over.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from tocsin.automations.host import Host
from tocsin.automations.perform import Performer
from tocsin.store.engine import Store
from tocsin.store.logbus import LogBus


class Ahead:
    """The machine's clock, some seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """The present there."""
        return datetime.now(UTC) + self._ahead


async def main(url: str, ahead: float) -> None:
    """Serve for ever."""
    store, clock, never = Store.open(url), Ahead(ahead), asyncio.Event()
    host = Host(store, LogBus(store, clock), clock=clock, batch=7)
    print("ready", flush=True)
    await asyncio.gather(host.serve(never), Performer(store, clock, at_once=8).serve(never))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))

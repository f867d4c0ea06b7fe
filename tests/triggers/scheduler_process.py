"""A scheduler as a process of its own, for tests that kill it: `python -m tests.triggers.scheduler_process URL`."""

import asyncio
import sys

from tocsin.store.engine import Store
from tocsin.triggers.scheduler import Scheduler


def main(url: str) -> None:
    """Say "up" when the database is open, then work until killed."""
    store = Store.open(url)
    sys.stdout.write("up\n")
    sys.stdout.flush()
    asyncio.run(Scheduler(store).serve(asyncio.Event()))


if __name__ == "__main__":
    main(sys.argv[1])

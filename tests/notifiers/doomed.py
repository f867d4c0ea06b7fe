"""A dispatcher in a process of its own, to be killed: `python -m tests.notifiers.doomed DATABASE_URL`."""

import asyncio
import sys

from tocsin.notifiers.dispatch import Dispatcher
from tocsin.store.engine import Store


async def serve(url: str) -> None:
    """Deliver until killed."""
    await Dispatcher(Store.open(url)).serve(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))

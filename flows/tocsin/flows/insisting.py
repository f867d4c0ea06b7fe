"""Calls to a service through a client that blocks: in threads of their own, tried again while it does not answer."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from tocsin.events.errors import Unavailable

PAUSES_S: Final = (0.2, 1.0, 3.0)
"""Between one try and the next."""

Answer = TypeVar("Answer")


class Caller:
    """Some threads; more calls than threads wait for their turn."""

    def __init__(self, name: str, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def once(self, call: Callable[[], Answer]) -> Answer:
        """What it returns or raises."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def insist(self, call: Callable[[], Answer]) -> Answer:
        """The same, tried again while it raises Unavailable; so it must be one that may be carried out twice."""
        for pause in PAUSES_S:
            try:
                return await self.once(call)
            except Unavailable:
                await asyncio.sleep(pause)
        return await self.once(call)

    def close(self) -> None:
        """Begin nothing more; a call that is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

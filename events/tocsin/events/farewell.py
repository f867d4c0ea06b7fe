"""Letting go of connections without waiting for ever for a server that is away."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

CLOSE_S: Final = 15.0


async def end(*steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Take the steps of a farewell, each for `CLOSE_S` at the most; what goes wrong in one does not keep the next."""
    for step in steps:
        task = asyncio.create_task(step())
        await asyncio.wait({task}, timeout=CLOSE_S)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()

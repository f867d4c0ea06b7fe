"""Tasks that go on beside the work, until somebody wants to close."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

FAREWELL_S: Final = 5.0

Result = TypeVar("Result")


class Chores:
    """Begins them, and at the end sees to it that none is left."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()  # Any: whatever they give

    def begin(self, work: Coroutine[Any, Any, Result], name: str) -> "asyncio.Task[Result]":  # Any: sent and yielded
        """A task of its own, which need not be kept."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, within_s: float = FAREWELL_S) -> None:
        """Wait for them, and cancel those that take longer."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=within_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

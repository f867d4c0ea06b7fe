"""One engine for functions that block and functions that await.

An engine is a generator of steps: what to wait for, never how. `drive` takes the steps in this thread, `drive_async`
in an event loop. The engine itself reads the same from top to bottom for both.
"""

import asyncio
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future as Outcome
from concurrent.futures import wait as wait_for_all
from typing import Any, Protocol

# Any below: steps carry the results of users' functions.


class Step(Protocol):
    """Something to wait for."""

    def block(self) -> Any:
        """Wait in this thread."""
        ...

    async def suspend(self) -> Any:
        """Wait in the running event loop."""
        ...


Steps = Generator[Step, Any, Any]


class Do:
    """Our own blocking work: a transaction, a file."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work

    def block(self) -> Any:
        """Do it here."""
        return self.work()

    async def suspend(self) -> Any:
        """Do it in a thread: the loop stays free."""
        return await asyncio.to_thread(self.work)


class Call:
    """The user's function."""

    __slots__ = ("args", "function", "kwargs", "timeout_s")

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], timeout_s: float | None
    ) -> None:
        self.function, self.args, self.kwargs, self.timeout_s = function, args, kwargs, timeout_s

    def block(self) -> Any:
        """Call it."""
        return self.function(*self.args, **self.kwargs)

    async def suspend(self) -> Any:
        """Await it, for `timeout_s` at the most."""
        async with asyncio.timeout(self.timeout_s):
            return await self.function(*self.args, **self.kwargs)


class Sleep:
    """A pause."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = max(0.0, seconds)

    def block(self) -> None:
        """Sleep here."""
        time.sleep(self.seconds)

    async def suspend(self) -> None:
        """Let the loop do something else."""
        await asyncio.sleep(self.seconds)


class Await:
    """The end of some futures, however they end."""

    __slots__ = ("outcomes",)

    def __init__(self, outcomes: list["Outcome[Any]"]) -> None:
        self.outcomes = outcomes

    def block(self) -> None:
        """Wait here."""
        wait_for_all(self.outcomes)

    async def suspend(self) -> None:
        """Wait without holding the loop."""
        await asyncio.gather(*map(asyncio.wrap_future, self.outcomes), return_exceptions=True)


def drive(steps: Steps) -> Any:
    """The engine's result, every step taken in this thread."""
    advance, answer = steps.send, None
    while True:
        try:
            step = advance(answer)
        except StopIteration as end:
            return end.value
        try:
            advance, answer = steps.send, step.block()
        except BaseException as error:  # handed to the engine, which decides
            advance, answer = steps.throw, error


async def drive_async(steps: Steps) -> Any:
    """The engine's result, every step awaited."""
    advance, answer = steps.send, None
    while True:
        try:
            step = advance(answer)
        except StopIteration as end:
            return end.value
        try:
            advance, answer = steps.send, await step.suspend()
        except BaseException as error:  # handed to the engine, which decides
            advance, answer = steps.throw, error

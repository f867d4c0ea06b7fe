"""One engine for functions that block and functions that await.

An engine is a generator of steps: what to wait for, never how. `drive` takes the steps in this thread, `drive_async`
in an event loop, `submitting` in whichever thread of a pool is free. The engine reads the same for all of them.
"""

import asyncio
import inspect
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future as Outcome
from concurrent.futures import wait as wait_for_all
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Protocol
from uuid import UUID

from tocsin.events.clock import Clock, Skipping
from tocsin.flows.errors import OutOfTime
from tocsin.flows.patience import in_time
from tocsin.flows.pool import LOOP, lent, lent_here

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
    """The user's function, for `timeout_s` seconds at the most; `run_id` names the run to whom it takes too long."""

    __slots__ = ("args", "function", "kwargs", "run_id", "timeout_s")

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout_s: float | None = None,
        run_id: UUID | None = None,
    ) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.timeout_s, self.run_id = timeout_s, run_id

    def block(self) -> Any:
        """Call it: here, or, with a time limit, in a thread that can be left alone. Raises OutOfTime."""
        if self.timeout_s is None:
            return self.function(*self.args, **self.kwargs)
        return in_time(partial(self.function, *self.args, **self.kwargs), self.timeout_s, self.run_id)

    async def suspend(self) -> Any:
        """Await it; out of time it is cancelled. Raises OutOfTime."""
        if self.timeout_s is None:
            return await self.function(*self.args, **self.kwargs)
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                return await self.function(*self.args, **self.kwargs)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise OutOfTime(self.timeout_s, self.run_id) from error


class Ask:
    """Another function of the user's, a coroutine function or not, whatever the run's own function is."""

    __slots__ = ("args", "function")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function, self.args = function, args

    def block(self) -> Any:
        """Call it; a coroutine gets an event loop of its own."""
        answer = self.function(*self.args)
        return _in_own_loop(answer) if inspect.iscoroutine(answer) else answer

    async def suspend(self) -> Any:
        """Call it in a thread, so that the loop stays free; a coroutine is awaited here."""
        if inspect.iscoroutinefunction(self.function):
            return await self.function(*self.args)
        answer = await asyncio.to_thread(self.function, *self.args)
        return await answer if inspect.iscoroutine(answer) else answer


class Pause(ABC):
    """A step that needs no thread while it waits."""

    __slots__ = ()

    short: ClassVar[bool] = False
    """Over in a moment: where nobody else wants the thread, it is not worth a change of threads."""

    @abstractmethod
    def block(self) -> Any:
        """Wait in this thread."""

    @abstractmethod
    async def suspend(self) -> Any:
        """Wait in the running event loop."""

    @abstractmethod
    def park(self, then: Callable[[], None]) -> None:
        """Call `then`, which does not block, when it is over: perhaps at once, perhaps from another thread."""

    def answer(self) -> Any:
        """What the engine gets for it, once it is over and was parked. Raises what the engine is to see."""
        return None


class Sleep(Pause):
    """A pause of some seconds; none by a `clock` that can skip them."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float, clock: Clock | None = None) -> None:
        self.seconds = max(0.0, seconds)
        if isinstance(clock, Skipping):
            clock.skip(timedelta(seconds=self.seconds))
            self.seconds = 0.0

    def block(self) -> None:
        """Sleep here."""
        with lent():
            time.sleep(self.seconds)

    async def suspend(self) -> None:
        """Let the loop do something else."""
        async with lent_here():
            await asyncio.sleep(self.seconds)

    def park(self, then: Callable[[], None]) -> None:
        """Have the loop call `then`."""
        LOOP.later(self.seconds, then)


class Await(Pause):
    """The end of some futures, however they end."""

    __slots__ = ("outcomes",)

    def __init__(self, outcomes: list["Outcome[Any]"]) -> None:
        self.outcomes = outcomes

    def block(self) -> None:
        """Wait here."""
        with lent():
            wait_for_all(self.outcomes)

    async def suspend(self) -> None:
        """Wait without holding the loop."""
        async with lent_here():
            await asyncio.gather(*map(asyncio.wrap_future, self.outcomes), return_exceptions=True)

    def park(self, then: Callable[[], None]) -> None:
        """Have the last of them call `then`."""
        when_all_done(self.outcomes, then)


def _in_own_loop(work: Coroutine[Any, Any, Any]) -> Any:
    outcome: Outcome[Any] = Outcome()

    def run() -> None:
        try:
            outcome.set_result(asyncio.run(work))
        except BaseException as error:  # whoever waits for it is told
            outcome.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name="tocsin-hook", daemon=True).start()
    return outcome.result()


def when_all_done(outcomes: Sequence["Outcome[Any]"], then: Callable[[], None]) -> None:
    """Call `then` once, when the last of them has ended: at once when all have."""
    if not outcomes:
        then()
        return
    left = len(outcomes)
    lock = threading.Lock()

    def ended(_: "Outcome[Any]") -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            then()

    for outcome in outcomes:
        outcome.add_done_callback(ended)


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


async def drive_async(steps: Steps, call: Callable[[Call], Awaitable[Any]] = Call.suspend) -> Any:
    """The engine's result, every step awaited; `call` is how the user's function is called."""
    advance, answer = steps.send, None
    while True:
        try:
            step = advance(answer)
        except StopIteration as end:
            return end.value
        try:
            advance, answer = steps.send, await (call(step) if isinstance(step, Call) else step.suspend())
        except BaseException as error:  # handed to the engine, which decides
            advance, answer = steps.throw, error

"""Futures: results of submitted tasks, and how they find their way into the arguments of others."""

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError
from concurrent.futures import Future as Outcome
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from tocsin.events.errors import Invalid
from tocsin.flows.errors import UpstreamFailed
from tocsin.flows.pool import LOOP, lent, lent_here

R = TypeVar("R", covariant=True)
T = TypeVar("T")
_CONTAINERS: Final = (list, tuple, set, frozenset, dict)

# Any below: users' values.


class Future(Generic[R]):
    """The result of a task run that was submitted. `await` it in a coroutine, or call `result`."""

    def __init__(self, name: str, run_id: UUID, outcome: "Outcome[Any]") -> None:
        self.name = name
        """The task run's name."""
        self.task_run_id = run_id
        self.outcome = outcome

    def result(self, timeout: float | None = None) -> R:
        """What the task returned, after `timeout` seconds at the most (TimeoutError). Raises what the task raised."""
        self.wait(timeout)
        value: R = self.outcome.result(0)
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the task raised, or None."""
        self.wait(timeout)
        return self.outcome.exception(0)

    def wait(self, timeout: float | None = None) -> None:
        """Return when the task has ended or the timeout is over."""
        if self.outcome.done():
            return
        if LOOP.is_here():
            raise Invalid(f"task run {self.name}: a coroutine that waits with .result() blocks the others; await it")
        ended = threading.Event()
        self.outcome.add_done_callback(lambda _: ended.set())
        with lent():
            ended.wait(timeout)

    def done(self) -> bool:
        """Whether the task has ended."""
        return self.outcome.done()

    def __await__(self) -> Generator[Any, None, R]:
        return self._awaited().__await__()

    async def _awaited(self) -> R:
        import asyncio

        if not self.outcome.done():
            async with lent_here():
                await asyncio.gather(asyncio.wrap_future(self.outcome), return_exceptions=True)
        value: R = self.outcome.result(0)
        return value

    def __repr__(self) -> str:
        return f"<Future of {self.name}: {'done' if self.done() else 'under way'}>"


class Futures(list[Future[R]]):
    """The futures of `.map`, in the order of the elements."""

    def result(self, timeout: float | None = None) -> list[R]:
        """All results, in order. Raises what the first failed one raised."""
        return [future.result(timeout) for future in self]

    def wait(self, timeout: float | None = None) -> None:
        """Return when all have ended; the timeout is for each."""
        for future in self:
            future.wait(timeout)


class Unmapped(Generic[T]):
    """A value that `.map` hands to every run whole."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


def unmapped(value: T) -> Unmapped[T]:
    """Say that `.map` shall not go through the elements of `value`."""
    return Unmapped(value)


def found(values: Iterable[Any]) -> list[Future[Any]]:
    """The futures among `values`, and inside their lists, tuples, sets and dicts."""
    futures: list[Future[Any]] = []
    rest = list(values)
    seen: set[int] = set()
    while rest:
        value = rest.pop()
        if isinstance(value, Future):
            futures.append(value)
        elif isinstance(value, _CONTAINERS) and value and id(value) not in seen:
            seen.add(id(value))
            rest.extend(value.values() if isinstance(value, dict) else value)
    return futures


def resolved(value: Any, take: Callable[[Future[Any]], Any]) -> Any:
    """`value` with what `take` says in place of futures, all of which are done."""
    if isinstance(value, Future):
        return take(value)
    if not isinstance(value, _CONTAINERS) or not found([value]):
        return value
    if isinstance(value, dict):
        return {key: resolved(entry, take) for key, entry in value.items()}
    entries = [resolved(entry, take) for entry in value]
    kind = type(value)
    if isinstance(value, list):
        return entries
    return kind(*entries) if hasattr(value, "_fields") else kind(entries)


def result_for(task: str, future: Future[Any]) -> Any:
    """The result of a future that is done, as an input of `task`. Raises UpstreamFailed naming both."""
    try:
        return future.outcome.result(0)
    except UpstreamFailed as error:
        root = str(error).partition(": ")[2]
        raise UpstreamFailed(f'task "{task}" did not run: {root}') from error
    except (Exception, CancelledError) as error:
        why = f"upstream task run {future.name!r} failed with {type(error).__name__}: {error}"
        raise UpstreamFailed(f'task "{task}" did not run: {why}') from error

"""Futures: results of submitted tasks, and how they find their way into the arguments of others."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import Future as Outcome
from typing import Any, Final, Generic, NamedTuple, TypeVar, overload
from uuid import UUID

from tocsin.events.errors import Invalid
from tocsin.flows.allow import Allowed
from tocsin.flows.errors import UpstreamFailed
from tocsin.flows.pool import LOOP, lent, lent_here
from tocsin.flows.run_states import RunState
from tocsin.flows.states import COMPLETED, State, failed, pending
from tocsin.flows.trace import Trace

R = TypeVar("R", covariant=True)
T = TypeVar("T")
PENDING: Final = pending()
MOST_NAMED: Final = 10
_CONTAINERS: Final = (list, tuple, set, frozenset, dict)

# Any below: users' values.


class Future(Generic[R]):
    """The result of a task run that was submitted. `await` it in a coroutine, or call `result`.

    `index`: its element's place in the `.map` that made it. `seen`: somebody has looked how it ended; a flow whose
    submitted tasks fail unseen fails itself.
    """

    def __init__(self, trace: Trace, outcome: "Outcome[Any]", index: int | None = None) -> None:
        self._trace, self.outcome, self.index = trace, outcome, index
        self.seen = False

    @property
    def name(self) -> str:
        """The task run's name."""
        name: str = self._trace.row["name"]
        return name

    @property
    def task_run_id(self) -> UUID:
        """The task run's id."""
        identity: UUID = self._trace.row["id"]
        return identity

    @property
    def state(self) -> RunState:
        """Where the task run is now; once it has ended, with its result."""
        if not self.outcome.done():
            return RunState(self._trace.reached or PENDING)
        self.seen = True
        if (error := _exception(self.outcome)) is not None:
            return RunState(_end(self._trace.reached, failed(error)), error=error)
        return RunState(_end(self._trace.reached, COMPLETED), self.outcome.result(0))

    @overload
    def result(self, timeout: float | None = None) -> R: ...
    @overload
    def result(self, timeout: float | None = None, *, raise_on_failure: bool) -> Any: ...
    def result(self, timeout: float | None = None, *, raise_on_failure: bool = True) -> Any:
        """What the task returned, after `timeout` seconds at the most (TimeoutError).

        Raises what the task raised, or gives it (`raise_on_failure=False`).
        """
        self.wait(timeout)
        if self.outcome.done():
            self.seen = True
            if not raise_on_failure and (error := _exception(self.outcome)) is not None:
                return error
        return self.outcome.result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the task raised, or None; after `timeout` seconds at the most (TimeoutError)."""
        self.wait(timeout)
        self.seen = self.seen or self.outcome.done()
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
        self.seen = True
        value: R = self.outcome.result(0)
        return value

    def __repr__(self) -> str:
        return f"<Future of {self.name}: {'done' if self.done() else 'under way'}>"


class Futures(list[Future[R]]):
    """The futures of `.map`, in the order of the elements."""

    @overload
    def result(self, timeout: float | None = None) -> list[R]: ...
    @overload
    def result(self, timeout: float | None = None, *, raise_on_failure: bool) -> list[Any]: ...
    def result(self, timeout: float | None = None, *, raise_on_failure: bool = True) -> list[Any]:
        """All results, in order; the timeout is for each.

        Raises what the first failed one raised, or gives what each raised in its place (`raise_on_failure=False`).
        """
        self.wait(timeout)
        for future in self:
            future.seen = future.seen or future.done()
        return [future.result(0, raise_on_failure=raise_on_failure) for future in self]

    @property
    def states(self) -> list[RunState]:
        """Where each of them is now."""
        return [future.state for future in self]

    def wait(self, timeout: float | None = None) -> None:
        """Return when all have ended; the timeout is for each."""
        for future in self:
            future.wait(timeout)


class Waited(NamedTuple):
    """The futures that have ended, and those that have not."""

    done: set[Future[Any]]
    not_done: set[Future[Any]]


def wait(futures: Iterable[Future[Any]], timeout: float | None = None) -> Waited:
    """Wait until all have ended, or `timeout` seconds are over; which have."""
    listed = list(futures)
    try:
        for _ in as_completed(listed, timeout):
            pass
    except TimeoutError:
        pass
    return Waited({each for each in listed if each.done()}, {each for each in listed if not each.done()})


def as_completed(futures: Iterable[Future[Any]], timeout: float | None = None) -> Iterator[Future[Any]]:
    """The futures in the order in which they end. Raises TimeoutError when `timeout` seconds are over before that."""
    listed = list(futures)
    if LOOP.is_here():
        raise Invalid("a coroutine that waits for futures blocks the others; await them, or asyncio.as_completed")
    ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    until = None if timeout is None else time.monotonic() + timeout
    for future in listed:
        future.outcome.add_done_callback(lambda _, future=future: ended.put(future))  # type: ignore[misc]  # one each
    for number in range(len(listed)):
        yield _next(ended, until, len(listed) - number)


def _next(ended: "queue.SimpleQueue[Future[Any]]", until: float | None, left: int) -> Future[Any]:
    try:
        return ended.get_nowait()
    except queue.Empty:
        pass
    rest = None if until is None else max(0.0, until - time.monotonic())
    try:
        with lent():
            return ended.get(timeout=rest)
    except queue.Empty:
        raise TimeoutError(f"{left} task runs have not ended in time") from None


class Unmapped(Generic[T]):
    """A value that `.map` hands to every run whole."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


def unmapped(value: T) -> Unmapped[T]:
    """Say that `.map` shall not go through the elements of `value`."""
    return Unmapped(value)


def found(values: Iterable[Any]) -> list[Future[Any]]:
    """The futures among `values`, and inside their lists, tuples, sets and dicts, in their order."""
    futures: list[Future[Any]] = []
    rest = list(values)
    rest.reverse()
    seen: set[int] = set()
    while rest:
        value = rest.pop()
        if isinstance(value, Future):
            futures.append(value)
        elif isinstance(value, Allowed):
            rest.append(value.value)
        elif isinstance(value, _CONTAINERS) and value and id(value) not in seen:
            seen.add(id(value))
            rest.extend(reversed(list(value.values() if isinstance(value, dict) else value)))
    return futures


def resolved(value: Any, take: Callable[[Future[Any]], Any]) -> Any:
    """`value` with what `take` says in place of futures, all of which are done."""
    if isinstance(value, Future):
        return take(value)
    if isinstance(value, Allowed):
        return resolved(value.value, outcome_of)
    if not isinstance(value, _CONTAINERS) or not found([value]):
        return value
    if isinstance(value, dict):
        return {key: resolved(entry, take) for key, entry in value.items()}
    entries = [resolved(entry, take) for entry in value]
    kind = type(value)
    if isinstance(value, list):
        return entries
    return kind(*entries) if hasattr(value, "_fields") else kind(entries)


def outcome_of(future: Future[Any]) -> Any:
    """The result of a future that is done, or the exception in its place."""
    future.seen = True
    error = _exception(future.outcome)
    return future.outcome.result(0) if error is None else error


def result_for(owner: str, future: Future[Any]) -> Any:
    """The result of a future that is done, as an input of `owner`. Raises UpstreamFailed naming both."""
    future.seen = True
    error = _exception(future.outcome)
    if error is None:
        return future.outcome.result(0)
    raise UpstreamFailed(f"{owner} did not run: {_failure(future, error)}") from error


def failures_of(futures: Iterable[Future[Any]]) -> list[tuple[Future[Any], BaseException]]:
    """Those of the futures, all done, that failed, each with its error."""
    return [(future, error) for future in futures if (error := _exception(future.outcome)) is not None]


def refuse_failed(owner: str, futures: Iterable[Future[Any]]) -> None:
    """Raise UpstreamFailed naming those of the futures, all done, that failed; the first one's error is its cause."""
    listed = list(futures)
    for future in listed:
        future.seen = True
    if failures := failures_of(listed):
        raise UpstreamFailed(f"{owner}: {named_failures(failures)}") from failures[0][1]


def named_failures(failures: Sequence[tuple[Future[Any], BaseException]]) -> str:
    """Which task runs failed, and how: each by its name, its place in a map and its error, the first ten in full."""
    shown = "; ".join(_failure(future, error) for future, error in failures[:MOST_NAMED])
    more = len(failures) - MOST_NAMED
    return shown if more <= 0 else f"{shown}; and {more} more"


def _failure(future: Future[Any], error: BaseException) -> str:
    """Which task run failed: this one, or the one because of which it did not run."""
    if isinstance(error, UpstreamFailed):
        return str(error).partition(": ")[2]
    place = f" (map index {future.index})" if future.index is not None else ""
    return f"task run {future.name!r}{place} failed with {type(error).__name__}: {error}"


def _exception(outcome: "Outcome[Any]") -> BaseException | None:
    try:
        return outcome.exception(0)
    except CancelledError as error:
        return error


def _end(reached: State | None, otherwise: State) -> State:
    """The state in which the run has ended; one that had none was found done, or never began."""
    return reached if reached is not None and reached.final else otherwise

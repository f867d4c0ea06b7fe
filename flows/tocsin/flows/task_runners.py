"""Task runners: where the submitted and mapped tasks of a flow run. `@flow(task_runner=...)`.

A runner is entered when a run of its flow begins, and left when that has ended, over all its attempts. Flows that are
given the same object share it: it starts with the first of them and stops with the last.
"""

import asyncio
import os
import threading
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from tocsin.events.errors import Invalid
from tocsin.flows.children import Children
from tocsin.flows.far import answered, packed, unpacked
from tocsin.flows.pool import LIMIT, Pool
from tocsin.flows.steps import Call
from tocsin.flows.submitting import Submission, in_pool

Broke = BaseException | None


class TaskRunner(Protocol):
    """What a flow needs of a runner."""

    in_line: ClassVar[bool]
    """Whether `take` returns only when the task has ended."""

    def take(self, submission: Submission) -> None:
        """Run it: its inputs are there. What comes of it goes into its future; nothing is raised."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: Broke, trace: TracebackType | None) -> None: ...


class Shared:
    """Begun by the first who enters, ended by the last who leaves, in any thread."""

    def __init__(self) -> None:
        self._users = 0
        self._door = threading.Lock()

    def __enter__(self) -> Self:
        with self._door:
            if self._users == 0:
                self.start()
            self._users += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Broke, trace: TracebackType | None) -> None:
        with self._door:
            self._users -= 1
            if self._users == 0:
                self.stop()

    def start(self) -> None:
        """Make ready what tasks will need."""

    def stop(self) -> None:
        """Give it up."""


class SequentialTaskRunner(Shared):
    """One task after another, in line: `submit` returns when the task has ended."""

    in_line: ClassVar = True

    def take(self, submission: Submission) -> None:
        """Run it to its end; a coroutine in an event loop of its own."""
        if not submission.task.is_async:
            submission.here()
            return
        alone = threading.Thread(target=submission.context.run, args=(asyncio.run, submission.awaited()))
        alone.start()
        alone.join()


class ThreadPoolTaskRunner(Shared):
    """Tasks side by side: functions in threads, coroutines in an event loop, at most `max_workers` at once.

    What a flow without a runner uses, with one pool for all flows of the process.
    """

    in_line: ClassVar = False

    def __init__(self, max_workers: int = LIMIT) -> None:
        super().__init__()
        self.max_workers = checked_workers(type(self).__name__, max_workers)
        self._pool = Pool(max_workers)

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self.max_workers,)

    def take(self, submission: Submission) -> None:
        """Run it when there is a place."""
        in_pool(self._pool, submission)

    def start(self) -> None:
        """A pool of its own."""
        self._pool = Pool(self.max_workers)

    def stop(self) -> None:
        """Let its threads go."""
        self._pool.close()


ConcurrentTaskRunner = ThreadPoolTaskRunner


class ProcessPoolTaskRunner(Shared):
    """Tasks side by side in at most `max_workers` processes, which are used again; a timeout kills.

    Functions, arguments and results are pickled. A process that dies takes one task run with it, which is tried again
    if it has retries, and CRASHED if not.
    """

    in_line: ClassVar = False

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__()
        self.max_workers = checked_workers(type(self).__name__, max_workers or os.cpu_count() or 1)
        self._pool = Pool(self.max_workers)
        self._children = Children()

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self.max_workers,)

    def take(self, submission: Submission) -> None:
        """Have its function called in a process when there is a place."""
        call = partial(self._call, submission)
        self._pool.put(partial(submission.step_by_step, self._pool, call))

    def start(self) -> None:
        """Places; processes are started when tasks come."""
        self._pool, self._children = Pool(self.max_workers), Children()

    def stop(self) -> None:
        """End the processes."""
        self._pool.close()
        self._children.close()

    def _call(self, submission: Submission, call: Call) -> Any:  # Any: the task's result
        kills = None if submission.task.is_async else call.timeout_s
        sent = packed(submission.task, call, call.timeout_s if submission.task.is_async else None)
        return unpacked(self._children.call(sent, kills, partial(answered, submission.ledger)))


def checked_workers(owner: str, number: int) -> int:
    """The number. Raises Invalid for anything but a whole number from 1 up."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise Invalid(f"{owner}: max_workers is a whole number from 1 up, not {number!r}")
    return number

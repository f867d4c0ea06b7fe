"""Task runners: where the submitted and mapped tasks of a flow run. `@flow(task_runner=...)`.

A runner is entered when a run of its flow begins, and left when that has ended, over all its attempts. Flows that are
given the same object share it: it starts with the first of them and stops with the last.
"""

import asyncio
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tocsin.events.errors import Invalid
from tocsin.flows.children import Children, Killed
from tocsin.flows.errors import OutOfTime
from tocsin.flows.far import answered, packed, unpacked
from tocsin.flows.pool import LIMIT, Pool
from tocsin.flows.runner import Shared
from tocsin.flows.runner import TaskRunner as TaskRunner
from tocsin.flows.steps import Call
from tocsin.flows.submitting import Submission, in_pool

if TYPE_CHECKING:
    from tocsin.flows.dask import DaskTaskRunner as DaskTaskRunner


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

    def made_from(self) -> tuple[Any, ...]:
        """The limit."""
        return (self.max_workers,)

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
        self.max_workers = checked_workers(
            type(self).__name__, (os.cpu_count() or 1) if max_workers is None else max_workers
        )
        self._pool = Pool(self.max_workers)
        self._children = Children()

    def made_from(self) -> tuple[Any, ...]:
        """The limit."""
        return (self.max_workers,)

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
        try:
            return unpacked(self._children.call(sent, kills, partial(answered, submission.ledger)))
        except Killed as error:
            raise OutOfTime(error.timeout_s, call.run_id) from error


def checked_workers(owner: str, number: int) -> int:
    """The number. Raises Invalid for anything but a whole number from 1 up."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise Invalid(f"{owner}: max_workers is a whole number from 1 up, not {number!r}")
    return number


def __getattr__(name: str) -> Any:  # Any: a class
    """`DaskTaskRunner`, which needs an extra, is imported when somebody asks for it."""
    if name == "DaskTaskRunner":
        from tocsin.flows.dask import DaskTaskRunner

        return DaskTaskRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

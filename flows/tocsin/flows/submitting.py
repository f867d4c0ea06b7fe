"""Tasks beside the caller: handed to the task runner of their flow as soon as their inputs are there."""

import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future as Outcome
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tocsin.events.errors import Invalid
from tocsin.flows.allow import Allowed
from tocsin.flows.context import flow_context
from tocsin.flows.futures import Future, Futures, Unmapped, found
from tocsin.flows.pool import POOL, Pool
from tocsin.flows.steps import Call, Pause, Step, drive, drive_async, when_all_done
from tocsin.flows.task_engine import run_task
from tocsin.flows.trace import Trace

if TYPE_CHECKING:
    from tocsin.flows.tasks import Task

# Any below: users' arguments and results.
Arguments = tuple[Any, ...]
Named = Mapping[str, Any]


_CHANGED: Final = threading.Condition()


class _Kept(Outcome[Any]):
    """The outcome of a task run. Whoever stops waiting for it does not take it back.

    All of them share a condition, which is held for moments: one for each, with its lock and its queue, was a third of
    what the collector of garbage had to look through while thousands of tasks were under way.
    """

    def __init__(self) -> None:
        super().__init__()
        self._condition = _CHANGED

    def cancel(self) -> bool:
        """It is not for those who wait to say."""
        return False


class Submission:
    """A task run that was submitted: its engine, in the context of whoever submitted it.

    One of `here`, `step_by_step` and `awaited` runs it, once, and tells its future how it ended.
    """

    def __init__(
        self, task: "Task[..., Any]", trace: Trace, args: Arguments, kwargs: Named, after: Arguments = ()
    ) -> None:
        self.task = task
        self.ledger = trace.ledger
        self.outcome: Outcome[Any] = _Kept()
        self.context = copy_context()
        self._steps = run_task(task, trace, args, dict(kwargs), after)
        self._advance: Callable[[Any], Step] = self._steps.send
        self._answer: Any = None
        self._pause: Pause | None = None

    def here(self) -> None:
        """Run it in this thread, to its end."""
        try:
            value = self.context.run(drive, self._steps)
        except BaseException as error:  # whoever asks for the result is told
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(value)

    def step_by_step(self, pool: Pool, call: Callable[[Call], Any] = Call.block) -> None:
        """Run it in this thread of the pool; while it only waits, the thread does something else.

        `call` is how the user's function is called.
        """
        try:
            pause = self.context.run(self._go, pool, call)
        except StopIteration as end:
            self.outcome.set_result(end.value)
        except BaseException as error:  # whoever asks for the result is told
            self.outcome.set_exception(error)
        else:
            self._pause = pause
            pause.park(partial(pool.put_back, partial(self.step_by_step, pool, call)))

    async def awaited(self, call: Callable[[Call], Awaitable[Any]] = Call.suspend) -> None:
        """Run it in this event loop; the caller has entered its context."""
        try:
            value = await drive_async(self._steps, call)
        except BaseException as error:  # whoever asks for the result is told
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(value)

    def _go(self, pool: Pool, call: Callable[[Call], Any]) -> Pause:
        """Take steps until one only waits. Raises StopIteration with the result, or what the engine raises."""
        if (over := self._pause) is not None:
            self._pause = None
            self._take(over.answer)
        while True:
            step = self._advance(self._answer)
            if isinstance(step, Pause) and not (step.short and pool.quiet):
                return step
            self._take(partial(call, step) if isinstance(step, Call) else step.block)

    def _take(self, step: Callable[[], Any]) -> None:
        """Note what the engine goes on with."""
        try:
            self._advance, self._answer = self._steps.send, step()
        except BaseException as error:  # handed to the engine, which decides
            self._advance, self._answer = self._steps.throw, error


def submit(
    task: "Task[..., Any]", args: Arguments, kwargs: Named, after: Arguments = (), index: int | None = None
) -> Future[Any]:
    """The future of a run of the task that begins when the futures among its arguments, and in `after`, are done.

    `index`: its element's place in a map.
    """
    flow = flow_context.get()
    trace = task.trace(flow)
    trace.index = index
    submission = Submission(task, trace, args, kwargs, after)
    future: Future[Any] = Future(trace, submission.outcome, index)
    inputs = found((*args, *kwargs.values(), *after))
    if flow is None or flow.runner is None:
        start = partial(in_pool, POOL, submission)
    else:
        start = partial(flow.runner.take, submission)
        if flow.runner.in_line:
            for each in inputs:
                each.wait()
    if flow is not None:
        flow.futures.append(future)
    when_all_done([each.outcome for each in inputs], start)
    return future


def in_pool(pool: Pool, submission: Submission) -> None:
    """Run it in a thread, or in the event loop if it is a coroutine, as one of those that the pool has places for."""
    if submission.task.is_async:
        pool.put_coroutine(submission.awaited, submission.context)
    else:
        pool.put(partial(submission.step_by_step, pool))


def mapped(task: "Task[..., Any]", args: Arguments, kwargs: Named, after: Arguments = ()) -> Futures[Any]:
    """One run for each element. Raises Invalid when nothing is there to go through, or the lengths differ."""
    labels = task.parameters.places(args, kwargs)
    given = [*args, *kwargs.values()]
    columns = [_elements(value) for value in given]
    lengths = {label: len(column) for label, column in zip(labels, columns, strict=True) if column is not None}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{label}: {length}" for label, length in lengths.items()) or "none of them is a list"
        raise Invalid(f'task "{task.name}".map goes through lists of one length, and got {shown}')
    return Futures(
        _submit_element(task, len(args), tuple(kwargs), list(zip(given, columns, strict=True)), after, index)
        for index in range(next(iter(lengths.values())))
    )


def _submit_element(
    task: "Task[..., Any]",
    positional: int,
    names: Sequence[str],
    columns: Sequence[tuple[Any, Sequence[Any] | None]],
    after: Arguments,
    index: int,
) -> Future[Any]:
    """One run of a map: the arguments in the places in which the caller gave them, `*args` and `**kwargs` too."""
    values = [_constant(given) if column is None else column[index] for given, column in columns]
    named = dict(zip(names, values[positional:], strict=True))
    return submit(task, tuple(values[:positional]), named, after, index)


def _elements(value: Any) -> Sequence[Any] | None:
    """What `map` goes through; None for a constant."""
    if isinstance(value, Allowed):
        each = _elements(value.value)
        return None if each is None else [Allowed(entry) for entry in each]
    if isinstance(value, Future):
        return _elements(value.result())
    if isinstance(value, Unmapped | str | bytes | bytearray | Mapping) or hasattr(value, "columns"):
        return None
    if isinstance(value, list | tuple):
        return value
    return list(value) if isinstance(value, Iterable) else None


def _constant(value: Any) -> Any:
    return value.value if isinstance(value, Unmapped) else value

"""Tasks beside the caller: handed to threads or to the event loop as soon as their inputs are there."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future as Outcome
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from tocsin.events.errors import Invalid
from tocsin.flows.context import flow_context
from tocsin.flows.futures import Future, Futures, Unmapped, found, when_done
from tocsin.flows.pool import LOOP, POOL
from tocsin.flows.steps import drive, drive_async
from tocsin.flows.task_engine import run_task
from tocsin.flows.trace import Trace

if TYPE_CHECKING:
    from tocsin.flows.tasks import Task

# Any below: users' arguments and results.
Arguments = tuple[Any, ...]
Named = Mapping[str, Any]


def submit(task: "Task[..., Any]", args: Arguments, kwargs: Named) -> Future[Any]:
    """The future of a run of the task that begins when the futures among its arguments are done."""
    flow = flow_context.get()
    trace = task.trace(flow)
    future: Future[Any] = Future(trace.row["name"], trace.row["id"], Outcome())
    if flow is not None:
        flow.futures.append(future)
    context = copy_context()
    begin = lambda: _hand_over(task, future.outcome, trace, args, kwargs, context)  # noqa: E731 - a thunk
    when_done(found((*args, *kwargs.values())), begin)
    return future


def mapped(task: "Task[..., Any]", args: Arguments, kwargs: Named) -> Futures[Any]:
    """One run for each element. Raises Invalid when nothing is there to go through, or the lengths differ."""
    named = task.parameters.signature.bind_partial(*args, **kwargs).arguments
    columns = {name: _elements(value) for name, value in named.items()}
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name}: {length}" for name, length in lengths.items()) or "none of them is a list"
        raise Invalid(f'task "{task.name}".map goes through lists of one length, and got {shown}')
    return Futures(
        submit(task, (), {name: _constant(named[name]) if c is None else c[index] for name, c in columns.items()})
        for index in range(next(iter(lengths.values())))
    )


def _hand_over(
    task: "Task[..., Any]", outcome: "Outcome[Any]", trace: Trace, args: Arguments, kwargs: Named, context: Context
) -> None:
    if task.is_async:

        async def run() -> None:
            await _report_async(outcome, drive_async(run_task(task, trace, args, dict(kwargs))))

        context.run(LOOP.put, run)
    else:
        work = lambda: drive(run_task(task, trace, args, dict(kwargs)))  # noqa: E731 - a thunk, not a function of ours
        POOL.put(lambda: context.run(_report, outcome, work))


def _elements(value: Any) -> Sequence[Any] | None:
    """What `map` goes through; None for a constant."""
    if isinstance(value, Future):
        return _elements(value.result())
    if isinstance(value, Unmapped | str | bytes | bytearray | Mapping) or hasattr(value, "columns"):
        return None
    if isinstance(value, list | tuple):
        return value
    return list(value) if isinstance(value, Iterable) else None


def _constant(value: Any) -> Any:
    return value.value if isinstance(value, Unmapped) else value


def _report(outcome: "Outcome[Any]", work: Callable[[], Any]) -> None:
    try:
        value = work()
    except BaseException as error:  # whoever asks for the result is told
        outcome.set_exception(error)
    else:
        outcome.set_result(value)


async def _report_async(outcome: "Outcome[Any]", work: Coroutine[Any, Any, Any]) -> None:
    try:
        value = await work
    except BaseException as error:  # whoever asks for the result is told
        outcome.set_exception(error)
    else:
        outcome.set_result(value)

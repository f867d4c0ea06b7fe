"""How a task runs: inputs, an earlier result, tries, the end. A generator of steps, see `steps`."""

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tocsin.flows import reuse, slots
from tocsin.flows.context import TaskContext, task_context
from tocsin.flows.decide import Context
from tocsin.flows.errors import Deferred, Terminated, UpstreamFailed, WorkerDied
from tocsin.flows.futures import found, resolved, result_for
from tocsin.flows.logs import heard
from tocsin.flows.standstill import obeyed
from tocsin.flows.states import State, StateType, awaiting_retry, completed, crashed, failed, pending, running
from tocsin.flows.steps import Await, Call, Do, Sleep, Steps
from tocsin.flows.trace import Trace, seconds_until

if TYPE_CHECKING:
    from tocsin.flows.tasks import Task

SLEEPS_IN_PROCESS: Final = timedelta(seconds=60)
"""A retry that is due later than this is left to the database, where the run has a deployment to start it again."""

logger = logging.getLogger(__name__)

# Any below: users' arguments and results.
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def run_task(task: "Task[..., Any]", trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps:
    """The engine of one task run; its result is the task's."""
    if trace.flow is not None and trace.flow.id in trace.ledger.cancelling:
        raise Terminated("cancelled")
    if trace.flow is not None and trace.flow.wants_a_look():
        yield from obeyed(trace.flow)
    if futures := found((*args, *kwargs.values())):
        yield Await([future.outcome for future in futures])
        args, kwargs = _inputs(task, trace, args, kwargs)
    if task.plain and (trace.flow is None or not trace.flow.resumes):
        return (yield from _tries(task, trace, args, kwargs, None))
    named = task.parameters.bind(args, kwargs)
    trace, done = yield from reuse.resumed(task, trace, named)
    if done is not None:
        return done[0]
    claim, hit = yield from reuse.looked_up(task, trace, named)
    if hit is not None:
        return hit[0]
    return (yield from reuse.flown(claim, trace, _tries(task, trace, args, kwargs, claim)))


def _inputs(task: "Task[..., Any]", trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    try:
        take = partial(result_for, task.name)
        given = tuple(resolved(value, take) for value in args)
        return given, {name: resolved(value, take) for name, value in kwargs.items()}
    except UpstreamFailed as error:
        trace.later(pending())
        trace.settle(failed(error, "UpstreamFailed"))
        raise


def _tries(
    task: "Task[..., Any]", trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any], claim: reuse.Claim | None
) -> Steps:
    if trace.resumed:  # whoever resumed its flow run early wants it now
        trace.later(awaiting_retry(trace.ledger.clock.now(), "its flow run is resumed", trace.state.fault))
    while True:
        held = yield from slots.taken(task, trace)
        trace.later(running(trace.attempt))
        try:
            value = yield from slots.giving(held, _call(task, trace, args, kwargs))
        except Exception as error:
            wait = yield from _failed(task, trace, error)
            if wait is None:
                raise
            yield Sleep(wait)
        except Deferred as error:  # of a task inside this one
            yield Do(partial(trace.settle, awaiting_retry(error.until, str(error))))
            raise
        except BaseException as error:
            yield Do(partial(trace.settle, crashed(interrupted(error))))
            raise
        else:
            yield from _completed(task, trace, value, claim)
            return value


def _call(task: "Task[..., Any]", trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps:
    token = task_context.set(TaskContext(trace.row, trace.flow, task.log_prints))
    try:
        if trace.flow is None or task.log_prints:
            with heard(task.log_prints):
                return (yield Call(task.fn, args, kwargs, task.timeout_s))
        return (yield Call(task.fn, args, kwargs, task.timeout_s))
    finally:
        task_context.reset(token)


def _failed(task: "Task[..., Any]", trace: Trace, error: Exception) -> Steps:
    """Seconds until the next try, None when there is none. Raises Deferred for one that is far away."""
    delay = task.delays[min(trace.row["retries"], task.retries - 1)] if task.retries else timedelta()
    context = Context(retries_left_of=task.retries, retry_delay=delay)
    name = "TimedOut" if task.timeout_s is not None and isinstance(error, TimeoutError) else "Failed"
    last = trace.row["retries"] >= task.retries
    end = crashed(str(error)) if last and isinstance(error, WorkerDied) else failed(error, name)
    state: State = yield Do(lambda: trace.settle(end, context))
    if state.type is not StateType.SCHEDULED:
        return None
    if trace.flow is not None and trace.flow.deployed and delay >= SLEEPS_IN_PROCESS and state.scheduled:
        raise Deferred(state.scheduled)
    return seconds_until(state.scheduled, trace.ledger.clock.now())


def _completed(task: "Task[..., Any]", trace: Trace, value: Any, claim: reuse.Claim | None) -> Steps:
    reference = yield from reuse.kept(task, trace, value, claim)
    yield Do(lambda: trace.settle(completed(), result=reference))
    yield from reuse.remembered(task, trace, value, reference, claim)


def interrupted(error: BaseException) -> str:
    """Why a run broke off, for its state's message."""
    if isinstance(error, Terminated):
        return str(error)
    return f"interrupted by {type(error).__name__}: {error}".rstrip(": ")

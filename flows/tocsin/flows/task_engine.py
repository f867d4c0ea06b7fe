"""How a task runs: inputs, an earlier result, tries, the end. A generator of steps, see `steps`."""

import random
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tocsin.flows import reuse, slots, spans
from tocsin.flows.context import TaskContext, task_context
from tocsin.flows.decide import Context
from tocsin.flows.errors import Deferred, OutOfTime, Terminated, Unsuccessful, UpstreamFailed, WorkerDied
from tocsin.flows.futures import found, resolved, result_for
from tocsin.flows.hooks import told
from tocsin.flows.logs import heard
from tocsin.flows.patience import wanted
from tocsin.flows.run_states import RunState
from tocsin.flows.standstill import obeyed
from tocsin.flows.states import (
    COMPLETED,
    State,
    StateType,
    awaiting_retry,
    completed,
    crashed,
    failed,
    pending,
    running,
)
from tocsin.flows.steps import Await, Call, Do, Sleep, Steps
from tocsin.flows.tables import TaskRun
from tocsin.flows.trace import Settle, Trace, seconds_until
from tocsin.flows.verdicts import named_in, tried_again

if TYPE_CHECKING:
    from tocsin.flows.tasks import Task

SLEEPS_IN_PROCESS: Final = timedelta(seconds=60)
"""A retry that is due later than this is left to the database, where the run has a deployment to start it again."""
EARLIER: Final = completed("done by an earlier attempt of its flow run")

# Any below: users' arguments and results.


def run_task(
    task: "Task[..., Any]", trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any], after: tuple[Any, ...] = ()
) -> Steps:
    """The engine of one task run; its result is the task's. `after`: what it waits for besides its arguments."""
    wanted()
    flow = trace.flow
    if flow is not None:
        if trace.ledger.cancelling and flow.id in trace.ledger.cancelling:
            raise Terminated("cancelled")
        if flow.out_of_time:
            raise Terminated("its flow run is out of time")
        if flow.wants_a_look():
            yield from obeyed(flow)
    if futures := found((*args, *kwargs.values(), *after)):
        yield Await([future.outcome for future in futures])
        args, kwargs = yield from _inputs(task, trace, args, kwargs, after)
    if task.plain and (flow is None or not flow.resumes):
        return (yield from _tries(task, trace, args, kwargs, None))
    return (yield from _looked_up(task, trace, args, kwargs))


def ended(trace: Trace, steps: Steps) -> Steps:
    """The RunState in which the steps of a task run end. Raises what kept it from beginning."""
    try:
        value = yield from steps
    except Exception as error:
        if trace.reached is None:
            raise
        return RunState(trace.state, error=error)
    return RunState(trace.reached or EARLIER, value)


def _looked_up(task: "Task[..., Any]", trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps:
    """The result that the run's inputs have given before, or that of its tries."""
    named = task.parameters.bind(args, kwargs)
    if task.run_name is not None:
        trace.row["name"] = task.run_name.render(named) or trace.row["name"]
    trace, done = yield from reuse.resumed(task, trace, named)
    if done is not None:
        return done[0]
    claim, hit = yield from reuse.looked_up(task, trace, named)
    if hit is not None:
        yield from _told(task, trace, hit[0])
        return hit[0]
    return (yield from reuse.flown(claim, trace, _tries(task, trace, args, kwargs, claim)))


def _inputs(
    task: "Task[..., Any]", trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any], after: tuple[Any, ...]
) -> Steps:
    """The arguments with results in place of futures. Raises UpstreamFailed for one that failed."""
    try:
        take = partial(result_for, task.owner)
        for value in after:
            resolved(value, take)
        given = tuple(resolved(value, take) for value in args)
        return given, {name: resolved(value, take) for name, value in kwargs.items()}
    except UpstreamFailed as error:
        trace.later(pending())
        yield Do(partial(trace.settle, failed(error, "UpstreamFailed")))
        yield from _told(task, trace, error=error)
        raise


def _tries(
    task: "Task[..., Any]", trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any], claim: reuse.Claim | None
) -> Steps:
    if trace.resumed:  # whoever resumed its flow run early wants it now
        trace.later(awaiting_retry(trace.ledger.clock.now(), "its flow run is resumed", trace.state.fault))
    while True:
        held = yield from slots.taken(task, trace)
        trace.later(running(trace.attempt))
        if task.hooks:
            yield from _told(task, trace)
        try:
            value = yield from slots.giving(held, _call(task, trace, args, kwargs))
            state, value = _end(value) if isinstance(value, RunState) else (COMPLETED, value)
        except Exception as error:
            wait = yield from _failed(task, trace, error)
            if wait is None:
                raise
            yield Sleep(wait, trace.ledger.clock)
        except Deferred as error:  # of a task inside this one
            yield Do(partial(trace.settle, awaiting_retry(error.until, str(error))))
            raise
        except BaseException as error:
            yield Do(partial(trace.settle, crashed(interrupted(error))))
            raise
        else:
            yield from _completed(task, trace, state, value, claim)
            return value


def _call(task: "Task[..., Any]", trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps:
    call = Call(task.fn, args, kwargs, task.timeout_s, trace.row["id"])
    token = task_context.set(TaskContext(trace.row, trace.flow, task.log_prints, (task.parameters, args, kwargs)))
    try:
        with spans.of_task(trace.row):
            if trace.flow is None or task.log_prints:
                with heard(bool(task.log_prints)):
                    return (yield call)
            return (yield call)
    finally:
        task_context.reset(token)


def _end(returned: RunState) -> tuple[State, Any]:
    """The end that a run has returned, and its result. Raises what stands for a failure."""
    if not returned.is_completed():
        raise returned.exception()
    return returned.state, returned.result()


def _failed(task: "Task[..., Any]", trace: Trace, error: Exception) -> Steps:
    """Seconds until the next try, None when there is none. Raises Deferred for one that is far away."""
    state = _failure(trace, error)
    again = yield from tried_again(task, trace.row["retries"], partial(_row, trace), RunState(state, error=error))
    if not again and isinstance(error, WorkerDied):
        state = crashed(str(error))
    delay = task.retrying.wait(trace.row["retries"], random.random()) if again else timedelta()  # noqa: S311 - jitter
    context = Context(retries_left_of=task.retries if again else 0, retry_delay=delay)
    stored: State = yield Settle(trace, state, context)
    if stored.type is not StateType.SCHEDULED:
        named_in(error, trace.row["name"], trace.index)
        yield from _told(task, trace, error=error)
        return None
    if trace.flow is not None and trace.flow.deployed and delay >= SLEEPS_IN_PROCESS and stored.scheduled:
        raise Deferred(stored.scheduled)
    return seconds_until(stored.scheduled, trace.ledger.clock.now())


def _failure(trace: Trace, error: Exception) -> State:
    if isinstance(error, Unsuccessful) and error.state.type is StateType.FAILED:
        return error.state
    late = isinstance(error, OutOfTime) and error.run_id == trace.row["id"]
    return failed(error, "TimedOut" if late else "Failed")


def _completed(task: "Task[..., Any]", trace: Trace, state: State, value: Any, claim: reuse.Claim | None) -> Steps:
    reference = (yield from reuse.kept(task, trace, value, claim)) if claim is not None else None
    yield Settle(trace, state, result=reference)
    if claim is not None:
        yield from reuse.remembered(task, trace, value, reference, claim)
    if task.hooks:
        yield from _told(task, trace, value)


def _told(task: "Task[..., Any]", trace: Trace, value: Any = None, error: BaseException | None = None) -> Steps:
    """Tell the task's hooks where the run is."""
    if not task.hooks:
        return
    token = task_context.set(TaskContext(trace.row, trace.flow, task.log_prints))
    try:
        with heard(bool(task.log_prints)):
            yield from told(task, RunState(trace.state, value, error), partial(_row, trace))
    finally:
        task_context.reset(token)


def _row(trace: Trace) -> TaskRun:
    return TaskRun(**trace.row)


def interrupted(error: BaseException) -> str:
    """Why a run broke off, for its state's message."""
    if isinstance(error, Terminated):
        return str(error)
    return f"interrupted by {type(error).__name__}: {error}".rstrip(": ")

"""How a flow runs: its row, its function, the tasks it submitted, tries, the end. A generator of steps, see `steps`."""

import logging
import random
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from tocsin.events.errors import Invalid, Unavailable
from tocsin.events.ids import uuid7
from tocsin.flows import results, spans
from tocsin.flows.changes import Columns, state_of
from tocsin.flows.context import FlowContext, flow_context, in_flow
from tocsin.flows.decide import Context
from tocsin.flows.errors import Deferred, OutOfTime, Parked, Superseded, Unsuccessful
from tocsin.flows.flow_entry import Done, Entry
from tocsin.flows.flow_reports import report, reported, try_again
from tocsin.flows.flow_results import deferred_in, refuse_unseen, result_of
from tocsin.flows.futures import found, resolved, result_for
from tocsin.flows.hooks import told
from tocsin.flows.keeping import rendered
from tocsin.flows.logs import get_run_logger, heard
from tocsin.flows.patience import wanted
from tocsin.flows.run_states import RunState
from tocsin.flows.states import State, StateType, awaiting_retry, crashed, failed
from tocsin.flows.steps import Await, Call, Do, Sleep, Steps
from tocsin.flows.tables import FlowRun
from tocsin.flows.task_engine import EARLIER, SLEEPS_IN_PROCESS, interrupted
from tocsin.flows.trace import seconds_until
from tocsin.flows.verdicts import origin, tried_again

if TYPE_CHECKING:
    from tocsin.flows.flows import Flow

logger = logging.getLogger(__name__)

# Any below: users' arguments and results.
Arguments = Mapping[str, Any]


class Started:
    """A call of a flow: what it waits for (`after`), and, once it has begun, its run."""

    def __init__(self, after: tuple[Any, ...] = ()) -> None:
        self.after = after
        self.context: FlowContext | None = None

    def ended(self, steps: Steps) -> Steps:
        """The RunState in which the steps of the run end. Raises what kept it from beginning."""
        try:
            value = yield from steps
        except Exception as error:
            if self.context is None:
                raise
            return RunState(state_of(self.context.run), error=error)
        return RunState(state_of(self.context.run) if self.context else EARLIER, value)


def run_flow(
    flow: "Flow[..., Any]", named: Arguments, claimed: Columns | None = None, started: Started | None = None
) -> Steps:
    """The engine of one flow run; its result is the flow's. `claimed`: a stored run that a worker has taken."""
    wanted()
    started, parent = started or Started(), flow_context.get()
    named = yield from _given(flow, named, started.after)
    arguments = _validated(flow, named)
    name = None if flow.run_name is None or isinstance(arguments, Invalid) else flow.run_name.render(arguments)
    entry = Entry(flow, named, parent, name)
    context = yield Do(entry.begun if claimed is None else partial(entry.claimed, claimed))
    if isinstance(context, Done):
        return context.value
    started.context, context.is_async = context, flow.is_async
    with heard(bool(flow.log_prints)):
        if isinstance(arguments, Invalid):
            yield from _refused(flow, context, arguments)
            raise arguments
        context.parameters = arguments
        value = yield from _with_runner(flow, context, _tries(flow, context, arguments))
    if parent is not None and context.key is not None:
        parent.done[context.key] = {"kind": "memory", "value": value}
    return value


def _given(flow: "Flow[..., Any]", named: Arguments, after: tuple[Any, ...]) -> Steps:
    """The arguments with results in place of futures. Raises UpstreamFailed for one that failed: there is no run."""
    futures = found((*named.values(), *after))
    if not futures:
        return named
    yield Await([future.outcome for future in futures])
    take = partial(result_for, flow.owner)
    for value in after:
        resolved(value, take)
    return {name: resolved(value, take) for name, value in named.items()}


def _validated(flow: "Flow[..., Any]", named: Arguments) -> Arguments | Invalid:
    if not flow.validate_parameters:
        return named
    try:
        return flow.parameters.validated(named)
    except Invalid as error:
        return error


def _refused(flow: "Flow[..., Any]", context: FlowContext, error: Invalid) -> Steps:
    yield Do(partial(report, context, failed(error)))
    yield from _told(flow, context, error=error)


def _with_runner(flow: "Flow[..., Any]", context: FlowContext, steps: Steps) -> Steps:
    """The result of the steps, with the flow's task runner at hand for as long as they take."""
    runner = flow.task_runner
    if runner is None:
        return (yield from steps)
    try:
        context.runner = yield Do(runner.__enter__)
    except Exception as error:  # of a cluster that is not there: it may be anything
        yield from reported(context, failed(error))
        raise
    try:
        return (yield from steps)
    finally:
        yield Do(partial(runner.__exit__, None, None, None))


def _tries(flow: "Flow[..., Any]", context: FlowContext, arguments: Arguments) -> Steps:
    while True:
        context.begin_attempt()
        if flow.hooks:
            yield from _told(flow, context)
        try:
            state, value = yield from _attempt(flow, context, arguments)
        except Parked:
            raise
        except Deferred as error:
            yield from reported(context, awaiting_retry(error.until, str(error)), lease=None, worker=None)
            raise
        except Exception as error:
            wait = yield from _failed(flow, context, error)
            if wait is None:
                raise
            yield Sleep(wait, context.ledger.clock)
            yield Do(partial(try_again, context))
        except BaseException as error:
            yield from _broken_off(flow, context, error)
            raise
        else:
            yield from _completed(flow, context, state, value)
            return value


def _attempt(flow: "Flow[..., Any]", context: FlowContext, arguments: Arguments) -> Steps:
    """The state in which the flow's function ends, and its result."""
    with spans.of_flow(context.run):
        return (yield from _worked(flow, context, arguments))


def _worked(flow: "Flow[..., Any]", context: FlowContext, arguments: Arguments) -> Steps:
    args, kwargs = flow.parameters.spread(arguments)
    with in_flow(context):
        try:
            value = yield Call(flow.fn, args, kwargs, flow.timeout_s, context.id)
        except (Exception, Deferred) as error:
            if not _out_of_time(context, error):
                yield from _settled(context)
            raise
        yield from _settled(context)
    if (late := deferred_in(context.futures)) is not None:
        raise late
    state, value = result_of(flow.owner, value)
    refuse_unseen(flow.owner, context.futures)
    return state, value


def _out_of_time(context: FlowContext, error: BaseException) -> bool:
    """Whether it was this flow's own function that took too long; then nothing more begins in it."""
    if isinstance(error, OutOfTime) and error.run_id == context.id:
        context.out_of_time = True
    return context.out_of_time


def _settled(context: FlowContext) -> Steps:
    """Wait for the tasks that were submitted, and for those that they submit."""
    seen = 0
    while len(context.futures) > seen:
        waited, seen = context.futures[seen:], len(context.futures)
        yield Await([future.outcome for future in waited])


def _failed(flow: "Flow[..., Any]", context: FlowContext, error: Exception) -> Steps:
    """Seconds until the next try, None when there is none. Raises Deferred for one that is far away."""
    if isinstance(error, Superseded):
        return None
    if context.run["deployment"]:  # nobody sees the exception: it goes into the run's log
        with in_flow(context):
            get_run_logger().error("flow run %s failed", context.run["name"], exc_info=error)
    state, retries = _failure(context, error), context.run["retries"]
    with in_flow(context):
        again = yield from tried_again(flow, retries, partial(_row, context), RunState(state, error=error))
    delay = flow.retrying.wait(retries, random.random()) if again else timedelta()  # noqa: S311 - jitter
    free = again and bool(context.run["deployment"]) and delay >= SLEEPS_IN_PROCESS
    decided = Context(
        transition=uuid7().hex,
        attempt=context.run["attempt"],
        retries_left_of=flow.retries if again else 0,
        retry_delay=delay,
    )
    stored: State = yield from reported(context, state, decided, **({"lease": None, "worker": None} if free else {}))
    if stored.type is not StateType.SCHEDULED or stored.scheduled is None:
        yield from _told(flow, context, error=error)
        return None
    if free:
        raise Deferred(stored.scheduled)
    yield from _settled(context)  # those that a timeout has left at work
    return seconds_until(stored.scheduled, context.ledger.clock.now())


def _failure(context: FlowContext, error: Exception) -> State:
    """The state for what the flow's function raised; of an error that comes out of a task run it names that."""
    if isinstance(error, Unsuccessful) and error.state.type is StateType.FAILED:
        return error.state
    state = failed(error, "TimedOut" if context.out_of_time else "Failed")
    place = origin(error)
    return state if place is None else msgspec.structs.replace(state, message=f"{state.message} ({place})")


def _completed(flow: "Flow[..., Any]", context: FlowContext, state: State, value: Any) -> Steps:
    reference = None
    persist = flow.keeping.persist
    if persist or (persist is None and context.deployed):
        reference = yield Do(partial(_kept, flow, context, value))
    yield from reported(context, state, result=reference)
    yield from _told(flow, context, value)


def _kept(flow: "Flow[..., Any]", context: FlowContext, value: Any) -> dict[str, Any] | None:
    how, name = flow.keeping, None
    try:
        if how.name is not None:
            name = rendered(how.name, {}, context.run, context.parameters)
        return results.keep(value, how, name)
    except (Invalid, Unavailable) as error:
        get_run_logger().warning("flow run %s: its result is not kept: %s", context.run["name"], error)
        return None


def _broken_off(flow: "Flow[..., Any]", context: FlowContext, error: BaseException) -> Steps:
    try:
        yield Do(partial(report, context, crashed(interrupted(error))))
    except Superseded as refused:  # the interruption is what the caller is to see
        logger.info("flow run %s broke off: %s", context.run["name"], refused)
    else:
        yield from _told(flow, context, error=error)


def _told(flow: "Flow[..., Any]", context: FlowContext, value: Any = None, error: BaseException | None = None) -> Steps:
    """Tell the flow's hooks where the run is."""
    if flow.hooks:
        with in_flow(context):
            yield from told(flow, RunState(state_of(context.run), value, error), partial(_row, context))


def _row(context: FlowContext) -> FlowRun:
    return FlowRun(**context.run)

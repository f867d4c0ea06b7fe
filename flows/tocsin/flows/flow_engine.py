"""How a flow runs: its row, its function, the tasks it submitted, tries, the end. A generator of steps, see `steps`."""

import logging
import sys
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from tocsin.events.errors import Invalid, Unavailable
from tocsin.events.ids import uuid7
from tocsin.flows import results
from tocsin.flows.book import Book
from tocsin.flows.changes import Columns
from tocsin.flows.context import FlowContext, flow_context, in_flow
from tocsin.flows.decide import Context
from tocsin.flows.errors import Deferred, HeldBack, Parked, Superseded
from tocsin.flows.flow_requests import FindSubflow, Recall, Report, Reported, RestartSubflow, StartRun, TryAgain
from tocsin.flows.futures import Future, found, resolved
from tocsin.flows.keys import input_hash
from tocsin.flows.ledger import current
from tocsin.flows.logs import get_run_logger, heard
from tocsin.flows.portable import portable, shown
from tocsin.flows.standstill import until_resumed
from tocsin.flows.states import (
    PAUSED,
    State,
    StateType,
    awaiting_retry,
    completed,
    crashed,
    failed,
    running,
)
from tocsin.flows.steps import Await, Call, Do, Sleep, Steps
from tocsin.flows.task_engine import SLEEPS_IN_PROCESS, interrupted
from tocsin.flows.trace import seconds_until

if TYPE_CHECKING:
    from tocsin.flows.flows import Flow

logger = logging.getLogger(__name__)

# Any below: users' arguments and results.


class _Done:
    """A subflow run that an earlier attempt of its parent has completed."""

    def __init__(self, value: Any) -> None:
        self.value = value


def run_flow(flow: "Flow[..., Any]", named: Mapping[str, Any], claimed: Columns | None = None) -> Steps:
    """The engine of one flow run; its result is the flow's. `claimed`: a stored run that a worker has taken."""
    parent = flow_context.get()
    entered = yield Do(lambda: _claimed(flow, claimed) if claimed else _entered(flow, parent, named))
    if isinstance(entered, _Done):
        return entered.value
    entered.is_async = flow.is_async
    with heard(flow.log_prints):
        arguments = entered.parameters = yield from _validated(flow, entered, named)
        value = yield from _staffed(flow, entered, _tries(flow, entered, arguments))
    if parent is not None and entered.key is not None:
        parent.done[entered.key] = {"kind": "memory", "value": value}
    return value


def _staffed(flow: "Flow[..., Any]", context: FlowContext, steps: Steps) -> Steps:
    """The result of `steps`, with the flow's task runner at work meanwhile."""
    if flow.task_runner is None:
        return (yield from steps)
    context.runner = yield Do(flow.task_runner.__enter__)
    try:
        return (yield from steps)
    finally:
        yield Do(partial(flow.task_runner.__exit__, *sys.exc_info()))


def _tries(flow: "Flow[..., Any]", context: FlowContext, arguments: Mapping[str, Any]) -> Steps:
    while True:
        context.begin_attempt()
        try:
            value = yield from _attempt(flow, context, arguments)
        except Parked:
            raise
        except Deferred as error:
            yield from _reported(context, awaiting_retry(error.until, str(error)), lease=None, worker=None)
            raise
        except Exception as error:
            wait = yield from _failed(flow, context, error)
            if wait is None:
                raise
            yield Sleep(wait)
            yield Do(partial(_again, context))
        except BaseException as error:
            yield from _broken_off(context, error)
            raise
        else:
            yield from _completed(context, value)
            return value


def _attempt(flow: "Flow[..., Any]", context: FlowContext, arguments: Mapping[str, Any]) -> Steps:
    args, kwargs = flow.parameters.spread(arguments)
    with in_flow(context):
        try:
            value = yield Call(flow.fn, args, kwargs, flow.timeout_s)
        except (Exception, Deferred):
            yield from _settled(context)
            raise
        yield from _settled(context)
    for future in context.futures:
        if isinstance(late := future.outcome.exception(), Deferred):
            raise late
    return resolved(value, Future.result) if found([value]) else value


def _settled(context: FlowContext) -> Steps:
    """Wait for the tasks that were submitted, and for those that they submit."""
    seen = 0
    while len(context.futures) > seen:
        waited, seen = context.futures[seen:], len(context.futures)
        yield Await([future.outcome for future in waited])


def _validated(flow: "Flow[..., Any]", context: FlowContext, named: Mapping[str, Any]) -> Steps:
    if not flow.validate_parameters:
        return named
    try:
        return flow.parameters.validated(named)
    except Invalid as error:
        yield Do(partial(_finish, context, failed(error)))
        raise


def _failed(flow: "Flow[..., Any]", context: FlowContext, error: Exception) -> Steps:
    """Seconds until the next try, None when there is none. Raises Deferred for one that is far away."""
    delay = flow.delays[min(context.run["retries"], flow.retries - 1)] if flow.retries else timedelta()
    free = bool(context.run["deployment"]) and delay >= SLEEPS_IN_PROCESS
    name = "TimedOut" if flow.timeout_s is not None and isinstance(error, TimeoutError) else "Failed"
    also = {"lease": None, "worker": None} if free else {}
    decided = Context(
        transition=uuid7().hex, attempt=context.run["attempt"], retries_left_of=flow.retries, retry_delay=delay
    )
    if isinstance(error, Superseded):
        return None
    if context.run["deployment"]:  # nobody sees the exception: it goes into the run's log
        with in_flow(context):
            get_run_logger().error("flow run %s failed", context.run["name"], exc_info=error)
    state: State = yield from _reported(context, failed(error, name), decided, **also)
    if state.type is not StateType.SCHEDULED or state.scheduled is None:
        return None
    if free:
        raise Deferred(state.scheduled)
    return seconds_until(state.scheduled, context.ledger.clock.now())


def _completed(context: FlowContext, value: Any) -> Steps:
    reference = None
    if context.deployed:
        try:
            reference = yield Do(partial(results.keep, value))
        except Invalid as error:
            logger.warning("flow run %s: its result is not kept: %s", context.run["name"], error)
    yield from _reported(context, completed(), result=reference)


def _reported(context: FlowContext, state: State, decided: Context | None = None, **also: Any) -> Steps:
    """The state that is stored in the end; while somebody has paused the run, the report waits."""
    while True:
        try:
            return (yield Do(partial(_finish, context, state, decided, **also)))
        except HeldBack:
            yield from until_resumed(context)


def _broken_off(context: FlowContext, error: BaseException) -> Steps:
    try:
        yield Do(partial(_finish, context, crashed(interrupted(error))))
    except Superseded as refused:  # the interruption is what the caller is to see
        logger.info("flow run %s broke off: %s", context.run["name"], refused)


def _finish(context: FlowContext, state: State, decided: Context | None = None, **also: Any) -> State:
    """Store the state, or what `decide` puts in its place. Raises Superseded when the run is somebody else's by now."""
    decided = decided or Context(attempt=context.run["attempt"], transition=uuid7().hex)
    now = context.ledger.clock.now()
    report = Report(run_id=context.id, state=state, context=decided, now=now, also=also)
    reported: Reported = context.ledger.ask(report)
    if reported.state is None:
        held = reported.run["state_name"] == PAUSED and reported.run["lease"] is not None
        ours = reported.run["attempt"] == context.run["attempt"]
        why = f"flow run {context.run['name']}: its report {state.name} was refused: {reported.refused}"
        raise HeldBack(why) if held and ours else Superseded(why)
    context.run = reported.run
    return reported.state


def _again(context: FlowContext) -> None:
    """Into the next attempt, after a wait in this process."""
    ledger = context.ledger
    again = TryAgain(run_id=context.id, attempt=context.run["attempt"], transition=uuid7().hex, now=ledger.clock.now())
    reported: Reported = ledger.ask(again)
    if reported.refused:
        raise Superseded(f"flow run {context.run['name']} cannot be tried again: {reported.refused}")
    context.run = reported.run


def _claimed(flow: "Flow[..., Any]", claimed: Columns) -> FlowContext:
    """A stored run that this process was started for; what earlier attempts have completed comes with it."""
    context = FlowContext(current(), claimed, deployed=True, resumes=True, log_prints=flow.log_prints)
    _finish(context, running(claimed["attempt"]))
    _recall(context)
    return context


def _entered(flow: "Flow[..., Any]", parent: FlowContext | None, named: Mapping[str, Any]) -> FlowContext | _Done:
    """A new run; or, in a parent that is tried again, the run of the attempt before."""
    ledger = parent.ledger if parent else current()
    if parent is None or not parent.resumes:
        return _new(flow, ledger, parent, named, None)
    try:
        key = parent.resume_key(f"flow {flow.name}", input_hash(named))
    except Invalid as error:
        logger.warning("subflow %s will run again if its parent is resumed: %s", flow.name, error)
        return _new(flow, ledger, parent, named, None)
    if key in parent.done:
        return _Done(results.fetch(parent.done[key]))
    return _former(flow, parent, key) or _new(flow, ledger, parent, named, key)


def _new(
    flow: "Flow[..., Any]", ledger: Book, parent: FlowContext | None, named: Mapping[str, Any], key: str | None
) -> FlowContext:
    now, identity = ledger.clock.now(), uuid7()
    columns = {
        "id": identity,
        "name": f"{flow.name}-{identity.hex[-6:]}",
        "flow_name": flow.name,
        "parameters": shown(portable(named)),
        "tags": list(flow.tags),
        "parent_run_id": parent.id if parent else None,
        "depth": parent.run["depth"] if parent else 0,
        "chain": parent.run["chain"] if parent else "",
        "idempotency_key": _child_key(parent, key) if parent and key else None,
        "lease": parent.run["lease"] if parent and parent.run["lease"] else ledger.lease,
        "created": now,
    }
    run = ledger.ask(StartRun(run=columns, state=running(), now=now))
    if run is None:
        raise Superseded(f"subflow {flow.name} is being run by another attempt of its parent")
    return _context(flow, ledger, parent, run, key)


def _former(flow: "Flow[..., Any]", parent: FlowContext, key: str) -> FlowContext | _Done | None:
    """The run of this subflow in an earlier attempt of its parent: its result, or the run itself, started again."""
    ledger = parent.ledger
    row = ledger.ask(FindSubflow(key=_child_key(parent, key)))
    if row is None:
        return None
    if row["state_type"] == "COMPLETED" and row["result"]:
        try:
            return _Done(results.fetch(row["result"]))
        except Unavailable as error:
            logger.warning("subflow run %s runs again: %s", row["name"], error)
    lease, now = parent.run["lease"] or ledger.lease, ledger.clock.now()
    restart = RestartSubflow(run_id=row["id"], lease=lease, transition=uuid7().hex, now=now)
    reported: Reported = ledger.ask(restart)
    if reported.refused:
        raise Superseded(f"subflow run {row['name']} cannot be run again: {reported.refused}")
    context = _context(flow, ledger, parent, reported.run, key)
    if context.deployed:
        _recall(context)
    return context


def _context(
    flow: "Flow[..., Any]", ledger: Book, parent: FlowContext | None, run: Columns, key: str | None
) -> FlowContext:
    deployed = parent is not None and parent.deployed
    resumes = deployed or flow.retries > 0 or (parent is not None and parent.resumes)
    context = FlowContext(ledger, run, deployed=deployed, resumes=resumes, log_prints=flow.log_prints)
    if parent is not None and key is not None:
        context.key = key
        context.done = parent.inner.setdefault(key, {})
    return context


def _recall(context: FlowContext) -> None:
    """Results and waiting task runs of earlier attempts."""
    for row in context.ledger.ask(Recall(run_id=context.id)):
        if row["state_type"] == "COMPLETED" and row["result"]:
            context.done[row["resume_key"]] = row["result"]
        elif row["state_name"] == "AwaitingRetry":
            context.waiting[row["resume_key"]] = row


def _child_key(parent: FlowContext, key: str) -> str:
    return f"subflow:{parent.id}:{key}"

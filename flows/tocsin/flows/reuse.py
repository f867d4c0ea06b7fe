"""What a task need not do again: its result in an earlier attempt of its flow run, or in the cache of all runs."""

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tocsin.events.errors import Invalid, Unavailable
from tocsin.flows import results
from tocsin.flows.cache import CacheContext
from tocsin.flows.cache_requests import EndFlight, FindCached, Found, TakeFlight
from tocsin.flows.errors import Terminated
from tocsin.flows.flight import FIRST_S, held, in_a_loop, may_wait, next_pause
from tocsin.flows.keeping import rendered
from tocsin.flows.keys import input_hash
from tocsin.flows.logs import get_run_logger
from tocsin.flows.states import cached, crashed, pending
from tocsin.flows.steps import Do, Sleep, Steps
from tocsin.flows.trace import Trace

if TYPE_CHECKING:
    from tocsin.flows.tasks import Task

logger = logging.getLogger(__name__)

# Any below: users' arguments and results.


class Claim:
    """What a task run owes to the cache when it ends: a result under `key`, for which others wait while it `flies`."""

    __slots__ = ("flies", "key", "named")

    def __init__(self, named: Mapping[str, Any], key: str | None = None) -> None:
        self.named, self.key = named, key
        self.flies = False


def resumed(task: "Task[..., Any]", trace: Trace, named: Mapping[str, Any]) -> Steps:
    """The run to go on with, and the result in a tuple: of the same task in an earlier attempt of its flow run."""
    flow = trace.flow
    if flow is None or not flow.resumes:
        return trace, None
    try:
        inputs = yield Do(partial(input_hash, named))
    except Invalid as error:
        logger.warning("task run %s will run again if its flow run is resumed: %s", trace.row["name"], error)
        return trace, None
    key = flow.resume_key(task.key, inputs)
    trace.row["resume_key"] = key
    if key in flow.done:
        value = yield Do(lambda: _fetched(task, trace, flow.done[key]))
        if value is not None:
            return trace, value
    if (row := flow.waiting.pop(key, None)) is not None:
        trace.adopt(row)
    return trace, None


def looked_up(task: "Task[..., Any]", trace: Trace, named: Mapping[str, Any]) -> Steps:
    """What the run owes the cache, and the cached result in a tuple (None: there is none, the run is to compute it)."""
    claim = Claim(named)
    if task.caching.plain:
        return claim, None
    claim.key = yield Do(lambda: task.caching.key(_context(task, trace), named))
    if claim.key is None:
        return claim, None
    try:
        if task.caching.refresh:
            found: Found = yield Do(lambda: trace.ledger.ask(_take(trace, claim.key, None, refresh=True)))
            claim.flies = found.yours
            return claim, None
        return claim, (yield from _awaited(task, trace, claim))
    except BaseException as error:  # perhaps between asking for the flight and hearing that it is this run's
        yield from _broken_off(trace, claim, f"interrupted by {type(error).__name__}: {error}".rstrip(": "))
        raise


def flown(claim: Claim | None, trace: Trace, tries: Steps) -> Steps:
    """Take the steps of the run's tries; however they end, nobody waits for them any more."""
    if claim is None or not claim.flies:
        return (yield from tries)
    around = held.get()
    held.set(around | {str(claim.key)})
    try:
        return (yield from tries)
    finally:
        held.set(around)
        if claim.flies:
            yield Do(lambda: _end(trace, claim))


def kept(task: "Task[..., Any]", trace: Trace, value: Any, claim: Claim | None) -> Steps:
    """The reference under which the value is kept; None when nothing needs it, or (with a warning) it cannot be."""
    if claim is None or not _is_needed(task, trace, claim):
        return None
    return (yield Do(lambda: _kept(task, trace, value, claim)))


def remembered(
    task: "Task[..., Any]", trace: Trace, value: Any, reference: dict[str, Any] | None, claim: Claim | None
) -> Steps:
    """Let later attempts find the result, and later runs when the claim has a key."""
    _remember(task, trace, value, reference)
    if claim is not None and claim.key is not None and (reference is not None or claim.flies):
        yield Do(lambda: _end(trace, claim, task, reference))


def _awaited(task: "Task[..., Any]", trace: Trace, claim: Claim) -> Steps:
    """The cached result in a tuple, perhaps after a wait for the one who computes it; None: it is this run's turn."""
    key, lost, pause, begun = str(claim.key), None, FIRST_S, time.monotonic()
    while True:
        found: Found = yield Do(partial(trace.ledger.ask, FindCached(key=key, now=trace.ledger.clock.now(), lost=lost)))
        if found.result is None and not found.taken:
            found = yield Do(partial(trace.ledger.ask, _take(trace, key, lost)))
        if found.result is not None:
            value = yield from _hit(task, trace, key, found.result)
            if value is not None:
                return value
            lost = found.task_run_id
        elif found.yours:
            claim.flies = True
            return None
        elif not may_wait(key, held.get(), time.monotonic() - begun) or (not task.is_async and in_a_loop()):
            return None
        else:
            _waits(trace, key)
            yield Sleep(pause)
            pause = next_pause(pause)


def _broken_off(trace: Trace, claim: Claim, why: str) -> Steps:
    """Nobody waits for a run that has crashed, even if it gets the flight only now."""
    if not trace.row["version"]:
        trace.later(pending())
    yield Do(partial(trace.settle, crashed(why)))
    yield Do(partial(_end, trace, claim))


def _hit(task: "Task[..., Any]", trace: Trace, key: str, reference: dict[str, Any]) -> Steps:
    value = yield Do(lambda: _fetched(task, trace, reference))
    if value is not None:
        if not trace.row["version"]:
            trace.later(pending())
        yield Do(lambda: trace.settle(cached(f"result of cache key {key}"[:200]), result=reference))
        _remember(task, trace, value[0], reference)
    return value


def _waits(trace: Trace, key: str) -> None:
    """Say once that the run waits; stop waiting when its flow run is to end."""
    if not trace.row["version"]:
        trace.later(pending(f"another run computes the result of cache key {key}"[:200]))
    if trace.flow is not None and trace.flow.id in trace.ledger.cancelling:
        raise Terminated("cancelled")


def _context(task: "Task[..., Any]", trace: Trace) -> CacheContext:
    flow = trace.flow
    return CacheContext(task, task.key, trace.row["id"], flow.id if flow else None, flow.parameters if flow else None)


def _take(trace: Trace, key: str | None, lost: Any, refresh: bool = False) -> TakeFlight:
    flow = trace.flow
    return TakeFlight(
        key=str(key),
        task_run_id=trace.row["id"],
        lease=trace.ledger.lease,
        flow_run_id=flow.id if flow else None,
        attempt=flow.run["attempt"] if flow else None,
        now=trace.ledger.clock.now(),
        lost=lost,
        refresh=refresh,
    )


def _end(
    trace: Trace, claim: Claim, task: "Task[..., Any] | None" = None, reference: dict[str, Any] | None = None
) -> None:
    now = trace.ledger.clock.now()
    end = EndFlight(key=str(claim.key), task_run_id=trace.row["id"], now=now)
    if task is not None and reference is not None:
        ttl = task.caching.expiration
        expires = now + ttl if ttl is not None else None
        end = EndFlight(
            key=end.key, task_run_id=end.task_run_id, now=now, task_key=task.key, result=reference, expires=expires
        )
    trace.ledger.ask(end)
    claim.flies = False


def _is_needed(task: "Task[..., Any]", trace: Trace, claim: Claim) -> bool:
    if task.keeping.persist is not None:
        return task.keeping.persist
    flow = trace.flow
    resumes = flow is not None and flow.resumes and (flow.deployed or not task.keeping.in_memory)
    return resumes or claim.key is not None


def _kept(task: "Task[..., Any]", trace: Trace, value: Any, claim: Claim) -> dict[str, Any] | None:
    how, name = task.keeping, None
    try:
        if how.name is not None:
            name = rendered(how.name, trace.row, trace.flow.run if trace.flow else None, claim.named)
        return results.keep(value, how, name)
    except (Invalid, Unavailable) as error:
        _warn(trace, f"task run {trace.row['name']} is neither resumed nor cached: {error}")
        return None


def _fetched(task: "Task[..., Any]", trace: Trace, reference: dict[str, Any]) -> tuple[Any] | None:
    """The value in a tuple; None, and a line in the run's log, when it is lost."""
    try:
        return (results.fetch(reference, task.keeping),)
    except (Unavailable, Invalid) as error:
        _warn(trace, f"task run {trace.row['name']} runs again, its earlier result is lost: {error}")
        return None


def _warn(trace: Trace, text: str) -> None:
    """Into the log of the run; a task outside a flow has none yet."""
    (get_run_logger() if trace.flow is not None else logger).warning("%s", text)


def _remember(task: "Task[..., Any]", trace: Trace, value: Any, reference: dict[str, Any] | None) -> None:
    flow, key = trace.flow, trace.row["resume_key"]
    if flow is None or not flow.resumes or key is None:
        return
    if not flow.deployed and (task.keeping.in_memory or reference is None):
        flow.done[key] = {"kind": "memory", "value": value}
    elif reference is not None:
        flow.done[key] = reference

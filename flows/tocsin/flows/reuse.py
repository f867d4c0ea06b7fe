"""What a task need not do again: its result in an earlier attempt of its flow run, or in the cache of all runs."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tocsin.events.errors import Invalid, Unavailable
from tocsin.flows import cache, results
from tocsin.flows.cache import CacheContext
from tocsin.flows.keys import input_hash
from tocsin.flows.states import cached, pending
from tocsin.flows.steps import Do, Steps
from tocsin.flows.trace import Trace

if TYPE_CHECKING:
    from tocsin.flows.tasks import Task

logger = logging.getLogger(__name__)

# Any below: users' arguments and results.


def resumed(task: "Task[..., Any]", trace: Trace, named: Mapping[str, Any]) -> tuple[Trace, tuple[Any] | None]:
    """The result of the same task in an earlier attempt of this flow run, or its run that waits for a retry."""
    flow = trace.flow
    if flow is None or not flow.resumes:
        return trace, None
    try:
        inputs = input_hash(named)
    except Invalid as error:
        logger.warning("task run %s will run again if its flow run is resumed: %s", trace.row["name"], error)
        return trace, None
    key = flow.resume_key(task.key, inputs)
    trace.row["resume_key"] = key
    if key in flow.done:
        try:
            return trace, (results.fetch(flow.done[key]),)
        except Unavailable as error:
            logger.warning("task run %s runs again: %s", trace.row["name"], error)
    if (row := flow.waiting.pop(key, None)) is not None:
        return Trace(trace.ledger, flow, row), None
    return trace, None


def looked_up(task: "Task[..., Any]", trace: Trace, named: Mapping[str, Any]) -> Steps:
    """The cache key (None: not cached), and the result under it in a tuple (None: there is none)."""
    context = CacheContext(task, task.key, trace.row["id"], trace.row["flow_run_id"])
    key = task.caching.key(context, named)
    if key is None:
        return None, None
    ledger = trace.ledger
    reference = yield Do(lambda: cache.find(ledger.store, key, ledger.clock.now()))
    if reference is None:
        return key, None
    try:
        value = results.fetch(reference)
    except Unavailable as error:
        logger.warning("task run %s: its cached result is lost, it runs: %s", trace.row["name"], error)
        return key, None
    trace.later(pending())
    yield Do(lambda: trace.settle(cached(f"result of cache key {key}"[:200]), result=reference))
    _remember(trace, value, reference)
    return key, (value,)


def kept(trace: Trace, value: Any) -> dict[str, Any] | None:
    """The reference under which the value is kept, None (and a warning) when it cannot be."""
    try:
        return results.keep(value)
    except Invalid as error:
        logger.warning("task run %s is neither resumed nor cached: %s", trace.row["name"], error)
        return None


def remembered(
    task: "Task[..., Any]", trace: Trace, value: Any, reference: dict[str, Any] | None, key: str | None
) -> Steps:
    """Let later attempts find the result, and later runs when there is a cache `key`."""
    _remember(trace, value, reference)
    if key and reference:
        ledger, now = trace.ledger, trace.ledger.clock.now()
        run, ttl = trace.row["id"], task.caching.expiration
        yield Do(lambda: cache.put(ledger.store, key, task.key, run, reference, now, ttl))


def _remember(trace: Trace, value: Any, reference: dict[str, Any] | None) -> None:
    flow, key = trace.flow, trace.row["resume_key"]
    if flow is None or not flow.resumes or key is None:
        return
    if not flow.deployed:
        flow.done[key] = {"kind": "memory", "value": value}
    elif reference is not None:
        flow.done[key] = reference

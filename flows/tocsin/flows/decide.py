"""May this run go into that state? One pure function over one table.

`decide` looks at the run as it is, the state that somebody proposes, what they know about it, and the time.
The answer is a value; `changes` stores it. Rules are asked in order: each says nothing (go on), proposes another
state instead, or gives the verdict.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import msgspec

from tocsin.flows.states import AWAITING_RETRY, RESUMING, State, StateType, awaiting_retry, cancelled

Names = frozenset[str]
ANY: Names = frozenset()
_S = StateType

# from -> to -> the names under which the step is allowed (ANY: every name). None: the run is new.
TABLE: Mapping[StateType | None, Mapping[StateType, Names]] = {
    None: {_S.SCHEDULED: ANY, _S.PENDING: ANY, _S.RUNNING: ANY},
    _S.SCHEDULED: {_S.SCHEDULED: ANY, _S.PENDING: ANY, _S.PAUSED: ANY, _S.FAILED: ANY, _S.CANCELLED: ANY},
    _S.PENDING: {
        _S.SCHEDULED: ANY,  # given back
        _S.RUNNING: ANY,
        _S.PAUSED: ANY,
        _S.CANCELLING: ANY,
        _S.COMPLETED: frozenset({"Cached"}),
        _S.FAILED: ANY,
        _S.CRASHED: ANY,
        _S.CANCELLED: ANY,
    },
    _S.RUNNING: {
        _S.SCHEDULED: frozenset({AWAITING_RETRY}),
        _S.RUNNING: frozenset({"Retrying"}),
        _S.PAUSED: ANY,
        _S.CANCELLING: ANY,
        _S.COMPLETED: ANY,
        _S.FAILED: ANY,
        _S.CRASHED: ANY,
    },
    _S.PAUSED: {_S.SCHEDULED: frozenset({RESUMING}), _S.CANCELLING: ANY, _S.FAILED: ANY, _S.CANCELLED: ANY},
    _S.CANCELLING: {_S.COMPLETED: ANY, _S.CRASHED: ANY, _S.CANCELLED: ANY},
    _S.FAILED: {_S.SCHEDULED: ANY},
    _S.CRASHED: {_S.SCHEDULED: ANY},
    _S.COMPLETED: {_S.SCHEDULED: ANY},  # only when forced
    _S.CANCELLED: {_S.SCHEDULED: ANY},  # only when forced
}


class Standing(msgspec.Struct, frozen=True):
    """The run as it is. `attempt` counts claims and is the fence; `retries` its own, `reruns` those from outside."""

    state: State | None = None
    attempt: int = 0
    retries: int = 0
    reruns: int = 0
    transition: str | None = None


class Context(msgspec.Struct, frozen=True):
    """What the one who proposes knows.

    `attempt`: the attempt that reports (None: an outsider, such as the watchdog or a person). `retries_left_of`: the
    run's own policy. `retry_delay`: the wait before its next try. `budget`: reruns allowed from outside. `forced`:
    start again what came to its end as wanted; `unbound`: a person's word, for which the table is no bound.
    """

    transition: str | None = None
    attempt: int | None = None
    lease_lives: bool = True
    retries_left_of: int = 0
    retry_delay: timedelta = timedelta()
    budget: int | None = None
    forced: bool = False
    unbound: bool = False


class Accept(msgspec.Struct, frozen=True):
    """Store `state` with these counters; `changed` is False when the very same step was accepted before."""

    state: State
    attempt: int
    retries: int
    reruns: int
    changed: bool = True


class Wait(msgspec.Struct, frozen=True):
    """Not yet: ask again in `seconds`."""

    seconds: float
    why: str


class Reject(msgspec.Struct, frozen=True):
    """No, and it will not become a yes by asking again."""

    why: str


Verdict = Accept | Wait | Reject
Rule = Callable[[Standing, State, Context, datetime], State | Verdict | None]


def decide(run: Standing, proposed: State, context: Context, now: datetime) -> Verdict:
    """Whether `run` goes into `proposed`, into another state instead, later, or not at all."""
    for rule in RULES:
        answer = rule(run, proposed, context, now)
        if isinstance(answer, State):
            proposed = answer
        elif answer is not None:
            return answer
    return _accept(run, proposed, context)


def same_transition(run: Standing, proposed: State, context: Context, now: datetime) -> State | Verdict | None:
    """A step that was accepted before is accepted again, without effect."""
    if context.transition is None or context.transition != run.transition or run.state is None:
        return None
    return Accept(run.state, run.attempt, run.retries, run.reruns, changed=False)


def cancelling_wins(run: Standing, proposed: State, context: Context, now: datetime) -> State | Verdict | None:
    """Work that breaks off because it was asked to stop is cancelled, not failed."""
    stopped = proposed.type in (_S.FAILED, _S.CRASHED) and context.lease_lives
    if run.state is None or run.state.type is not _S.CANCELLING or not stopped:
        return None
    return cancelled(run.state.message)


def in_table(run: Standing, proposed: State, context: Context, now: datetime) -> State | Verdict | None:
    """Only steps of the table, under the names it gives; unbound, a run also starts again, or ends, from anywhere."""
    if context.unbound and run.state is not None and (proposed.final or proposed.type is _S.SCHEDULED):
        return None
    origin = run.state.type if run.state else None
    names = TABLE[origin].get(proposed.type)
    if names is None:
        return Reject(f"a run that is {origin or 'new'} does not become {proposed.type}")
    if names and proposed.name not in names:
        allowed = ", ".join(sorted(names))
        return Reject(f"a run that is {origin} becomes {proposed.type} only as {allowed}, not as {proposed.name}")
    return None


def fenced(run: Standing, proposed: State, context: Context, now: datetime) -> State | Verdict | None:
    """A report counts only from the attempt that is current and whose lease lives."""
    if context.attempt is None:
        return None
    if context.attempt != run.attempt:
        return Reject(f"attempt {context.attempt} is over, the run is at attempt {run.attempt}")
    return None if context.lease_lives else Reject(f"the lease of attempt {run.attempt} is over")


def due(run: Standing, proposed: State, context: Context, now: datetime) -> State | Verdict | None:
    """Nobody takes a scheduled run before its time."""
    if run.state is None or run.state.type is not _S.SCHEDULED or proposed.type is not _S.PENDING:
        return None
    at = run.state.scheduled
    if at is None or at <= now:
        return None
    return Wait((at - now).total_seconds(), f"scheduled for {at.isoformat()}")


def own_retry(run: Standing, proposed: State, context: Context, now: datetime) -> State | Verdict | None:
    """A failure with retries left waits for the next try instead."""
    started = run.state is not None and run.state.type is _S.RUNNING
    if proposed.type is not _S.FAILED or not started or run.retries >= context.retries_left_of:
        return None
    return awaiting_retry(now + context.retry_delay, proposed.message, proposed.fault)


def rerun(run: Standing, proposed: State, context: Context, now: datetime) -> State | Verdict | None:
    """A run that is over starts again within the budget; one that came to its end as wanted, only when forced."""
    if run.state is None or not run.state.final:
        return None
    if run.state.type in (_S.COMPLETED, _S.CANCELLED) and not context.forced:
        return Reject(f"the run is {run.state.name}; only a forced rerun starts it again")
    if context.budget is not None and run.reruns >= context.budget:
        return Reject(f"the budget of {context.budget} retries is used up")
    return None


RULES: tuple[Rule, ...] = (same_transition, cancelling_wins, in_table, fenced, due, own_retry, rerun)


def _accept(run: Standing, state: State, context: Context) -> Accept:
    origin = run.state.type if run.state else None
    # A run that only waits for a task inside it to be tried again has no fault of its own.
    retried = origin is _S.RUNNING and (state.type is _S.RUNNING or (state.type is _S.SCHEDULED and bool(state.fault)))
    again = run.state is not None and run.state.final and state.type is _S.SCHEDULED
    return Accept(state, run.attempt + _taken(run, state, context), run.retries + retried, run.reruns + again)


def _taken(run: Standing, state: State, context: Context) -> bool:
    """Whether the step is a claim: not where a process goes on after a pause, with a run that it never gave up."""
    if state.type is _S.PENDING:
        return context.attempt is None or run.state is None or run.state.name != RESUMING
    return state.type is _S.RUNNING and (run.state is None or run.state.type is _S.RUNNING)

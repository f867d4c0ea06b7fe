"""What a flow's return value makes of its run: it is as good as the futures and states that it returns.

returns                         the run
a value                         Completed
a RunState                      that state; its result is the flow's
a future                        Completed with its result, or raises what its task raised
a collection with futures       Completed with their results, or UpstreamFailed naming all that failed
a collection with RunStates     Completed with them as they are, or UpstreamFailed naming those that failed
anything                        UpstreamFailed, when a task run that it submitted failed and nobody looked at it
"""

from collections.abc import Iterable
from typing import Any

from tocsin.flows.errors import Deferred, UpstreamFailed
from tocsin.flows.futures import Future, failures_of, found, named_failures, outcome_of, refuse_failed, resolved
from tocsin.flows.run_states import RunState
from tocsin.flows.states import COMPLETED, State

# Any below: results of users' functions.


def result_of(owner: str, value: Any) -> tuple[State, Any]:
    """The state in which a flow ends that returns `value`, all of whose futures are done, and its result.

    Raises what stands for a failure; `owner` names the flow in it.
    """
    if isinstance(value, RunState):
        if not value.is_completed():
            raise value.exception()
        return value.state, value.result()
    if isinstance(value, Future):
        return COMPLETED, value.result(0)
    if futures := found([value]):
        refuse_failed(owner, futures)
        value = resolved(value, outcome_of)
    refuse_failed_states(owner, _states(value))
    return COMPLETED, value


def refuse_unseen(owner: str, futures: Iterable[Future[Any]]) -> None:
    """Raise UpstreamFailed when task runs failed, and neither the flow nor another task has looked at it."""
    failures = failures_of(future for future in futures if not future.seen)
    if failures:
        hint = "nobody looked at it: ask a future for its state, or exception(), if the flow shall go on without it"
        raise UpstreamFailed(f"{owner}: {named_failures(failures)}; {hint}") from failures[0][1]


def refuse_failed_states(owner: str, states: list[RunState]) -> None:
    """Raise UpstreamFailed when some of the states that a flow returns are no success."""
    failed = [state for state in states if not state.is_completed()]
    if failed:
        shown = "; ".join(f"{state.name}: {state.message}".rstrip(": ") for state in failed[:10])
        more = f"; and {len(failed) - 10} more" if len(failed) > 10 else ""
        why = f"{len(failed)} of the {len(states)} states that it returns are no success: {shown}{more}"
        raise UpstreamFailed(f"{owner}: {why}") from failed[0].exception()


def deferred_in(futures: Iterable[Future[Any]]) -> Deferred | None:
    """The retry for which one of the task runs waits in the database."""
    for future in futures:
        if isinstance(late := future.outcome.exception(), Deferred):
            return late
    return None


def _states(value: Any) -> list[RunState]:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple | set | frozenset):
        return []
    return [entry for entry in value if isinstance(entry, RunState)]

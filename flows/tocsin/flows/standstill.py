"""A run that somebody paused: its process stands still, and looks from time to time whether it may go on."""

from functools import partial
from typing import Final

from tocsin.flows.context import FlowContext
from tocsin.flows.errors import PauseTimedOut, Superseded, Terminated
from tocsin.flows.pause_requests import EndPause, LookAtPause, Seen
from tocsin.flows.states import PAUSED, StateType
from tocsin.flows.steps import Do, Sleep, Steps

SOONEST_S: Final = 0.05
LATEST_S: Final = 0.5
"""How long a process that stands still waits between two looks at its run: short at first, then longer."""


def obeyed(context: FlowContext) -> Steps:
    """Look what others want of the run before something new begins in it: stand still while it is paused.

    Raises Terminated when it is to end, Superseded when it is somebody else's by now.
    """
    seen: Seen = yield Do(partial(context.ledger.ask, LookAtPause(run_id=context.id)))
    if _stands_still(seen):
        context.held_back = True
        try:
            yield from until_resumed(context)
        finally:
            context.held_back = False
    elif seen.type is not StateType.RUNNING or seen.attempt != context.run["attempt"]:
        raise _gone(context, seen)


def until_resumed(context: FlowContext, key: str | None = None) -> Steps:
    """Wait while the run is paused; what it was told at the place `key`."""
    wait = SOONEST_S
    while True:
        seen: Seen = yield Do(partial(context.ledger.ask, LookAtPause(run_id=context.id, key=key)))
        if seen.type is StateType.RUNNING and seen.attempt == context.run["attempt"]:
            return seen.held
        if not _stands_still(seen):
            raise _gone(context, seen)
        now = context.ledger.clock.now()
        if seen.until is not None and seen.until <= now:
            yield Do(partial(context.ledger.ask, EndPause(run_id=context.id, now=now)))
            continue
        yield Sleep(min(wait, (seen.until - now).total_seconds()) if seen.until else wait)
        wait = min(wait * 1.5, LATEST_S)


def _stands_still(seen: Seen) -> bool:
    return seen.type is StateType.PAUSED and seen.name == PAUSED


def _gone(context: FlowContext, seen: Seen) -> BaseException:
    name = f"flow run {context.run['name']}"
    if seen.attempt == context.run["attempt"]:
        if seen.type in (StateType.CANCELLING, StateType.PAUSED):
            return Terminated("cancelled" if seen.type is StateType.CANCELLING else "suspended")
        if seen.name == "TimedOut":
            return PauseTimedOut(f"{name}: {seen.message}")
    return Superseded(f"{name} is {seen.name} at attempt {seen.attempt}: {seen.message}".rstrip(": "))

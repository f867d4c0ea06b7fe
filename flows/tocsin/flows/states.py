"""The states of a run: nine types, and names on top that say more (`Late`, `AwaitingRetry`, `Cached`)."""

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from tocsin.flows.portable import clean, masked


class StateType(StrEnum):
    """What a state means to the machine; `decide` and every query look at this, never at the name."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    CANCELLED = "CANCELLED"


FINAL = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED})
HELD = frozenset({StateType.PENDING, StateType.RUNNING, StateType.CANCELLING})
"""A run in one of these belongs to a process; when that process is gone the run has crashed."""


SCHEDULED: Final = "Scheduled"
LATE: Final = "Late"
AWAITING_RETRY: Final = "AwaitingRetry"
AWAITING_SLOT: Final = "AwaitingSlot"
RESUMING: Final = "Resuming"
PAUSED: Final = "Paused"
"""The names by which a program tells states of one type apart; all others are for people."""


class Fault(msgspec.Struct, frozen=True):
    """The exception behind a failure, in words that survive a trip through JSON."""

    type: str
    message: str


class State(msgspec.Struct, frozen=True):
    """Where a run is. `scheduled` (SCHEDULED only): not before this instant; `fault`: why it failed or crashed."""

    type: StateType
    name: str
    message: str = ""
    scheduled: datetime | None = None
    fault: Fault | None = None

    @property
    def final(self) -> bool:
        """Nothing more happens by itself."""
        return self.type in FINAL


def scheduled(at: datetime, message: str = "") -> State:
    """Waits for its time."""
    return State(StateType.SCHEDULED, SCHEDULED, message, scheduled=at)


def late(at: datetime, message: str = "") -> State:
    """Should have begun at `at`, and nobody has taken it."""
    return State(StateType.SCHEDULED, LATE, message, scheduled=at)


def awaiting_slot(at: datetime, message: str = "") -> State:
    """Waits for a slot of a concurrency limit."""
    return State(StateType.SCHEDULED, AWAITING_SLOT, message, scheduled=at)


def awaiting_retry(at: datetime, message: str = "", fault: Fault | None = None) -> State:
    """Failed, and is tried again at `at`."""
    return State(StateType.SCHEDULED, AWAITING_RETRY, message, scheduled=at, fault=fault)


def paused(reason: str = "") -> State:
    """Its process stands still until somebody resumes it."""
    return State(StateType.PAUSED, PAUSED, reason)


def suspended(reason: str = "") -> State:
    """Taken out of work until somebody resumes it: no process holds it."""
    return State(StateType.PAUSED, "Suspended", reason)


def resuming(at: datetime, reason: str = "") -> State:
    """Goes on at `at`, with what it has completed."""
    return State(StateType.SCHEDULED, RESUMING, reason, scheduled=at)


def pending(message: str = "") -> State:
    """Somebody has taken it and is about to start."""
    return State(StateType.PENDING, "Pending", message)


def running(attempt: int = 1) -> State:
    """At work; from the second attempt on it is named `Retrying`."""
    return RUNNING if attempt <= 1 else RETRYING


def completed(message: str = "") -> State:
    """Returned."""
    return State(StateType.COMPLETED, "Completed", message) if message else COMPLETED


def cached(message: str) -> State:
    """Not run: an earlier result was taken."""
    return State(StateType.COMPLETED, "Cached", message)


def failed(error: BaseException, name: str = "Failed") -> State:
    """Raised an exception."""
    fault = fault_of(error)
    return State(StateType.FAILED, name, f"{fault.type}: {fault.message}", fault=fault)


def timed_out(reason: str) -> State:
    """Did not come to its end in the time it was given."""
    return State(StateType.FAILED, "TimedOut", reason, fault=Fault("TimeoutError", reason))


def crashed(reason: str) -> State:
    """Ended without a word, or was interrupted: the reason is about the process, not the work."""
    return State(StateType.CRASHED, "Crashed", reason, fault=Fault("Crashed", reason))


def cancelling(reason: str = "") -> State:
    """Asked to stop."""
    return State(StateType.CANCELLING, "Cancelling", reason)


def cancelled(reason: str = "") -> State:
    """Stopped because somebody asked."""
    return State(StateType.CANCELLED, "Cancelled", reason)


def fault_of(error: BaseException) -> Fault:
    """The exception's class and text, the text cut at 2,000 characters."""
    return Fault(type(error).__name__, clean(masked(str(error))))


RUNNING = State(StateType.RUNNING, "Running")
RETRYING = State(StateType.RUNNING, "Retrying")
COMPLETED = State(StateType.COMPLETED, "Completed")

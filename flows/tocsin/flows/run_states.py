"""What a run came to, for the code that started it: its state with the result, or the exception, in it.

    state = load.submit(1).state               # or load(1, return_state=True)
    if state.is_failed(): ...
    rows = state.result(raise_on_failure=False)

A task or a flow may also return one: `return Completed(message="nothing new")`, `return Failed(message="too few")`.
"""

from datetime import datetime
from typing import Any

from tocsin.events.errors import Invalid
from tocsin.flows.checks import checked_name
from tocsin.flows.errors import Unsuccessful
from tocsin.flows.portable import clean, masked
from tocsin.flows.states import Fault, State, StateType, fault_of

# Any below: results of users' functions.


class RunState:
    """A state, and what the run gave. Two are equal when their states are."""

    __slots__ = ("_error", "_value", "state")

    def __init__(self, state: State, value: Any = None, error: BaseException | None = None) -> None:
        self.state, self._value, self._error = state, value, error

    @property
    def type(self) -> StateType:
        """What it means to the machine: COMPLETED, FAILED, ..."""
        return self.state.type

    @property
    def name(self) -> str:
        """Its name: `Completed`, `Cached`, `TimedOut`, ..."""
        return self.state.name

    @property
    def message(self) -> str:
        """More about it in words."""
        return self.state.message

    @property
    def scheduled(self) -> datetime | None:
        """Of a run that waits: until when."""
        return self.state.scheduled

    def result(self, raise_on_failure: bool = True) -> Any:
        """What the run returned. Of one that failed: raises what it raised, or gives it (`raise_on_failure=False`).

        Raises Invalid for a run that has not ended.
        """
        if self.is_completed():
            return self._value
        if not self.is_final():
            raise Invalid(f"the run is {self.name}: it has no result yet; wait for it")
        error = self.exception()
        if raise_on_failure:
            raise error
        return error

    def exception(self) -> BaseException:
        """Why it is not completed, as an exception."""
        return self._error or Unsuccessful(self.message or f"the run is {self.name}", self.state)

    def is_completed(self) -> bool:
        """Whether it came to its end as wanted."""
        return self.type is StateType.COMPLETED

    def is_failed(self) -> bool:
        """Whether it raised, or ran out of time."""
        return self.type is StateType.FAILED

    def is_crashed(self) -> bool:
        """Whether it was interrupted, or its process died."""
        return self.type is StateType.CRASHED

    def is_cancelled(self) -> bool:
        """Whether it ended because somebody asked."""
        return self.type is StateType.CANCELLED

    def is_cancelling(self) -> bool:
        """Whether it was asked to end."""
        return self.type is StateType.CANCELLING

    def is_running(self) -> bool:
        """Whether it is at work."""
        return self.type is StateType.RUNNING

    def is_pending(self) -> bool:
        """Whether it is about to begin."""
        return self.type is StateType.PENDING

    def is_scheduled(self) -> bool:
        """Whether it waits for its time."""
        return self.type is StateType.SCHEDULED

    def is_paused(self) -> bool:
        """Whether it waits for somebody."""
        return self.type is StateType.PAUSED

    def is_final(self) -> bool:
        """Whether it is over."""
        return self.state.final

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunState) and self.state == other.state

    def __hash__(self) -> int:
        return hash(self.state)

    def __repr__(self) -> str:
        message = f": {self.message}" if self.message else ""
        return f"<{self.type} {self.name}{message}>"


def Completed(data: Any = None, *, message: str = "", name: str = "Completed") -> RunState:  # noqa: N802 - read as a state
    """The end of a run that returns it: it came to its end as wanted, and `data` is its result."""
    return RunState(State(StateType.COMPLETED, checked_name("state", name), clean(masked(message))), data)


def Failed(  # noqa: N802 - read as a state
    *, message: str = "", name: str = "Failed", error: BaseException | None = None
) -> RunState:
    """The end of a run that returns it: it failed, though it did not raise; retries count as if it had."""
    told = clean(masked(message))
    fault = fault_of(error) if error else Fault(checked_name("state", name), told)
    told = told or (f"{fault.type}: {fault.message}" if error else "")
    state = State(StateType.FAILED, checked_name("state", name), told, fault=fault)
    return RunState(state, error=error or Unsuccessful(told or f"the run returned {name}", state))

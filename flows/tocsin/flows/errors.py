"""What a flow's author may want to catch apart."""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from tocsin.events.errors import Conflict, TocsinError

if TYPE_CHECKING:
    from tocsin.flows.states import State


class UpstreamFailed(TocsinError):
    """A task did not run, because the task whose result it needs failed; that one's error is the `__cause__`."""


class Unsuccessful(TocsinError):
    """A run came to another end than Completed without raising: `state` is that end."""

    def __init__(self, message: str, state: "State") -> None:
        super().__init__(message)
        self.state = state

    def __reduce__(self) -> tuple[type["Unsuccessful"], tuple[str, "State"]]:
        return type(self), (str(self), self.state)


class OutOfTime(TimeoutError):
    """A function did not end within its `timeout_seconds`; `run_id` is the run's."""

    def __init__(self, seconds: float, run_id: UUID | None = None) -> None:
        super().__init__(f"it did not end within {seconds:g} s")
        self.seconds, self.run_id = seconds, run_id

    def __reduce__(self) -> tuple[type["OutOfTime"], tuple[float, UUID | None]]:
        return type(self), (self.seconds, self.run_id)


class WorkerDied(TocsinError):
    """The process that a task's function ran in is gone; the message says how it ended."""


class Superseded(Conflict):
    """This process no longer owns the run: it was given up as crashed, cancelled, or is being run elsewhere."""


class Deferred(BaseException):
    """A retry is due so late that the process gives the run back until then; not an error, and not to be caught."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"tried again at {until.isoformat()}")
        self.until = until


class Parked(BaseException):
    """The run was suspended, and the process leaves it; not an error, and not to be caught."""


class PauseTimedOut(Superseded):
    """Nobody resumed the run in the time that it waited; it has failed."""


class HeldBack(Superseded):
    """The run is paused: what its process reports has to wait until it is resumed."""


class Terminated(BaseException):
    """The process was told to stop; the message says by whom."""

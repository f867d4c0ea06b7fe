"""What a flow needs of a task runner, and how one object is shared by all flows that it is given to."""

import threading
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from tocsin.flows.submitting import Submission

Broke = BaseException | None


class TaskRunner(Protocol):
    """What a flow needs of a runner."""

    in_line: ClassVar[bool]
    """Whether `take` returns only when the task has ended."""

    def take(self, submission: Submission) -> None:
        """Run it: its inputs are there. What comes of it goes into its future; nothing is raised."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: Broke, trace: TracebackType | None) -> None: ...


class Shared:
    """Begun by the first who enters, ended by the last who leaves, in any thread."""

    def __init__(self) -> None:
        self._users = 0
        self._door = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.made_from()

    def made_from(self) -> tuple[Any, ...]:
        """The arguments that make another one like it, in another process."""
        return ()

    def __enter__(self) -> Self:
        with self._door:
            if self._users == 0:
                self.start()
            self._users += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Broke, trace: TracebackType | None) -> None:
        with self._door:
            self._users -= 1
            if self._users == 0:
                self.stop()

    def start(self) -> None:
        """Make ready what tasks will need."""

    def stop(self) -> None:
        """Give it up."""

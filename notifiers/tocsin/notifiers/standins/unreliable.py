"""What every stand-in can do: go wrong when it is told to, and be waited for."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

F = TypeVar("F")


class Unreliable(ABC, Generic[F]):
    """A server that runs from construction on; close it, or use it as a context manager.

    `violations` lists what broke the contract of the real service.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.changed = threading.Condition()
        self._faults: deque[F] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Stop answering, tear down what is open."""

    def fail(self, *faults: F) -> None:
        """Let it go wrong: each fault once, in this order."""
        with self.changed:
            self._faults.extend(faults)

    def heal(self) -> None:
        """Forget the faults that have not come yet."""
        with self.changed:
            self._faults.clear()

    def wait(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
        """Wait until `condition` holds, looking again after everything that comes; whether it did in time."""
        with self.changed:
            return self.changed.wait_for(condition, timeout_s)

"""`allow_failure`: let a task begin although one that it needs has failed."""

from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Allowed(Generic[T]):
    """A future, or a collection of futures, whose failures are given to the task as they are: the exception itself."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


def allow_failure(value: T) -> Any:  # Any: it stands where the task takes the value
    """Give the task what `value`, a future or a collection of them, comes to: its result, or the exception it raised.

    In `wait_for` it is waited for, however it ends. `.map` goes through the elements of an allowed collection.
    """
    return Allowed(value)

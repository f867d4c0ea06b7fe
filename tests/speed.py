"""Bounds on the processor time that something may take, on machines of any speed."""

import time
from collections.abc import Callable

TRIES = 5
REFERENCE_S = 0.006


def takes_less(bound_s: float, work: Callable[[], object]) -> bool:
    """Whether `work` takes less processor time than this, at the best of five tries.

    Where the machine is slower than the one on which the bounds were set, they are as much longer.
    """
    tries = (_spent_s(work) for _ in range(TRIES))
    return any(spent < bound_s or spent < bound_s * _slowness() for spent in tries)


def _slowness() -> float:
    return min(_spent_s(_reference) for _ in range(3)) / REFERENCE_S


def _reference() -> int:
    total = 0
    for number in range(200_000):
        total += number % 7
    return total


def _spent_s(work: Callable[[], object]) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin

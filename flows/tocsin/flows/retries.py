"""Whether and when a run is tried again."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from math import isfinite
from typing import Any, Final

import msgspec

from tocsin.events.errors import Invalid

# Any below: a condition is told of the task or flow, its run and its state; it is a function or a coroutine function.

DelaySpec = float | int | Sequence[float] | Callable[[int], Sequence[float] | float]
"""Seconds for every retry, a list with one entry a retry (the last repeats), or a function of the number of retries
that gives such a list (or, as a plain number, one wait for all)."""

Condition = Callable[[Any, Any, Any], Any]


class Retrying(msgspec.Struct, frozen=True):
    """How a run is tried again: the waits before each retry, stretched by up to `jitter` of themselves, when
    `condition` says so (None: always)."""

    waits: tuple[timedelta, ...] = ()
    jitter: float = 0.0
    condition: Condition | None = None

    def wait(self, done: int, chance: float) -> timedelta:
        """The wait before the next retry when `done` retries are over; `chance` in [0, 1) is drawn by the caller."""
        if not self.waits:
            return timedelta()
        return self.waits[min(done, len(self.waits) - 1)] * (1 + self.jitter * chance)


NO_RETRIES: Final = Retrying()


def retrying(
    owner: str, retries: int, delay: DelaySpec, jitter: float | None = None, condition: Condition | None = None
) -> Retrying:
    """The options of a decorator, checked; `owner` names it in errors. Raises Invalid."""
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise Invalid(f"{owner}: retries is a whole number from 0 up, not {retries!r}")
    if jitter is not None and (isinstance(jitter, bool) or not isinstance(jitter, int | float) or not jitter >= 0):
        raise Invalid(
            f"{owner}: retry_jitter_factor is a number from 0 up (0.5: up to half as long again), not {jitter!r}"
        )
    if condition is not None and not callable(condition):
        raise Invalid(
            f"{owner}: retry_condition_fn is a function of the task, its run and its state, not {condition!r}"
        )
    try:
        waits = delays(delay, retries)
    except Invalid as error:
        raise Invalid(f"{owner}: {error}") from error
    return Retrying(waits, jitter or 0.0, condition) if retries else NO_RETRIES


def delays(spec: DelaySpec, retries: int) -> tuple[timedelta, ...]:
    """The wait before each of `retries` retries. Raises Invalid for a negative or empty specification."""
    seconds = _seconds(_called(spec, retries) if callable(spec) else spec)
    if retries and not seconds:
        raise Invalid("retry_delay_seconds is an empty list; give one delay for each retry, or a number")
    if any(not (isfinite(second) and second >= 0) for second in seconds):
        raise Invalid(f"retry_delay_seconds must be zero or more, not {seconds}")
    padded = seconds + seconds[-1:] * retries
    return tuple(timedelta(seconds=second) for second in padded[:retries])


def _seconds(given: Any) -> list[float]:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return [float(given)]
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        listed = list(given)
        if all(isinstance(entry, int | float) for entry in listed):
            return [float(entry) for entry in listed]
    raise Invalid(f"retry_delay_seconds is a number, a list of numbers or a function, not {given!r}")


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """A `retry_delay_seconds` that doubles: `backoff_factor` seconds, then twice, four times as many, and so on."""
    if isinstance(backoff_factor, bool) or not isinstance(backoff_factor, int | float) or not backoff_factor >= 0:
        raise Invalid(f"exponential_backoff takes the first delay in seconds, from 0 up, not {backoff_factor!r}")
    return lambda retries: [backoff_factor * 2**retry for retry in range(retries)]


def _called(spec: Callable[[int], Sequence[float] | float], retries: int) -> Sequence[float] | float:
    try:
        return spec(retries)
    except Exception as error:  # a function of the user's may raise anything
        raise Invalid(f"retry_delay_seconds, asked for {retries} retries, raised {error!r}") from error

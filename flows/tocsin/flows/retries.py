"""How long to wait before the next try."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from tocsin.events.errors import Invalid

DelaySpec = float | int | Sequence[float] | Callable[[int], Sequence[float] | float]
"""Seconds for every retry, a list with one entry a retry (the last repeats), or a function of the number of retries
that gives such a list (or, as a plain number, one wait for all)."""


def delays(spec: DelaySpec, retries: int) -> tuple[timedelta, ...]:
    """The wait before each of `retries` retries. Raises Invalid for a negative or empty specification."""
    given = spec(retries) if callable(spec) else spec
    seconds = [float(given)] if isinstance(given, int | float) else [float(entry) for entry in given]
    if retries and not seconds:
        raise Invalid("retry_delay_seconds is an empty list; give one delay for each retry, or a number")
    if any(not 0 <= second < float("inf") for second in seconds):
        raise Invalid(f"retry_delay_seconds must be zero or more, not {seconds}")
    padded = seconds + seconds[-1:] * retries
    return tuple(timedelta(seconds=second) for second in padded[:retries])

"""Time as an argument: the shells read a clock, the core is told what time it is."""

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, runtime_checkable

Micros = int
"""Microseconds since 1970."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Clock(Protocol):
    """Where a shell reads the time."""

    def now(self) -> datetime:
        """The present as an aware UTC datetime."""
        ...


@runtime_checkable
class Skipping(Clock, Protocol):
    """A clock by which a wait takes no time: whoever would wait skips it."""

    def skip(self, span: timedelta) -> None:
        """Let `span` be over."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> datetime:
        """The present as an aware UTC datetime."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """The time it was last set to."""
        return self._now

    def set(self, instant: datetime) -> None:
        """Jump to `instant`, backwards too."""
        self._now = instant.astimezone(UTC)

    def advance(self, span: timedelta) -> datetime:
        """Move on by `span` and say what time it is then."""
        self._now += span
        return self._now


def micros(instant: datetime) -> Micros:
    """Microseconds since 1970 of an aware instant."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(at: Micros) -> datetime:
    """The aware instant in UTC of microseconds since 1970."""
    return _EPOCH + at * _MICROSECOND

"""Time as an argument: the shells read a clock, the core is told what time it is."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where a shell reads the time."""

    def now(self) -> datetime:
        """The present as an aware UTC datetime."""
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

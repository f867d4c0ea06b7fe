"""Interval: a schedule that repeats in equal steps from an anchor."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, ClassVar, Final

from tocsin.events.errors import Invalid
from tocsin.triggers.localise import Reading, instant_of
from tocsin.triggers.timetable import Timetable, told
from tocsin.triggers.zones import FIRST_YEAR, LAST_YEAR

SHORTEST: Final = timedelta(seconds=1)
LONGEST: Final = timedelta(days=36_500)
MONDAY: Final = datetime(2001, 1, 1)  # noqa: DTZ001 - a wall time of the schedule's zone
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Interval(Timetable):
    """Fires at `anchor` and every `every` before and after it; `start` says from when on.

    Whole days are counted on the wall clock (09:00 stays 09:00), shorter steps and the rest of a mixed one in elapsed
    time. Without an anchor the steps are counted from Monday 2001-01-01 00:00 of `timezone`.
    """

    every: timedelta
    anchor: datetime | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "interval"

    @property
    def shown(self) -> str:
        """How messages name it."""
        return f"interval {self.every}"

    def at(self, k: int) -> datetime:
        """Occurrence number k, counted from the anchor (0), negative before it: a closed form, no walk."""
        day = instant_of(self._anchor_wall + k * self._days * _DAY, self.zone) if self._days else self._anchor
        return day + k * self._rest

    @property
    def _reading(self) -> Reading:
        return Reading.SHIFTED if self._days else Reading.RUNNING

    @property
    def _days(self) -> int:
        return self.every.days

    @property
    def _rest(self) -> timedelta:
        return self.every - self._days * _DAY

    @property
    def _anchor(self) -> datetime:
        return self.instant(self.anchor or MONDAY)

    @property
    def _anchor_wall(self) -> datetime:
        anchor = self.anchor or MONDAY
        return self.wall(anchor) if anchor.tzinfo else anchor

    def _spec(self) -> dict[str, Any]:  # Any: JSON
        seconds = self.every.total_seconds()
        spec: dict[str, Any] = {"interval": int(seconds) if seconds.is_integer() else seconds}
        return {**spec, "anchor": told(self.anchor)} if self.anchor else spec

    def _check(self) -> None:
        if not isinstance(self.every, timedelta):
            raise Invalid(f"interval: {self.every!r} is no timedelta; write timedelta(hours=1)")
        if not SHORTEST <= self.every <= LONGEST:
            raise Invalid(f"interval: {self.every} is not between one second and a hundred years")
        if self.anchor is not None and not isinstance(self.anchor, datetime):
            raise Invalid(f"anchor: {self.anchor!r:.40} is no datetime")
        if self.anchor and not FIRST_YEAR < self.anchor.year < LAST_YEAR:
            raise Invalid(f"anchor: {self.anchor} is outside the years {FIRST_YEAR + 1} to {LAST_YEAR - 1}")
        object.__setattr__(self, "anchor", self._settled(self.anchor))

    def is_moved(self, instant: datetime) -> bool:
        """Whether the occurrence at `instant` is there only because its own wall time fell into a gap."""
        return not self._rest and super().is_moved(instant)

    def _walls(self, wall: datetime) -> Iterator[datetime]:
        step = self._days * _DAY
        return (self._anchor_wall + k * step for k in count(-((self._anchor_wall - wall) // step)))

    def _instants(self, since: datetime) -> Iterator[datetime]:
        if self._days and not self._rest:
            yield from super()._instants(since)
            return
        last = None
        for k in count(self._first_k(since)):
            if (instant := self.at(k)) >= since and instant != last:
                yield (last := instant)

    def _first_k(self, since: datetime) -> int:
        """A k whose occurrence is at `since` or a few before it: clocks may have been changed by a day in between."""
        k = (since - self.at(0)) // self.every
        return k - 3 if self._days else k

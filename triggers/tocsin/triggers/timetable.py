"""What every kind of schedule has: a zone, bounds, dates left out, and one way to ask for its occurrences."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from tocsin.events.errors import Invalid
from tocsin.triggers.localise import Reading, instant_of, localise
from tocsin.triggers.zones import FIRST_YEAR, LAST_YEAR, wall_at, zone

EARLIEST: Final = datetime(FIRST_YEAR + 1, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(LAST_YEAR, 1, 1, tzinfo=UTC)
MOST_EXDATES: Final = 1_000
MOST_JITTER: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Timetable(ABC):
    """A sequence of instants, given by a rule. A naive datetime in it is a wall time of its `timezone`.

    `start` and `end` are the first and last instants that may belong to it; `exdates` are left out, a date as a whole
    day. `jitter`: by up to so much later, never after the next one, its ticks are sent (`tocsin.triggers.jitter`); its
    occurrences stay what they are. A definition that would never fire is refused with `Invalid`.
    """

    timezone: str = "UTC"
    start: datetime | None = None
    end: datetime | None = None
    exdates: tuple[date, ...] = ()
    jitter: timedelta = timedelta(0)

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "exdates", tuple(self.exdates))
        self._check_common()
        self._check()
        if next(self.occurrences(EARLIEST, inclusive=True), None) is None:
            raise self._never()

    def occurrences(
        self, after: datetime, before: datetime | None = None, inclusive: bool = False
    ) -> Iterator[datetime]:
        """The instants after `after` up to and with `before`: UTC, strictly ascending, lazy.

        `inclusive` takes `after` itself too. Asked again from any of them, it goes on with the same rest. Nothing is
        found before 1901 or from 9900 on, nor behind a hole of a hundred years (some thirty for an RRule).
        """
        begin, last = self.instant(after), min(self._last, self.instant(before) if before else LATEST)
        for instant in self._instants(max(begin, self._first)):
            if instant > last:
                return
            if (instant != begin or inclusive) and not self._is_excluded(instant):
                yield instant

    def instant(self, time: datetime) -> datetime:
        """The instant that `time` means: as it is when aware, as a wall time of the schedule's zone when naive."""
        return instant_of(time, self.zone) if time.tzinfo is None else time.astimezone(UTC)

    def wall(self, instant: datetime) -> datetime:
        """What the clocks of the schedule's zone show at `instant`, naive."""
        return wall_at(self.zone, instant)

    def is_moved(self, instant: datetime) -> bool:
        """Whether the occurrence at `instant` is there only because its own wall time fell into a gap."""
        if self._reading is Reading.RUNNING:
            return False
        shown = self.wall(instant)
        return next(self._walls(shown), None) != shown

    @property
    def zone(self) -> ZoneInfo:
        """The zone whose clocks it follows."""
        return zone(self.timezone)

    def to_dict(self) -> dict[str, Any]:  # Any: JSON
        """Its JSON form; `tocsin.triggers.schedules.from_dict` reads it."""
        common = {
            "start": told(self.start) if self.start else None,
            "end": told(self.end) if self.end else None,
            "exdates": [told(exdate) for exdate in self.exdates] or None,
            "jitter": self.jitter.total_seconds(),
        }
        return {**self._spec(), "timezone": self.timezone, **{key: value for key, value in common.items() if value}}

    @property
    @abstractmethod
    def shown(self) -> str:
        """How messages name it, such as `cron '0 9 * * *'`."""

    @property
    @abstractmethod
    def _reading(self) -> Reading:
        """How its wall times become instants."""

    @abstractmethod
    def _spec(self) -> dict[str, Any]:  # Any: JSON
        """Its JSON form without what all kinds have."""

    @abstractmethod
    def _check(self) -> None:
        """Raise `Invalid` for fields that are wrong in themselves."""

    @abstractmethod
    def _walls(self, wall: datetime) -> Iterator[datetime]:
        """Its wall times from `wall` on, that one included, ascending."""

    def _instants(self, since: datetime) -> Iterator[datetime]:
        """Its instants from `since` on, that one included, ascending, without regard to bounds and exdates."""
        return localise(self._walls, self.zone, self._reading, since)

    def _never(self, why: str = "no date has all that it asks for") -> Invalid:
        return Invalid(f"{self.shown}: would never fire; {why}, or its bounds and exdates leave nothing")

    @cached_property
    def _first(self) -> datetime:
        return max(EARLIEST, self.instant(self.start)) if self.start else EARLIEST

    @cached_property
    def _last(self) -> datetime:
        return min(LATEST, self.instant(self.end)) if self.end else LATEST

    @cached_property
    def _excluded(self) -> frozenset[date]:
        """Instants, wall times and days that are left out; a wall time also as the instant it is read as."""
        instants = {time.astimezone(UTC) for time in self._all_exdates if isinstance(time, datetime) and time.tzinfo}
        others = {time for time in self._all_exdates if not (isinstance(time, datetime) and time.tzinfo)}
        walls = {time for time in others if isinstance(time, datetime)}
        if self._reading is not Reading.RUNNING:
            for wall in walls:
                instants.update(localise(_only(wall), self.zone, self._reading, EARLIEST))
        return frozenset(instants | others)

    @property
    def _all_exdates(self) -> tuple[date, ...]:
        return self.exdates

    def _is_excluded(self, instant: datetime) -> bool:
        excluded = self._excluded
        if not excluded:
            return False
        wall = self.wall(instant)
        return instant in excluded or wall in excluded or wall.date() in excluded

    def _check_common(self) -> None:
        zone(self.timezone)
        if len(self.exdates) > MOST_EXDATES:
            raise Invalid(f"exdates: {len(self.exdates)} dates; at most {MOST_EXDATES}")
        if not isinstance(self.jitter, timedelta) or not timedelta(0) <= self.jitter <= MOST_JITTER:
            raise Invalid(f"jitter: {self.jitter!s:.40} is no timedelta from nothing to {MOST_JITTER.days} day")
        for name, time in (("start", self.start), ("end", self.end)):
            if time is not None and not isinstance(time, datetime):
                raise Invalid(f"{name}: {time!r} is no datetime")
        for day in (self.start, self.end, *self.exdates):
            if day is not None and not FIRST_YEAR < day.year < LAST_YEAR:
                raise Invalid(f"start, end, exdates: {day} is outside the years {FIRST_YEAR + 1} to {LAST_YEAR - 1}")
        if self.start and self.end and self._last < self._first:
            raise Invalid(f"{self.shown}: would never fire; its end {self.end} is before its start {self.start}")


def _only(wall: datetime) -> Any:  # Any: a `Walls` of one
    return lambda since: iter((wall,) if wall >= since else ())


def told(time: date) -> str:
    """An ISO text: an instant in UTC with Z, a wall time or a day as it is."""
    if isinstance(time, datetime) and time.tzinfo:
        return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return time.isoformat()

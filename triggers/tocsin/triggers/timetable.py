"""What every kind of schedule has: a zone, bounds, dates left out, and one way to ask for its occurrences."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import islice
from math import inf
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from tocsin.events.errors import Invalid
from tocsin.triggers.localise import Reading, instant_of, localise
from tocsin.triggers.zones import FIRST_YEAR, LAST_YEAR, in_utc, offset_at, segment_end, wall_at, zone

EARLIEST: Final = datetime(FIRST_YEAR + 1, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(LAST_YEAR, 1, 1, tzinfo=UTC)
MOST_EXDATES: Final = 1_000
MOST_JITTER: Final = timedelta(days=1)
MOST_LEFT_OUT: Final = 2_500
"""How much may be left out in front of the first occurrence: one for an instant, more for a leap over days."""

_DAY: Final = timedelta(days=1)


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
    exdates: Sequence[date] = ()
    jitter: timedelta = timedelta(0)

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "exdates", _listed(self.exdates))
        self._check_common()
        self._settle()
        self._check()
        first = next(self._left(self._first, MOST_LEFT_OUT), None)
        if first is None or first > self._last:
            raise self._never()

    def occurrences(
        self, after: datetime, before: datetime | None = None, inclusive: bool = False
    ) -> Iterator[datetime]:
        """The instants after `after` up to and with `before`: UTC, strictly ascending, lazy.

        `inclusive` takes `after` itself too. Asked again from any of them, it goes on with the same rest. Nothing is
        found before 1901 or from 9900 on, nor behind a hole of a hundred years (some thirty for an RRule).
        """
        begin, last = self._within(after), min(self._last, self._within(before) if before else LATEST)
        for instant in self._left(max(begin, self._first)):
            if instant > last:
                return
            if instant != begin or inclusive:
                yield instant

    def _within(self, time: datetime) -> datetime:
        """The instant that `time` means, or the nearest one at which anything can be found."""
        if not FIRST_YEAR < time.year < LAST_YEAR:
            return EARLIEST if time.year <= FIRST_YEAR else LATEST
        return self.instant(time)

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

    def _left(self, since: datetime, budget: float = inf) -> Iterator[datetime]:
        """Its instants from `since` on without those that are left out; over days left out it leaps at once.

        Raises `Invalid` when before the first one more than `budget` has to be left out.
        """
        if not self._excluded:
            yield from self._instants(since)
            return
        resume: datetime | None = since
        while resume is not None:
            begin, resume, inside = resume, None, date.min
            for instant in self._instants(begin):
                if not self._is_excluded(instant):
                    yield instant
                    continue
                day = self.wall(instant).date()
                budget -= self._leap_cost if day == inside else 1
                if budget < 0:
                    raise Invalid(f"{self.shown}: too much that exdates leave out comes first; give a later start")
                if day == inside:
                    resume = self._behind(instant, day)
                    break
                inside = day if day in self._excluded else inside

    def _behind(self, instant: datetime, day: date) -> datetime:
        """The end of the days left out that `instant`, of `day`, is in; at the latest, where its clocks are changed."""
        while day in self._excluded:
            day += _DAY
        midnight = in_utc(datetime.combine(day, time()), offset_at(self.zone, instant))
        return min(midnight, segment_end(self.zone, instant))

    _lacking: ClassVar[str] = "no date has all that it asks for"
    _leap_cost: ClassVar[int] = 2

    def _never(self) -> Invalid:
        """Why there is no first occurrence."""
        if next(self._walls(EARLIEST.replace(tzinfo=None)), None) is None:
            return self._refusal(self._lacking)
        if next(self._instants(self._first), None) is None:
            return self._refusal(f"from {self._first:%Y-%m-%d} on the clocks of {self.timezone} never show its times")
        return self._refusal("its bounds and exdates leave nothing")

    def _refusal(self, why: str) -> Invalid:
        return Invalid(f"{self.shown}: would never fire; {why}")

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
            for wall in sorted(walls):
                instants.update(localise(_only(wall), self.zone, self._reading, EARLIEST))
        return frozenset(instants | others)

    @property
    def _all_exdates(self) -> tuple[date, ...]:
        return tuple(self.exdates)

    def _is_excluded(self, instant: datetime) -> bool:
        excluded = self._excluded
        if not excluded:
            return False
        wall = self.wall(instant)
        return instant in excluded or wall in excluded or wall.date() in excluded

    def _check_common(self) -> None:
        zone(self.timezone)
        if len(self.exdates) > MOST_EXDATES:
            raise Invalid(f"exdates: at most {MOST_EXDATES} dates")
        for exdate in self.exdates:
            if not isinstance(exdate, date):
                raise Invalid(f"exdates: {exdate!s:.40} is no date and no datetime")
        if not isinstance(self.jitter, timedelta) or not timedelta(0) <= self.jitter <= MOST_JITTER:
            raise Invalid(f"jitter: {self.jitter!s:.40} is no timedelta from nothing to {MOST_JITTER.days} day")
        for name, bound in (("start", self.start), ("end", self.end)):
            if bound is not None and not isinstance(bound, datetime):
                raise Invalid(f"{name}: {bound!r:.40} is no datetime")
        for day in (self.start, self.end, *self.exdates):
            if day is not None and not FIRST_YEAR < day.year < LAST_YEAR:
                raise Invalid(f"start, end, exdates: {day} is outside the years {FIRST_YEAR + 1} to {LAST_YEAR - 1}")
        if self.start and self.end and self.instant(self.end) < self.instant(self.start):
            raise Invalid(f"{self.shown}: would never fire; its end {self.end} is before its start {self.start}")

    def _settle(self) -> None:
        """Write each instant in UTC and each wall time without a fold, so that its JSON form says the same."""
        for name in ("start", "end"):
            object.__setattr__(self, name, self._settled(getattr(self, name)))
        exdates = (day.replace(fold=0) if isinstance(day, datetime) and not day.tzinfo else day for day in self.exdates)
        object.__setattr__(self, "exdates", tuple(exdates))

    def _settled(self, time: datetime | None) -> datetime | None:
        return time if time is None or (time.tzinfo is None and not time.fold) else self.instant(time)


def _listed(exdates: Iterable[date]) -> tuple[date, ...]:
    if isinstance(exdates, str | Mapping) or not isinstance(exdates, Iterable):
        raise Invalid(f"exdates: {exdates!r:.40} is no list of dates")
    return tuple(islice(exdates, MOST_EXDATES + 1))


def _only(wall: datetime) -> Any:  # Any: a `Walls` of one
    return lambda since: iter((wall,) if wall >= since else ())


def told(time: date) -> str:
    """An ISO text: an instant in UTC with Z, a wall time or a day as it is."""
    if isinstance(time, datetime) and time.tzinfo:
        return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return time.isoformat()

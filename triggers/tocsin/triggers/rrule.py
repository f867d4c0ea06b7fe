"""RRule: a schedule from the recurrence rules of calendars (RFC 5545)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cached_property, partial
from heapq import merge
from itertools import groupby, islice, takewhile
from typing import Any, ClassVar, Final

from tocsin.events.errors import Invalid
from tocsin.triggers.localise import MOST_FRUITLESS, Reading, Walls, instant_of, localise
from tocsin.triggers.recurrence import MOST_EMPTY, Frequency, Patience, Recurrence, walls
from tocsin.triggers.rruletext import Rule, Text, read, recurrence
from tocsin.triggers.timetable import LATEST, Timetable

_LAST_MOMENT: Final = time(23, 59, 59)


@dataclass(frozen=True)
class _Bounded:
    """One RRULE line: its wall times, how they are read, and the last instant it may give (COUNT, UNTIL)."""

    recurrence: Recurrence
    reading: Reading
    last: datetime


@dataclass(frozen=True)
class RRule(Timetable):
    """Fires as the lines of `text` say: `RRULE:…` (one or several), `DTSTART`, `EXDATE`, `RDATE`.

    Without a DTSTART, `start` is it. `timezone` may be left out when DTSTART names one (TZID) or ends in Z. COUNT
    counts occurrences from DTSTART; what EXDATE takes away is not made up for. An UNTIL that is a day includes it.
    """

    text: str
    timezone: str = field(default="", kw_only=True)

    kind: ClassVar[str] = "rrule"
    _leap_cost: ClassVar[int] = 100

    def __post_init__(self) -> None:
        named = self._lines.timezone
        if self.timezone and named and named not in ("UTC", self.timezone):
            raise Invalid(f"{self.shown}: DTSTART is in {named} and timezone is {self.timezone}; leave one of them out")
        object.__setattr__(self, "timezone", self.timezone or named or "UTC")
        if self._lines.start is None and isinstance(self.start, datetime):
            object.__setattr__(self, "start", self.start.replace(microsecond=0))
        super().__post_init__()

    @property
    def shown(self) -> str:
        """How messages name it."""
        return f"rrule {self.text[:120]!r}"

    @property
    def _reading(self) -> Reading:
        fine = any(rule.frequency >= Frequency.HOURLY for rule in self._lines.rules)
        return Reading.RUNNING if fine else Reading.SHIFTED

    @cached_property
    def _lines(self) -> Text:
        return read(self.text)

    @cached_property
    def _start_wall(self) -> datetime:
        start = self._lines.start or self.start
        if start is None:
            raise Invalid(f"{self.shown}: no DTSTART; put a line DTSTART:20260101T090000 above it, or give start=")
        return self.wall(start) if start.tzinfo else start

    @cached_property
    def _rules(self) -> tuple[_Bounded, ...]:
        return tuple(self._bounded(rule, recurrence(rule, self._start_wall)) for rule in self._lines.rules)

    def _bounded(self, rule: Rule, expansion: Recurrence) -> _Bounded:
        reading = Reading.RUNNING if rule.frequency >= Frequency.HOURLY else Reading.SHIFTED
        if rule.count is not None:
            return _Bounded(expansion, reading, self._last_counted(expansion, reading, rule.count))
        return _Bounded(expansion, reading, self._until(rule.until, reading) if rule.until else LATEST)

    def _last_counted(self, expansion: Recurrence, reading: Reading, count: int) -> datetime:
        """The instant that COUNT ends with: walked to once, so that later questions need no walk from DTSTART."""
        begin = instant_of(expansion.start, self.zone)
        patient = partial(walls, expansion, Patience(self._patience.steps, in_all=True))
        counted = list(islice(self._localised(patient, reading, begin), count))
        if not counted:
            raise self._refusal(self._lacking)
        if len(counted) < count:
            raise Invalid(f"{self.shown}: COUNT={count} takes too long to count; give UNTIL instead")
        return counted[-1]

    def _localised(self, of: Walls, reading: Reading, since: datetime) -> Iterator[datetime]:
        return localise(of, self.zone, reading, since, MOST_FRUITLESS // len(self._lines.rules))

    def _never(self) -> Invalid:
        return self._refusal(f"{self._lacking}, or its bounds and exdates leave nothing")

    @property
    def _patience(self) -> Patience:
        return Patience(MOST_EMPTY // len(self._lines.rules))

    @cached_property
    def _rdates(self) -> tuple[datetime, ...]:
        return tuple(sorted({self.instant(self._at_start_time(rdate)) for rdate in self._lines.rdates}))

    @property
    def _all_exdates(self) -> tuple[date, ...]:
        return super()._all_exdates + self._lines.exdates

    def is_moved(self, instant: datetime) -> bool:
        """Whether the occurrence at `instant` is there only because its own wall time fell into a gap."""
        return instant not in self._rdates and super().is_moved(instant)

    def _spec(self) -> dict[str, Any]:  # Any: JSON
        return {"rrule": self.text}

    def _check(self) -> None:
        _ = self._rules

    def _walls(self, wall: datetime) -> Iterator[datetime]:
        return merge(*(walls(rule.recurrence, self._patience, wall) for rule in self._rules))

    def _instants(self, since: datetime) -> Iterator[datetime]:
        rdates = (rdate for rdate in self._rdates if rdate >= since)
        merged = merge(rdates, *(self._instants_of(rule, since) for rule in self._rules if rule.last >= since))
        return (instant for instant, _ in groupby(merged))

    def _instants_of(self, rule: _Bounded, since: datetime) -> Iterator[datetime]:
        begin = max(since, instant_of(rule.recurrence.start, self.zone))
        instants = self._localised(partial(walls, rule.recurrence, self._patience), rule.reading, begin)
        return takewhile(lambda instant: instant <= rule.last, instants)

    def _until(self, until: date, reading: Reading) -> datetime:
        """The last instant that UNTIL allows: what ends in Z is one, else the last reading of a wall time."""
        wall = until if isinstance(until, datetime) else datetime.combine(until, _LAST_MOMENT)
        if wall.tzinfo or reading is not Reading.RUNNING:
            return self.instant(wall)
        second = wall.replace(tzinfo=self.zone, fold=1).utcoffset() or timedelta()
        return max(self.instant(wall), (wall - second).replace(tzinfo=self.instant(wall).tzinfo))

    def _at_start_time(self, rdate: date) -> datetime:
        return rdate if isinstance(rdate, datetime) else datetime.combine(rdate, self._start_wall.time())

"""Time zones: looking one up, and the instants at which its clocks are changed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

from tocsin.events.errors import Invalid

FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 9900
LONGEST_CHANGE: Final = timedelta(hours=25)
_OF_THE_MACHINE: Final = re.compile(r"(localtime|posixrules|Factory)|(posix|right)/.*")
"""Files beside the zones that mean another zone, or none, on the next machine."""

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Change:
    """At the instant `at` the clocks of a zone go from the offset `before` to the offset `after`.

    `length` is how far they jump: a gap of that length when positive, a fold when negative.
    """

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def length(self) -> timedelta:
        """How far the clocks jump ahead; negative when they go back."""
        return self.after - self.before


def zone(name: str) -> ZoneInfo:
    """The zone of this IANA name; raises `Invalid` with the nearest known names."""
    try:
        if _OF_THE_MACHINE.fullmatch(name):
            raise LookupError(name)
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError, TypeError) as error:
        near = get_close_matches(name, _names(), 3) if isinstance(name, str) and len(name) < 100 else []
        hint = f"; did you mean {', '.join(near)}?" if near else "; take an IANA name such as Europe/Berlin"
        raise Invalid(f"timezone: there is no {_shown(name)}{hint}") from error


def offset_at(tz: ZoneInfo, instant: datetime) -> timedelta:
    """How far the clocks of `tz` are ahead of UTC at `instant`."""
    offset = instant.astimezone(tz).utcoffset()
    assert offset is not None
    return offset


def wall_at(tz: ZoneInfo, instant: datetime) -> datetime:
    """What the clocks of `tz` show at `instant`, as a naive datetime."""
    return instant.astimezone(tz).replace(tzinfo=None, fold=0)


def in_utc(wall: datetime, offset: timedelta) -> datetime:
    """The instant at which clocks that are ahead of UTC by `offset` show `wall`."""
    return (wall - offset).replace(tzinfo=UTC)


@lru_cache(maxsize=4096)
def changes(tz: ZoneInfo, year: int) -> tuple[Change, ...]:
    """The clock changes of `tz` in a year of UTC, in order; two that cancel each other within a day are not seen."""
    return tuple(_changes(tz, datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)))


def segment_end(tz: ZoneInfo, instant: datetime) -> datetime:
    """An instant after `instant` before which the offset of `tz` stays: its next change, or the end of the year."""
    for change in changes(tz, instant.year):
        if change.at > instant:
            return change.at
    return datetime(instant.year + 1, 1, 1, tzinfo=UTC)


def changes_between(tz: ZoneInfo, first: datetime, last: datetime) -> Iterator[Change]:
    """The clock changes of `tz` from `first` to `last`, both included."""
    for year in range(max(first.year, FIRST_YEAR), min(last.year, LAST_YEAR) + 1):
        yield from (change for change in changes(tz, year) if first <= change.at <= last)


def change_at(tz: ZoneInfo, low: datetime, high: datetime, before: timedelta) -> datetime:
    """By halving: the first second after `low` and up to `high` at which the offset is not `before` any more."""
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if offset_at(tz, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _changes(tz: ZoneInfo, begin: datetime, end: datetime) -> Iterator[Change]:
    offset = offset_at(tz, begin)
    while begin < end:
        tomorrow = begin + _DAY
        if (later := offset_at(tz, tomorrow)) != offset:
            yield Change(change_at(tz, begin, tomorrow, offset), offset, later)
        begin, offset = tomorrow, later


@lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    return tuple(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


def _shown(name: object) -> str:
    return repr(name)[:60]

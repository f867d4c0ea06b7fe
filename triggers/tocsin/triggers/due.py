"""What of a schedule is due now: which ticks to send, which to skip and why, and when to look again.

── cursor ──┬──────┬──────┬── cut ──┬──────┬── now ──┬────▶
            skip   skip   skip      tick   tick      next_at

With jitter a tick is sent later than its occurrence, but before the next one: only the last can still be on its way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, Literal, NamedTuple

from tocsin.triggers.timetable import Timetable

Mode = Literal["all", "latest", "none"]
Sending = Callable[[datetime], datetime]
"""When the tick of an occurrence is sent: at it or later, but before the next one."""

GRACE: Final = timedelta(seconds=60)
"""A tick that is no later than this is on time, whatever the catch-up policy says."""

MOST_TICKS: Final = 1_000
FEW: Final = 100
MOST_COUNTED: Final = 10_000
_MOMENT: Final = timedelta(microseconds=1)
_SHORTEST_LOOK: Final = timedelta(minutes=1)
_LONGEST_LOOK: Final = timedelta(days=40_000)


@dataclass(frozen=True)
class CatchUp:
    """What becomes of ticks that are late by more than `GRACE`, because no scheduler ran.

    `all` are sent; of several due the `latest` alone; `none`. What is older than `window` is never sent.
    """

    mode: Mode = "latest"
    window: timedelta | None = None


@dataclass(frozen=True)
class Tick:
    """An occurrence to send; `previous` is the one before it in the schedule, the beginning of its data interval."""

    at: datetime
    previous: datetime


@dataclass(frozen=True)
class Skip:
    """Occurrences from `first` to `last` that are not sent. `exact` is False when there are more than `count`."""

    first: datetime
    last: datetime
    count: int
    exact: bool
    reason: str


@dataclass(frozen=True)
class Ticks:
    """What is due, and the row's next `cursor`, `previous` and `next_at`; that is due already when more is left."""

    ticks: tuple[Tick, ...]
    skipped: tuple[Skip, ...]
    cursor: datetime
    previous: datetime | None
    next_at: datetime | None


class _Moments(NamedTuple):
    """The moments that a decision is about, each as seen among occurrences."""

    cursor: datetime
    until: datetime
    on_time: datetime
    oldest: datetime


def at_once(at: datetime) -> datetime:
    """Without jitter."""
    return at


def due(
    schedule: Timetable,
    cursor: datetime,
    now: datetime,
    policy: CatchUp,
    previous: datetime | None,
    sending: Sending = at_once,
) -> Ticks:
    """What is due behind `cursor` at `now`, at most 1,000 ticks of it; the rest is due at the next call.

    `previous` is the last occurrence up to `cursor`, if known.
    """
    until = _until(schedule, cursor, now, sending)
    if until <= cursor:
        upcoming = next(schedule.occurrences(cursor), None)
        return Ticks((), (), cursor, previous, sending(upcoming) if upcoming else None)
    found = _found(schedule, cursor, until)
    skipped: tuple[Skip, ...] = ()
    if found and found[0] < now - GRACE:
        moments = _moments(schedule, cursor, until, now, policy, sending)
        cut, reason = _cut(schedule, moments, policy)
        skipped = tuple(_skips(schedule, cursor, cut, reason)) if cut > found[0] else ()
    if skipped:
        previous, found = skipped[-1].last, _found(schedule, skipped[-1].last, until)
    return _ticks(schedule, found, until, skipped, previous, sending)


def _ticks(
    schedule: Timetable,
    found: list[datetime],
    until: datetime,
    skipped: tuple[Skip, ...],
    previous: datetime | None,
    sending: Sending,
) -> Ticks:
    upcoming = found.pop() if found and (found[-1] > until or len(found) > MOST_TICKS) else None
    more = upcoming is not None and upcoming <= until
    if found and previous is None:
        previous = previous_occurrence(schedule, found[0])
    return Ticks(
        ticks=tuple(_with_previous(found, previous)),
        skipped=skipped,
        cursor=found[-1] if more else until,
        previous=found[-1] if found else previous,
        next_at=sending(upcoming) if upcoming else None,
    )


def _found(schedule: Timetable, after: datetime, until: datetime) -> list[datetime]:
    """Occurrences after `after` up to and with the first after `until`, but at most one more than `MOST_TICKS`."""
    found: list[datetime] = []
    for instant in islice(schedule.occurrences(after), MOST_TICKS + 1):
        found.append(instant)
        if instant > until:
            break
    return found


def _until(schedule: Timetable, after: datetime, now: datetime, sending: Sending) -> datetime:
    """Up to where every occurrence after `after` has been sent by `now`, or is to be sent now."""
    if sending is at_once or now <= after:
        return now
    last = last_occurrence(schedule, after, now)
    return last - _MOMENT if last and sending(last) > now else now


def _since(schedule: Timetable, after: datetime, moment: datetime, sending: Sending) -> datetime:
    """From where on every occurrence after `after` is sent at `moment` or later."""
    if sending is at_once or moment <= after:
        return moment
    last = last_occurrence(schedule, after, moment)
    return last if last and sending(last) >= moment else moment


def previous_occurrence(schedule: Timetable, instant: datetime) -> datetime | None:
    """The last occurrence before `instant`, if there is one within about a hundred years."""
    span = _SHORTEST_LOOK
    while span < _LONGEST_LOOK:
        if found := last_occurrence(schedule, instant - span - _MOMENT, instant - _MOMENT):
            return found
        span *= 4
    return None


def last_occurrence(schedule: Timetable, after: datetime, until: datetime) -> datetime | None:
    """The last occurrence after `after` and not after `until`: by walking, and by halving where there are many."""
    walked = list(islice(schedule.occurrences(after, until), FEW))
    if len(walked) < FEW:
        return walked[-1] if walked else None
    low, high = walked[-1], until
    while low < high:
        middle = low + (high - low) // 2
        later = next(schedule.occurrences(middle, high), None)
        low, high = (later, high) if later else (low, middle)
    return low


def _moments(
    schedule: Timetable, cursor: datetime, until: datetime, now: datetime, policy: CatchUp, sending: Sending
) -> _Moments:
    window = max(policy.window, GRACE) if policy.window is not None else None
    return _Moments(
        cursor=cursor,
        until=until,
        on_time=_since(schedule, cursor, now - GRACE, sending),
        oldest=_since(schedule, cursor, now - window, sending) if window is not None else cursor,
    )


def _cut(schedule: Timetable, moments: _Moments, policy: CatchUp) -> tuple[datetime, str]:
    """From which instant on occurrences are sent, and why those before are not."""
    too_old = f"older than the catch-up window of {policy.window}"
    match policy.mode:
        case "all":
            return moments.oldest, too_old
        case "none":
            return moments.on_time, f"later than {GRACE.seconds} s, and catch-up is none"
        case "latest":
            last = last_occurrence(schedule, moments.cursor, moments.until) or moments.until
            if last < moments.oldest:
                return last + _MOMENT, too_old
            return min(last, moments.on_time), "a later one replaces it: catch-up is latest"


def _skips(schedule: Timetable, cursor: datetime, cut: datetime, reason: str) -> Iterator[Skip]:
    """What is skipped in (`cursor`, `cut`): each for itself when they are few, else all in one."""
    until = cut - _MOMENT
    found = list(islice(schedule.occurrences(cursor, until), MOST_COUNTED + 1))
    if len(found) <= FEW:
        yield from (Skip(at, at, 1, True, reason) for at in found)
        return
    exact = len(found) <= MOST_COUNTED
    last = found[-1] if exact else last_occurrence(schedule, found[-1], until) or found[-1]
    yield Skip(found[0], last, min(len(found), MOST_COUNTED), exact, reason)


def _with_previous(instants: list[datetime], previous: datetime | None) -> Iterator[Tick]:
    for instant in instants:
        yield Tick(instant, previous or instant)
        previous = instant

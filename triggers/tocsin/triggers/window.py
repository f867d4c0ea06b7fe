"""The sliding window of an event trigger: exact, in event time, whatever the order of arrival.

With threshold 3 within 10 s (x: a match, F: it fires, the count starts again):

    time     0    2              11   13  14
    matches  x    x              x    x   F       no window of 10 s holds 0, 2 and 11; one holds 11, 13 and 14

The window is [first, first + within): its end is outside. A match may come late by up to `within` behind the newest
one seen; what comes later than that is not counted.
"""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from tocsin.events.ids import firing_id
from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.steps import Firing, Key

REMEMBERED: Final = 1_024
"""How many events of past firings a window remembers by id, so that none of them is counted again (those of the last
firing always)."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Match(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A counted event: microseconds since 1970, then its id."""

    at: int
    id: str


class Window(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a trigger remembers under one key. `waiting` and `fired` stand in the order of event time."""

    waiting: tuple[Match, ...] = ()
    fired: tuple[Match, ...] = ()
    newest: int | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes the same window. Any: JSON."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        return made

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Window":
        """The window that `to_json` wrote down. Any: JSON."""
        return msgspec.convert(value, cls)


@dataclass(frozen=True)
class Signal:
    """An event that concerns an automation under a key; `over` when it says that what fired is over."""

    automation: str
    key: Key
    event: Event
    over: bool = False


@dataclass(frozen=True)
class Step:
    """Where a signal leads: the state after it, and the firing that it completes, if any."""

    state: Window
    firing: Firing | None = None


def advance(trigger: EventTrigger, state: Window, signal: Signal) -> Step:
    """The window after `signal`. An event counts once, however often it is delivered.

    With threshold 1 every event fires at once and nothing is remembered: a repeated one makes the same firing, with
    the same id.
    """
    if trigger.threshold == 1:
        return Step(state, _firing(trigger, signal))
    match, within = _match(signal.event), trigger.within // _MICROSECOND
    newest = max(match.at, state.newest if state.newest is not None else match.at)
    horizon = newest - 2 * within
    window = Window(_since(horizon, state.waiting), _since(horizon, state.fired), newest)
    if match.at <= horizon or any(known.id == match.id for known in (*window.waiting, *window.fired)):
        return Step(window)
    place = bisect_left(window.waiting, match)
    waiting = (*window.waiting[:place], match, *window.waiting[place:])
    if not _full(waiting, place, trigger.threshold, within):
        return Step(Window(waiting, window.fired, newest))
    fired = sorted((*window.fired, *waiting))[-max(REMEMBERED, trigger.threshold) :]
    return Step(Window((), tuple(fired), newest), _firing(trigger, signal))


def _firing(trigger: EventTrigger, signal: Signal) -> Firing:
    event, key = signal.event, signal.key
    identity = firing_id(signal.automation, key, event.id)
    labels = dict(zip(trigger.for_each, key, strict=True))
    return Firing(
        identity, signal.automation, key, "Triggered", event.occurred, event, trigger.threshold, identity, labels
    )


def _full(waiting: tuple[Match, ...], new: int, threshold: int, within: int) -> bool:
    """Whether `threshold` matches in a row, the new one among them, lie within `within` of their first."""
    starts = range(max(0, new - threshold + 1), min(new, len(waiting) - threshold) + 1)
    return any(waiting[start + threshold - 1].at - waiting[start].at < within for start in starts)


def _since(horizon: int, found: tuple[Match, ...]) -> tuple[Match, ...]:
    if not found or found[0].at > horizon:
        return found
    return tuple(match for match in found if match.at > horizon)


def _match(event: Event) -> Match:
    return Match((event.occurred - _EPOCH) // _MICROSECOND, str(event.id))

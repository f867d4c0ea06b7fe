"""From signals to firings, and from a firing to its resolve: the state of one automation under one key.

    trigger    x        x                     x
    resolve                      r
    firings    T1       T2       R            T3
    episode    └── T1 ──┴────────┘            └── T3

A firing opens an episode when `resolve_on` is given; firing again while it is open belongs to it.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from tocsin.automations.model import Automation
from tocsin.events.ids import derive
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.window import Firing, Signal, Window, advance

REMEMBERED: Final = 64
"""How many firings a key remembers, so that a repeated event opens no second episode."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Open(msgspec.Struct, frozen=True):
    """The firing that waits for its resolve, and its event time in microseconds since 1970."""

    firing: UUID
    at: int


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an automation remembers under one key. `trigger` tells which definition `window` counts for."""

    trigger: str = ""
    window: Window = Window()
    open: Open | None = None
    past: tuple[UUID, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes the same state. Any: JSON."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        return made

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "State":
        """The state that `to_json` wrote down. Any: JSON."""
        return msgspec.convert(value, cls)


@dataclass(frozen=True)
class Moved:
    """Where a signal leads: the state after it, and the firing that it completes, if any."""

    state: State
    firing: Firing | None = None


NOTHING: Final = State()


def move(automation: Automation, state: State, signal: Signal) -> Moved:
    """The state of `automation` under the signal's key after it. A repeated signal changes nothing."""
    if signal.over:
        return _resolve(automation, state, signal)
    step = advance(automation.trigger, _window(automation.trigger, state), signal)
    kept = _kept(automation.trigger, state, step.state)
    if step.firing is None or step.firing.id in state.past:
        return Moved(kept)
    if automation.resolve_on is None:
        return Moved(kept, step.firing)
    return _opened(kept, step.firing)


def _opened(state: State, firing: Firing) -> Moved:
    opened = state.open or Open(firing.id, _microseconds(firing.at))
    past = (*state.past, firing.id)[-REMEMBERED:]
    return Moved(State(state.trigger, state.window, opened, past), replace(firing, episode=opened.firing))


def _resolve(automation: Automation, state: State, signal: Signal) -> Moved:
    """A resolve counts when it happened after the firing that it ends."""
    opened, event = state.open, signal.event
    if opened is None or _microseconds(event.occurred) < opened.at:
        return Moved(state)
    firing = Firing(
        id=derive("resolved", opened.firing),
        automation=signal.automation,
        key=signal.key,
        state="Resolved",
        at=event.occurred,
        event=event,
        count=1,
        episode=opened.firing,
        labels=dict(zip(automation.trigger.for_each, signal.key, strict=True)),
    )
    return Moved(State(state.trigger, state.window, None, state.past), firing)


def _window(trigger: EventTrigger, state: State) -> Window:
    """What was counted, unless it was for another definition of the trigger."""
    return state.window if state.trigger == trigger.fingerprint else Window()


def _kept(trigger: EventTrigger, state: State, window: Window) -> State:
    if window == state.window:
        return state
    return State(trigger.fingerprint, window, state.open, state.past)


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND

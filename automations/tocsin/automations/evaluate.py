"""The one decision path: events to signals, signals to firings. Live hosts and `simulate` call it alike. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tocsin.automations.episode import NOTHING, State, move
from tocsin.automations.guard import unheard
from tocsin.automations.route import Index
from tocsin.events.model import Event
from tocsin.triggers.event import Key
from tocsin.triggers.window import Firing, Signal

Place = tuple[str, Key]
"""Where a state is kept: the automation's name and the key."""


@dataclass(frozen=True)
class Decided:
    """What signals led to: the states that are not what they were, and the firings in their order."""

    states: dict[Place, State]
    firings: list[Firing]


def signals_of(index: Index, events: Iterable[Event]) -> list[Signal]:
    """The signals of `events`, in their order; what tells of a refused loop may only resolve."""
    return [signal for event in events for signal in index.route(event) if signal.over or not unheard(event, signal.automation)]


def places(index: Index, signals: Iterable[Signal]) -> set[Place]:
    """Where states must be read before the signals can be decided."""
    return {
        (signal.automation, signal.key)
        for signal in signals
        if index.automations[signal.automation].trigger.threshold > 1
        or index.automations[signal.automation].resolve_on is not None
    }


def decide(index: Index, states: Mapping[Place, State], signals: Iterable[Signal]) -> Decided:
    """Take each signal in turn; a place that `states` does not hold remembers nothing."""
    now: dict[Place, State] = {}
    firings = []
    for signal in signals:
        place = signal.automation, signal.key
        before = now.get(place) or states.get(place, NOTHING)
        moved = move(index.automations[signal.automation], before, signal)
        if moved.state != before:
            now[place] = moved.state
        if moved.firing is not None:
            firings.append(moved.firing)
    return Decided(now, firings)

"""What would have fired: the decision path of the live hosts over events at hand, with no I/O.

The clock is driven by the events: before each of them every deadline is met that was due before it was received.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from tocsin.automations.episode import NOTHING, State, due, start_key, started
from tocsin.automations.evaluate import Decided, Place, decide, wake
from tocsin.automations.model import Automation
from tocsin.automations.route import Index
from tocsin.automations.wheel import Wheel
from tocsin.events.clock import Micros, instant, micros
from tocsin.events.model import Event
from tocsin.triggers.steps import Firing, Part

Received = tuple[Event, datetime]
"""An event, and when it was received."""


@dataclass(frozen=True)
class Simulated:
    """A firing that would have been. `event_id` is its cause, None for a deadline.

    `children` are the firings that a composite is made of, each an object with `trigger` (its place in the list), `at`,
    `event_id`, `count` and its own `children`. Any: JSON.
    """

    automation: str
    state: Literal["Triggered", "Resolved"]
    at: datetime
    event_id: UUID | None
    labels: dict[str, str]
    count: int
    children: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The firing as a JSON object, times in ISO 8601. Any: JSON."""
        return {
            "automation": self.automation,
            "state": self.state,
            "at": self.at.isoformat(),
            "event_id": str(self.event_id) if self.event_id else None,
            "labels": self.labels,
            "count": self.count,
            "children": list(self.children),
        }


def simulate(
    automations: Iterable[Automation], events: Iterable[Event | Received], until: datetime | None = None
) -> list[Simulated]:
    """The firings of `automations` on `events`, taken in the order in which they were received (default: occurred).

    Nothing received after `until` is looked at; the clock goes on to it, for what waits for a deadline.
    """
    firings = (firing for decided in play(automations, events, until) for firing in decided.firings)
    return [simulated(firing) for firing in firings]


def play(
    automations: Iterable[Automation], events: Iterable[Event | Received], until: datetime | None = None
) -> Iterator[Decided]:
    """What each event, and each deadline between them, leads to."""
    end = micros(until) if until is not None else None
    playing, now = Playing(automations), None
    for event, now in sorted(map(_received, events), key=lambda one: one[1]):
        if end is not None and now > end:
            break
        playing.begin(now)
        yield playing.wait(now - 1)
        yield playing.tell(event, now)
    if now is not None:
        yield playing.wait(now if end is None else end)


class Playing:
    """Automations with what they remember, and a clock that others drive."""

    def __init__(self, automations: Iterable[Automation]) -> None:
        self.index = Index(automations)
        self.states: dict[Place, State] = {}
        self._wheel: Wheel[Place] = Wheel()
        self._begun = False
        self._told: set[UUID] = set()

    @property
    def next(self) -> Micros | None:
        """When the first of all states is due."""
        return self._wheel.next

    def begin(self, now: Micros) -> None:
        """Start what waits from the beginning on, the first time: the clock begins with the first event."""
        if self._begun:
            return
        self._begun = True
        for automation in self.index.automations.values():
            if first := started(automation, NOTHING, now):
                self._keep((automation.name, start_key(automation)), first)

    def tell(self, event: Event, received: Micros) -> Decided:
        """What comes of an event, received no earlier than what was told before."""
        return self._kept(decide(self.index.automations, self.states, self.index.route(event, received)))

    def wait(self, until: Micros) -> Decided:
        """What comes of the time up to and including `until`, one deadline after the other."""
        decided = Decided()
        while (at := self.next) is not None and at <= until:
            for _, place in self._wheel.take(at):
                woken = self._kept(wake(self.index.automations, {place: self.states.get(place, NOTHING)}, at))
                decided.firings += woken.firings
                decided.states |= woken.states
        return decided

    def _kept(self, decided: Decided) -> Decided:
        for place, state in decided.states.items():
            self._keep(place, state)
        decided.firings = [firing for firing in decided.firings if self._new(firing)]
        return decided

    def _new(self, firing: Firing) -> bool:
        """Whether it is the first of its id: a repeated event makes it again, and a ledger takes it once."""
        known = len(self._told)
        self._told.add(firing.id)
        return len(self._told) > known

    def _keep(self, place: Place, state: State) -> None:
        if state == NOTHING:
            self.states.pop(place, None)
            self._wheel.file(place, None)
        else:
            self.states[place] = state
            self._wheel.file(place, due(self.index.automations[place[0]], state))


def simulated(firing: Firing) -> Simulated:
    """The firing as a simulation tells it."""
    cause = firing.event.id if firing.event else None
    children = tuple(map(_part, firing.children))
    return Simulated(firing.automation, firing.state, firing.at, cause, firing.labels, firing.count, children)


def _part(part: Part) -> dict[str, Any]:  # Any: JSON
    return {
        "trigger": part.trigger,
        "at": instant(part.at).isoformat(),
        "event_id": str(part.event) if part.event else None,
        "count": part.count,
        "children": [_part(child) for child in part.children],
    }


def _received(given: Event | Received) -> tuple[Event, Micros]:
    if isinstance(given, Event):
        return given, micros(given.occurred)
    event, received = given
    return event, micros(received)

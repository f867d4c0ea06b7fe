"""Drives a trigger as the hosts do: routes events by its interests, tells it the time when it is due.

Each state goes through JSON before it is used again, as if the process had been started anew.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from tocsin.events.labels import matches, matches_some, name_matches
from tocsin.events.model import Event
from tocsin.triggers import tree
from tocsin.triggers.event import key_values
from tocsin.triggers.interest import Interest
from tocsin.triggers.kinds import Trigger
from tocsin.triggers.steps import Key, Met, Micros, Moment, Verdict, instant, micros
from tocsin.triggers.tree import Remembered

SECOND = 1_000_000
START = micros(instant(0)) + 1_767_225_600 * SECOND
"""New Year 2026: the zero of the tests' seconds."""


def event(name: str, at: float, number: int, **more: Any) -> Event:  # Any: fields of an event
    """An event that happened `at` seconds after the start; `number` makes its id."""
    labels = {"tocsin.resource.id": "r", **more.pop("resource", {})}
    occurred = instant(START) + timedelta(seconds=at)
    return Event(id=UUID(int=number), event=name, occurred=occurred, resource=labels, **more)


def seconds(at: Micros) -> float:
    """Seconds since the start."""
    return (at - START) / SECOND


@dataclass
class Drive:
    """A trigger at work: its states by key, what it was met with (and `when`, by the clock), and what it said."""

    trigger: Trigger
    states: dict[Key, Remembered] = field(default_factory=dict)
    mets: list[tuple[Key, Met]] = field(default_factory=list)
    when: list[float] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def begin(self, at: float = 0) -> "Drive":
        """The automation begins."""
        if tree.starts(self.trigger):
            self._move((), Moment(START + int(at * SECOND)))
        return self

    def tell(self, one: Event, received: float | None = None) -> "Drive":
        """The event comes, by default when it happens."""
        now = micros(one.occurred) if received is None else START + int(received * SECOND)
        self._tick(now, inclusive=False)
        hits: dict[Key, list[int]] = defaultdict(list)
        for interest in tree.interests(self.trigger):
            if _meets(interest, one):
                hits[key_values(interest.labels, one)].append(interest.number)
        for key in sorted(hits):
            self._move(key, Moment(now, one, tuple(hits[key])))
        return self

    def tell_all(self, events: Iterable[Event]) -> "Drive":
        """Each comes when it happens, or at once after the one before."""
        now = START
        for one in events:
            now = max(now, micros(one.occurred))
            self.tell(one, seconds(now))
        return self

    def until(self, at: float) -> "Drive":
        """Time passes."""
        self._tick(START + int(at * SECOND), inclusive=True)
        return self

    @property
    def fired(self) -> list[float]:
        """When it was met, in seconds."""
        return [seconds(met.at) for _, met in self.mets if not met.over]

    def _tick(self, now: Micros, inclusive: bool) -> None:
        while dues := sorted((at, key) for key, state in self.states.items() if (at := tree.due(self.trigger, state))):
            at, key = dues[0]
            if at > now or (at == now and not inclusive):
                return
            before = self.states[key]
            self._move(key, Moment(at))
            assert self.states.get(key) != before, "a tick that changes nothing would come for ever"

    def _move(self, key: Key, moment: Moment) -> None:
        step = tree.advance(self.trigger, self.states.pop(key, None), moment)
        self.verdicts.append(step.verdict)
        if step.state is not None:
            written = msgspec.json.encode(step.state)
            self.states[key] = msgspec.json.decode(written, type=Remembered)
            assert self.states[key] == step.state
        if step.met is not None:
            self.mets.append((key, step.met))
            self.when.append(seconds(moment.now))


def _meets(interest: Interest, one: Event) -> bool:
    return (
        (not interest.names or any(name_matches(name, one.event) for name in interest.names))
        and matches(interest.match, one.resource)
        and all(matches_some(specification, one.related) for specification in interest.specifications)
        and (interest.where is None or interest.where.meets(one))
    )

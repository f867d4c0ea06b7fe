"""Which automations an event concerns. The event's name is looked up, its labels are compared for those found only.

The names that automations expect fall into four kinds: exact (a dictionary), `prefix*` (a dictionary by prefix, probed
at the lengths in use), other patterns, and any name. What is found for a name is remembered: the next event of that
name costs one look-up.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tocsin.automations.model import Automation
from tocsin.events.labels import matches, matches_some, name_matches
from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger, key_values
from tocsin.triggers.window import Signal

REMEMBERED_NAMES: Final = 4_096


@dataclass(frozen=True)
class _Interest:
    """One trigger of one automation. Sorted by automation; what resolves stands before what fires."""

    automation: Automation
    trigger: EventTrigger
    over: bool
    labels: tuple[str, ...]

    @property
    def rank(self) -> tuple[str, bool]:
        return self.automation.name, not self.over

    def wants(self, event: Event) -> bool:
        """Whether the labels fit; the name does already."""
        return matches(self.trigger.match, event.resource) and all(
            matches_some(specification, event.related) for specification in self.trigger.specifications
        )


class Index:
    """Automations by what they wait for. It is made anew when they change."""

    def __init__(self, automations: Iterable[Automation]) -> None:
        self.automations: Mapping[str, Automation] = {one.name: one for one in automations}
        self._exact: dict[str, list[_Interest]] = defaultdict(list)
        self._prefixes: dict[str, list[_Interest]] = defaultdict(list)
        self._patterns: list[tuple[str, _Interest]] = []
        self._any: list[_Interest] = []
        for automation in self.automations.values():
            for interest in _interests(automation):
                self._file(interest)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})
        self._named: dict[str, tuple[_Interest, ...]] = {}

    def route(self, event: Event) -> list[Signal]:
        """The signals of `event`, ordered by automation. An event that resolves an automation does not also fire it."""
        signals: list[Signal] = []
        for interest in self._interested(event.event):
            name = interest.automation.name
            if (signals and signals[-1].automation == name) or not interest.wants(event):
                continue
            signals.append(Signal(name, key_values(interest.labels, event), event, interest.over))
        return signals

    def _file(self, interest: _Interest) -> None:
        if not interest.trigger.expect:
            self._any.append(interest)
        for pattern in interest.trigger.expect:
            if "*" not in pattern:
                self._exact[pattern].append(interest)
            elif pattern.index("*") == len(pattern) - 1:
                self._prefixes[pattern[:-1]].append(interest)
            else:
                self._patterns.append((pattern, interest))

    def _interested(self, name: str) -> tuple[_Interest, ...]:
        found = self._named.get(name)
        if found is None:
            if len(self._named) >= REMEMBERED_NAMES:
                self._named.clear()
            found = self._named[name] = self._look_up(name)
        return found

    def _look_up(self, name: str) -> tuple[_Interest, ...]:
        found = [*self._any, *self._exact.get(name, ())]
        for length in self._lengths:
            if length < len(name):
                found.extend(self._prefixes.get(name[:length], ()))
        found.extend(interest for pattern, interest in self._patterns if name_matches(pattern, name))
        once = {interest.rank: interest for interest in found}
        return tuple(once[rank] for rank in sorted(once))


def _interests(automation: Automation) -> Iterable[_Interest]:
    """A disabled automation fires no more, yet ends what it has begun: who was told is told that it is over."""
    if automation.resolve_on is not None:
        yield _Interest(automation, automation.resolve_on, True, automation.resolve_labels)
    if automation.enabled:
        yield _Interest(automation, automation.trigger, False, tuple(automation.trigger.for_each))

"""Which automations an event concerns, at a cost that follows what the event carries, not how many there are.

    event name ──▶ plan: the shelves whose pattern fits ──▶ tables of the shapes that the event may have
               ──▶ buckets at what it has for them ──▶ what is left to ask, each question once ──▶ signals

Automations come and go one at a time: what is filed elsewhere stays as it is. What cannot be looked up (negations,
stars within a pattern, conditions that demand nothing) is asked of each event that comes that far, once for all rules
that ask it.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType
from typing import TypeVar

from tocsin.automations.buckets import Asks, Entry, Group, Held, Left
from tocsin.automations.filing import Filing, filing
from tocsin.automations.model import Automation
from tocsin.automations.names import Names, patterns
from tocsin.automations.questions import Questions
from tocsin.automations.residual import Conditions
from tocsin.automations.shapes import key_reader
from tocsin.events.model import Event
from tocsin.triggers import tree
from tocsin.triggers.interest import Interest
from tocsin.triggers.steps import RESOLVES, Micros, Signal

Values = TypeVar("Values", bound=tuple[Hashable, ...])
_three = itemgetter(0, 1, 2)

Filed = tuple[tuple[str, ...], Filing, Entry]
"""The name patterns of an interest, where it is filed below each, and as what."""


class Index:
    """Automations by what they wait for. `automations` are those that were put and not dropped, by name."""

    def __init__(self, automations: Iterable[Automation] = ()) -> None:
        self._automations: dict[str, Automation] = {}
        self._names = Names()
        self._conditions = Conditions()
        self._errors: dict[str, tuple[int, str]] = {}
        self.automations: Mapping[str, Automation] = MappingProxyType(self._automations)
        self._failed: dict[int, Group] = {}
        for automation in automations:
            self.put(automation)

    @property
    def errors(self) -> Mapping[str, tuple[int, str]]:
        """By automation how often a condition of it failed, which then was no match, and the last reason."""
        self._tell()
        return MappingProxyType(self._errors)

    def _tell(self) -> None:
        """Add what failed to the errors of each automation that asked."""
        for group in self._failed.values():
            for entry in group.entries:
                count, _ = self._errors.get(entry.automation, (0, ""))
                self._errors[entry.automation] = count + group.failures, group.reason
            group.failures = 0
        self._failed.clear()

    def put(self, automation: Automation) -> None:
        """Add `automation`, in place of the one of its name."""
        filed = _filed(automation)
        self.drop(automation.name)
        self._tell()  # what failed before it came
        self._automations[automation.name] = automation
        for names, where, entry in filed:
            left = self._left(where)
            for pattern in names:
                for place in where.places:
                    self._names.shelf(pattern).put(place, entry, left)

    def drop(self, name: str) -> None:
        """Take the automation of this name out; none is fine."""
        self._errors.pop(name, None)
        automation = self._automations.pop(name, None)
        for names, where, entry in _filed(automation) if automation is not None else ():
            left = self._left(where)
            for pattern in names:
                for place in where.places:
                    self._names.shelf(pattern).drop(place, entry, left)
                self._names.prune(pattern)

    def route(self, event: Event, received: Micros = 0) -> list[Signal]:
        """The signals of `event` by automation, then key, each with all that it meets there, what resolves first."""
        found: list[Entry] = []
        asks: list[Asks] = []
        for shelf in self._names.plan(event.event):
            one, several = shelf.finds(event)
            for find in one:
                if (held := find(event)) is not None:
                    _sort(held, found, asks)
            for find_each in several:
                for held in find_each(event):
                    _sort(held, found, asks)
        if asks:
            self._ask(event, asks, found)
        if len(found) > 1:
            return list(_merged(event, received, found))
        return [Signal(one.automation, one.key(event), event, one.hits, received, one.fires) for one in found]

    def _ask(self, event: Event, asks: list[Asks], found: list[Entry]) -> None:
        """Add to `found` who is met after asking, count whose condition failed."""
        questions = Questions(event, found)
        questions.ask(asks)
        for group, reason in questions.failed.values():
            group.failures += 1
            group.reason = reason
            self._failed[id(group)] = group

    def _left(self, where: Filing) -> Left:
        return Left(where.rung, self._conditions.of(where.residue))


def interests(automation: Automation) -> Iterator[Interest]:
    """What an automation waits for, what resolves it first.

    A disabled one fires no more, yet ends what it has begun: who was told is told that it is over.
    """
    if (over := automation.ending) is not None:
        for one in tree.interests(over):
            yield replace(one, number=RESOLVES, labels=automation.resolve_labels)
    if automation.enabled:
        yield from tree.interests(automation.trigger)


def _filed(automation: Automation) -> list[Filed]:
    """Where each interest of an automation is filed, and as what; those that no event can meet are not."""
    fires = _shared(automation.key_labels) if automation.at_once else None
    return [
        (patterns(one.names), where, Entry(automation.name, _shared((one.number,)), key_reader(one.labels), fires))
        for one in interests(automation)
        if (where := filing(one)).places
    ]


@cache
def _shared(values: Values) -> Values:
    """One object for all that are equal, for there are many entries."""
    return values


def _sort(held: Held, found: list[Entry], asks: list[Asks]) -> None:
    """Whoever is met goes to `found`, what is left to ask to `asks`."""
    if isinstance(held, Entry):
        found.append(held)
        return
    found += held.plain
    if held.asks is not None:
        asks.append(held.asks)


def _merged(event: Event, received: Micros, found: Iterable[Entry]) -> Iterator[Signal]:
    """One signal for each automation and key, in their order."""
    met = sorted({(entry.automation, entry.key(event), entry.hits, entry.fires) for entry in found}, key=_three)
    for (name, key), same in groupby(met, key=lambda one: one[:2]):
        together = list(same)
        hits = tuple(number for _, _, numbers, _ in together for number in numbers)
        yield Signal(name, key, event, hits, received, together[0][3])

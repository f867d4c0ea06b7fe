"""Checks: each condition of a trigger held against one event, for a person who asks why it did not match."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from tocsin.events.errors import EvaluationError
from tocsin.events.labels import matches, name_matches, value_matches
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event
from tocsin.triggers import interest, metric
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.fields import Patterns
from tocsin.triggers.interest import BEGINS, PER_LEAF, Interest
from tocsin.triggers.metric import MetricTrigger

SHOWN: Final = 200
"""How many characters of a value are shown."""

ABSENT: Final = "absent"


@dataclass(frozen=True)
class Check:
    """One condition: what it is about, what it wanted, what it saw, and whether it held.

    `about`: `expect` or `after` (the event's name), `match <label>`, `match_related[<n>]`, `where`.
    An event that is neither expected nor an `after` event does not match, nor one for which any other check failed.
    """

    about: str
    wanted: str
    saw: str
    held: bool


def checks(trigger: EventTrigger | MetricTrigger, event: Event) -> tuple[Check, ...]:
    """Every condition that `trigger` has for an event, in the order of its fields."""
    wanted = interest.interests(trigger) if isinstance(trigger, EventTrigger) else (metric.interest(trigger),)
    first = wanted[0]
    return (
        *(_name(one, event) for one in wanted),
        *(_label(label, patterns, event) for label, patterns in first.match.items()),
        *(_related(number, specification, event) for number, specification in enumerate(first.specifications)),
        *_condition(first, event),
    )


def _name(wanted: Interest, event: Event) -> Check:
    about = "after" if wanted.number % PER_LEAF == BEGINS else "expect"
    held = not wanted.names or any(name_matches(pattern, event.event) for pattern in wanted.names)
    return Check(about, " or ".join(wanted.names) or "any name", event.event, held)


def _label(label: str, patterns: str | list[str], event: Event) -> Check:
    value = event.resource.get(label)
    held = value is not None and value_matches(patterns, value)
    return Check(f"match {label}", _either(patterns), ABSENT if value is None else _short(value), held)


def _related(number: int, specification: Patterns, event: Event) -> Check:
    """A specification and the related resource that comes nearest to it: the one that meets most of its labels."""
    wanted = ", ".join(f"{label} = {_either(patterns)}" for label, patterns in specification.items())
    near = max(event.related, key=lambda resource: _met(specification, resource), default=None)
    if near is None:
        return Check(f"match_related[{number}]", wanted, "no related resources", False)
    shown = (
        RESOURCE_ROLE,
        RESOURCE_ID,
        *(label for label in specification if label not in (RESOURCE_ROLE, RESOURCE_ID)),
    )
    saw = ", ".join(f"{label} = {_short(near.get(label, ABSENT))}" for label in shown)
    return Check(f"match_related[{number}]", wanted, saw, matches(specification, near))


def _condition(wanted: Interest, event: Event) -> Iterator[Check]:
    if wanted.where is None:
        return
    try:
        found = wanted.where.event(event)
        yield Check("where", wanted.where.text, _json(found), wanted.where.meets(event))
    except EvaluationError as error:
        yield Check("where", wanted.where.text, f"error: {error}", False)


def _met(specification: Patterns, resource: Mapping[str, str]) -> int:
    """How many of the labels of `specification` the resource meets."""
    return sum(matches({label: patterns}, resource) for label, patterns in specification.items())


def _either(patterns: str | list[str]) -> str:
    return patterns if isinstance(patterns, str) else " or ".join(patterns)


def _json(value: object) -> str:
    return _short(msgspec.json.encode(value).decode())


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"

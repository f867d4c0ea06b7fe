"""Interest: what a leaf of a trigger wants to be told of, in the form that an index files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tocsin.events.jmes.expression import Expression
from tocsin.triggers.event import EventTrigger

EXPECTED: Final = 0
"""The hit of an event that a leaf expects."""

BEGINS: Final = 1
"""The hit of an event after which a leaf begins to wait."""

PER_LEAF: Final = 2


@dataclass(frozen=True)
class Interest:
    """Events by name, labels and condition. `number`: `PER_LEAF` times the leaf's place, plus `EXPECTED` or `BEGINS`.

    `names` are patterns, none of them: any name. Each of `specifications` is met by some related resource. `labels`
    make the key.
    """

    number: int
    names: tuple[str, ...]
    match: Mapping[str, str | list[str]]
    specifications: tuple[Mapping[str, str | list[str]], ...]
    where: Expression | None
    labels: tuple[str, ...]


def interests(trigger: EventTrigger, leaf: int = 0) -> tuple[Interest, ...]:
    """What an event trigger in place `leaf` is told of: what it expects, and what it begins after if anything."""
    first = leaf * PER_LEAF
    labels = tuple(trigger.for_each)
    names = tuple(trigger.expect)
    expected = Interest(first + EXPECTED, names, trigger.match, trigger.specifications, trigger.expression, labels)
    if not trigger.after:
        return (expected,)
    after = tuple(trigger.after)
    return expected, Interest(first + BEGINS, after, trigger.match, trigger.specifications, None, labels)

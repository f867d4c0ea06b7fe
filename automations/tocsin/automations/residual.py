"""What an event found in the index must still meet. Equal conditions are one object as long as somebody asks them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from tocsin.events.errors import EvaluationError
from tocsin.events.jmes.expression import Expression
from tocsin.events.labels import Patterns, labels_test
from tocsin.events.model import Event

SHOWN: Final = 200

Specification = Mapping[str, Patterns]
Answer = bool | str
"""Whether it is met; or the text of the error, which is no match."""


@dataclass(frozen=True)
class Residue:
    """What an event found at a place must still meet: `labels` by its resource, each of `related` by some related one.

    `where` is the whole condition, or its rest when the place answers for all that it demands and bounds.
    """

    labels: Specification
    related: tuple[Specification, ...]
    where: Expression | None


class Condition:
    """What is asked of the labels (`fits`; None: nothing), then of the whole event.

    `question` tells apart what is asked of the whole event, so that it is asked once; "" is nothing.
    """

    __slots__ = ("__weakref__", "_where", "fits", "question")

    def __init__(self, residue: Residue) -> None:
        self.fits = _labels_test(residue)
        self._where = residue.where
        self.question = _question(residue)

    def answer(self, event: Event) -> Answer:
        """What the question comes to."""
        try:
            return self._where is None or self._where.meets(event)
        except EvaluationError as error:
            return str(error)[:SHOWN]


class Conditions:
    """The conditions in use."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[str, str, str], Condition] = WeakValueDictionary()

    def of(self, residue: Residue) -> Condition | None:
        """The condition of a residue: the same for an equal one, None when nothing is left to ask."""
        if not (residue.labels or residue.related or residue.where is not None):
            return None
        key = repr(residue.labels), repr(residue.related), _question(residue)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Condition(residue)
        return found


def _question(residue: Residue) -> str:
    return f"{residue.where.whole} {residue.where.text}" if residue.where is not None else ""


def _labels_test(residue: Residue) -> Callable[[Event], bool] | None:
    """Whether an event's resource and its related ones meet what is left of them; None when nothing is left."""
    own = labels_test(residue.labels) if residue.labels else None
    theirs = tuple(map(labels_test, residue.related))
    if theirs:
        return lambda event: (own is None or own(event.resource)) and all(_some(test, event) for test in theirs)
    return own and (lambda event: own(event.resource))


def _some(test: Callable[[Mapping[str, str]], bool], event: Event) -> bool:
    return any(map(test, event.related))

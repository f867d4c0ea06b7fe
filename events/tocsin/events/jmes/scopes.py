"""What a name at the beginning of a path means: a member of a JSON value, or a field of an Event.

Only the beginning: behind the first step, in a filter or in a projection there are JSON values again.
"""

from collections.abc import Callable
from datetime import UTC
from operator import attrgetter
from typing import Any, Final, Protocol

import msgspec

from tocsin.events.jmes.values import Evaluate
from tocsin.events.model import Event

# Any, in this file: JSON of any shape.

FIELDS: Final = Event.__struct_fields__
"""The fields of an event, in the order in which it is written."""


class Scope(Protocol):
    """How the value that an expression begins with is read."""

    def path(self, names: tuple[str, ...]) -> Evaluate:
        """What is found under these names, one below the other; null when something is missing."""
        ...

    def current(self) -> Evaluate:
        """The value itself."""
        ...


class ValueScope:
    """Begins with any JSON value."""

    def path(self, names: tuple[str, ...]) -> Evaluate:
        """What is found in nested objects."""
        match names:
            case (one,):
                return _one(one)
            case (one, two):
                return _two(one, two)
            case (one, two, three):
                return _three(one, two, three)
            case _:
                return _many(names)

    def current(self) -> Evaluate:
        """The value itself."""
        return _itself


class EventScope:
    """Begins with an `Event`, of which no dict is made unless the expression wants it whole.

    `read` are the names of the fields that expressions made in this scope begin with, `None` standing for all.
    """

    def __init__(self) -> None:
        self.read: set[str | None] = set()

    def path(self, names: tuple[str, ...]) -> Evaluate:
        """A field of the event, and what is found below."""
        first, *below = names
        self.read.add(first)
        field: Evaluate = _READERS.get(first, _nothing)
        if not below:
            return field
        further = VALUE.path(tuple(below))
        return lambda event: further(field(event))

    def current(self) -> Evaluate:
        """The event as a JSON object."""
        self.read.add(None)
        return document


def document(event: Event) -> dict[str, Any]:
    """The event as the JSON object that it is written as; its parts are the event's own."""
    return {field: _READERS[field](event) for field in FIELDS}


def _itself(value: Any) -> Any:
    return value


def _nothing(value: Any) -> None:
    return None


def _one(name: str) -> Evaluate:
    return lambda value: value.get(name) if type(value) is dict else None


def _two(one: str, two: str) -> Evaluate:
    def read(value: Any) -> Any:
        if type(value) is dict:
            value = value.get(one)
            if type(value) is dict:
                return value.get(two)
        return None

    return read


def _three(one: str, two: str, three: str) -> Evaluate:
    def read(value: Any) -> Any:
        if type(value) is dict:
            value = value.get(one)
            if type(value) is dict:
                value = value.get(two)
                if type(value) is dict:
                    return value.get(three)
        return None

    return read


def _many(names: tuple[str, ...]) -> Evaluate:
    def read(value: Any) -> Any:
        for name in names:
            if type(value) is not dict:
                return None
            value = value.get(name)
        return value

    return read


def _occurred(event: Event) -> str:
    text: str = msgspec.to_builtins(event.occurred.astimezone(UTC))
    return text


def _follows(event: Event) -> str | None:
    return None if event.follows is None else str(event.follows)


_READERS: Final[dict[str, Callable[[Event], Any]]] = {
    "event": attrgetter("event"),
    "resource": attrgetter("resource"),
    "id": lambda event: str(event.id),
    "occurred": _occurred,
    "related": attrgetter("related"),
    "payload": attrgetter("payload"),
    "follows": _follows,
}

VALUE: Final = ValueScope()

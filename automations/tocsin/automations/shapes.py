"""The shape of a rule: which texts of an event it wants to equal something. Rules of one shape share a dictionary.

    match {id: "tocsin.flow.a", env: ["x", "y"]}, where payload.state == 'Failed'

has the shape (label id, label env, payload state) and is filed under ("tocsin.flow.a", "x", "Failed") and
("tocsin.flow.a", "y", "Failed"). An event is asked for its texts of the shape once, however many rules there are.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from tocsin.events.jmes.scopes import VALUE
from tocsin.events.model import Event

Labels = Mapping[str, str]
Source = Literal["label", "payload", "name", "related"]
RELATED: Final = "related:"
"""What the name of a key label begins with that is a related resource's."""

_KEY_READERS: Final = 1_024


class Facet(NamedTuple):
    """One text of an event: of a label, of a payload path, its name, or of a label of some related resource.

    `path` is the label or the path below the payload; `length` how many of the first characters count (None: all).
    """

    source: Source
    path: tuple[str, ...]
    length: int | None = None


class Shape(NamedTuple):
    """What is asked of the event itself, then of one single related resource."""

    own: tuple[Facet, ...]
    related: tuple[Facet, ...]


Row = Hashable
"""The texts for some facets: a text for one, a tuple of texts for another number of them."""


class Place(NamedTuple):
    """A row of a table: what is wanted of the event itself, and of one of its related resources."""

    shape: Shape
    own: Row
    related: Row


def row(texts: Sequence[str | None]) -> Row:
    """The row of these texts."""
    return texts[0] if len(texts) == 1 else tuple(texts)


def own_row(facets: Sequence[Facet]) -> Callable[[Event], Row]:
    """How the row of an event is read. A text that it has not is None, and no rule is in such a row."""
    if len(facets) == 1:
        return own_text(facets[0])
    if all(facet.source == "label" and facet.length is None for facet in facets):
        labels = tuple(facet.path[0] for facet in facets)
        return lambda event: tuple(map(event.resource.get, labels))
    texts = tuple(map(own_text, facets))
    return lambda event: tuple([text(event) for text in texts])


def related_row(facets: Sequence[Facet]) -> Callable[[Labels], Row]:
    """How the row of a related resource is read, as `own_row`. Two labels, the usual number, have a quick way."""
    if any(facet.length is not None for facet in facets):
        texts = tuple(map(_label_text, facets))
        return lambda labels: row([text(labels) for text in texts])
    match tuple(facet.path[0] for facet in facets):
        case (one,):
            return lambda labels: labels.get(one)
        case (one, two):
            return lambda labels: (labels.get(one), labels.get(two))
        case names:
            return lambda labels: tuple(map(labels.get, names))


def own_text(facet: Facet) -> Callable[[Event], str | None]:
    """How an event's text of a facet is read: None where it has none."""
    if facet.source == "name":
        return lambda event: event.event
    if facet.source == "payload":
        value = payload_value(facet.path)
        return lambda event: found if type(found := value(event.payload)) is str else None
    label, length = facet.path[0], facet.length
    if length is None:
        return lambda event: event.resource.get(label)
    return lambda event: found[:length] if (found := event.resource.get(label)) is not None else None


def payload_value(path: tuple[str, ...]) -> Callable[[Any], Any]:  # Any: JSON of any shape
    """How the value at a path below the payload is read: None where there is none."""
    return VALUE.path(path)


@lru_cache(_KEY_READERS)
def key_reader(labels: tuple[str, ...]) -> Callable[[Event], tuple[str, ...]]:
    """How an event's values of `for_each` labels are read, "" where one is absent. The same for the same labels."""
    if not labels:
        return lambda event: ()
    if len(labels) == 1 and not labels[0].startswith(RELATED):
        label = labels[0]
        return lambda event: (event.resource.get(label, ""),)
    texts = tuple(map(_key_text, labels))
    return lambda event: tuple([text(event) or "" for text in texts])


def _key_text(label: str) -> Callable[[Event], str | None]:
    if not label.startswith(RELATED):
        return own_text(Facet("label", (label,)))
    _, role, name = label.split(":", 2)
    return lambda event: next(event.related_as(role), {}).get(name)


def _label_text(facet: Facet) -> Callable[[Labels], str | None]:
    label, length = facet.path[0], facet.length
    return lambda labels: found[:length] if (found := labels.get(label)) is not None else None

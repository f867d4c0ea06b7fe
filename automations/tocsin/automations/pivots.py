"""Which tables an event has to be looked up in, when there are many.

Each shape has a pivot: one of its labels, a label of its related resource or a first name in the payload, chosen so
that each stands for few shapes. An event is looked up in the tables whose pivot it carries, so a thousand
different sets of labels cost no more than those at hand.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

from tocsin.automations.buckets import Held
from tocsin.automations.shapes import Shape
from tocsin.events.model import RESOURCE_ID, Event

FEW: Final = 6
"""Up to so many tables are looked into at once, without asking for their pivots."""

FindOne = Callable[[Event], Held | None]
FindSeveral = Callable[[Event], Sequence[Held]]
Sort = Literal["label", "related", "payload", "none"]
SORTS: Final[tuple[Sort, ...]] = ("label", "related", "payload", "none")


class Finds(NamedTuple):
    """What looks an event up: in tables where it has one row, in those where each related resource has one."""

    one: Sequence[FindOne]
    several: Sequence[FindSeveral]


class Pivots:
    """What looks an event up, by what the event must carry. `few` is all of it while it is little, else None."""

    __slots__ = ("_by_pivot", "_chosen", "few")

    def __init__(self) -> None:
        self._chosen: dict[Shape, tuple[Sort, str]] = {}
        self._by_pivot: dict[Sort, dict[str, dict[Shape, Finds]]] = {sort: {} for sort in SORTS}
        self.few: Finds | None = None

    def put(self, shape: Shape, finds: Finds) -> None:
        """Add the table of a shape that is not here yet."""
        sort, name = self._chosen[shape] = self._choose(shape)
        self._by_pivot[sort].setdefault(name, {})[shape] = finds
        self._sum_up()

    def drop(self, shape: Shape) -> None:
        """Take the table of a shape out."""
        sort, name = self._chosen.pop(shape)
        standing = self._by_pivot[sort]
        del standing[name][shape]
        if not standing[name]:
            del standing[name]
        self._sum_up()

    def carried(self, event: Event) -> Finds:
        """What looks up `event`: all, or what stands under the pivots that it carries."""
        if self.few is not None:
            return self.few
        return _together(
            finds
            for sort, standing in self._by_pivot.items()
            if standing
            for name in _names(sort, event)
            if name in standing
            for finds in standing[name].values()
        )

    def _sum_up(self) -> None:
        few = len(self._chosen) <= FEW
        every = (one for standing in self._by_pivot.values() for shapes in standing.values() for one in shapes.values())
        self.few = _together(every) if few else None

    def _choose(self, shape: Shape) -> tuple[Sort, str]:
        """Of what the shape has, that under which fewest shapes stand; rather not the id, which all events have."""
        pivots = [(facet.source, facet.path[0]) for facet in (*shape.own, *shape.related) if facet.source != "name"]
        return min(
            pivots,
            key=lambda pivot: (len(self._by_pivot[pivot[0]].get(pivot[1], ())), pivot[1] == RESOURCE_ID, pivot),
            default=("none", ""),
        )


def _names(sort: Sort, event: Event) -> Iterable[str]:
    """What an event carries that may be a pivot of this sort."""
    match sort:
        case "label":
            return event.resource
        case "related":
            return {name for labels in event.related for name in labels}
        case "payload":
            return event.payload
        case "none":
            return ("",)


def _together(finds: Iterable[Finds]) -> Finds:
    one: list[FindOne] = []
    several: list[FindSeveral] = []
    for found in finds:
        one += found.one
        several += found.several
    return Finds(one, several)

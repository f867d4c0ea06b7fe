"""Numbers that an event's must be above or below, sorted: those that a value meets are found by bisection.

value > number    numbers  1  3  5 | 9 12        a value of 7 meets what stands left of the bar
and value < number + at most 4:  | 5 |           bands of about one width stand on a ladder of their own
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from math import frexp
from typing import Final, Generic, NamedTuple, TypeVar

from tocsin.automations.shapes import payload_value
from tocsin.events.jmes.requires import Bound, Operator
from tocsin.events.model import Event

Held = TypeVar("Held")

_EXACT: Final = 2.0**-40
"""Bands narrower than this share of their ends are not told apart: subtracting a width from a value rounds it."""


class Side(NamedTuple):
    """Which ladder: a path below the payload, how its value compares to the numbers.

    `width`: a value meets no number that is further below it (None: it may).
    """

    path: tuple[str, ...]
    operator: Operator
    width: float | None = None


class Rung(NamedTuple):
    """A place on a ladder."""

    side: Side
    number: float


def rung(bounds: Sequence[Bound]) -> Rung | None:
    """Where a condition with these bounds stands: every value that meets them all meets the rung. None: nowhere."""
    usable = [bound for bound in bounds if bound.path[0] == "payload" and len(bound.path) > 1]
    bands = [
        Rung(Side(low.path[1:], low.operator, _width(low.number, high.number)), low.number)
        for low in usable
        for high in usable
        if low.operator in (">", ">=") and high.operator in ("<", "<=") and low.path == high.path
    ]
    single = [Rung(Side(bound.path[1:], bound.operator), bound.number) for bound in usable]
    equal = [one for one in single if one.side.operator == "=="]
    return next(iter([*equal, *bands, *single]), None)


class Ladder(Generic[Held]):
    """What is held at each number, in ascending order."""

    __slots__ = ("_held", "_numbers", "_reach", "_value", "_width")

    def __init__(self, side: Side) -> None:
        self._numbers: list[float] = []
        self._held: list[Held] = []
        self._value = payload_value(side.path)
        self._reach = _REACHES[side.operator]
        self._width = side.width

    def __len__(self) -> int:
        return len(self._numbers)

    def at(self, number: float, make: Callable[[], Held]) -> Held:
        """What is held at `number`, made when there is nothing."""
        place = bisect_left(self._numbers, number)
        if place == len(self._numbers) or self._numbers[place] != number:
            self._numbers.insert(place, number)
            self._held.insert(place, make())
        return self._held[place]

    def forget(self, number: float) -> None:
        """Hold nothing more at `number`, at which something was held."""
        place = bisect_left(self._numbers, number)
        del self._numbers[place], self._held[place]

    def reached(self, event: Event) -> Sequence[Held]:
        """What is held at the numbers that the event's value meets; nothing when it is no number."""
        value = self._value(event.payload)
        if type(value) is not int and type(value) is not float:
            return ()
        found = self._reach(self._numbers, value)
        if self._width is None:
            return self._held[found]
        return self._held[bisect_left(self._numbers, _below(value, self._width)) : found.stop]


_REACHES: Final[dict[Operator, Callable[[list[float], float], slice]]] = {
    ">": lambda numbers, value: slice(bisect_left(numbers, value)),
    ">=": lambda numbers, value: slice(bisect_right(numbers, value)),
    "==": lambda numbers, value: slice(bisect_left(numbers, value), bisect_right(numbers, value)),
    "<": lambda numbers, value: slice(bisect_right(numbers, value), None),
    "<=": lambda numbers, value: slice(bisect_left(numbers, value), None),
}


def _width(low: float, high: float) -> float | None:
    """The next power of two, and a thousandth more for rounding: bands of that class are no wider. None: no class."""
    size, ends = high - low, max(abs(low), abs(high))
    if not size > ends * _EXACT or ends > _MOST:
        return None
    _, exponent = frexp(size)
    return 2.0**exponent * 1.001


_MOST: Final = 2.0**60


def _below(value: float, width: float) -> float:
    """`value - width`; of an integer too big for that, which is in no band, the value."""
    return value - width if abs(value) < 2 * _MOST else value

"""Numbers that an event's must be above or below, sorted: those that a value meets are found by bisection.

value > number              1  3  5 | 9 12     a value of 7 meets what stands left of the bar
and value <= top      (1,4) | (3,8) (5,9) | (9,12)     bands of about one width stand on a ladder of their own:
                                                       the value meets none that begins further below it
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from math import frexp, inf
from operator import le, lt
from typing import Final, Generic, NamedTuple, TypeVar

from tocsin.automations.shapes import payload_value
from tocsin.events.jmes.requires import Bound, Operator
from tocsin.events.model import Event

Held = TypeVar("Held")

_EXACT: Final = 2.0**-40
"""Bands narrower than this share of their ends are not told apart: subtracting a width from a value rounds it."""

_MOST: Final = 2.0**60
"""Nor are those of bigger numbers."""


class Side(NamedTuple):
    """Which ladder: a path below the payload, how its value compares to the numbers, and to their tops if they have.

    `width`: no top is further above its number (None: it may be).
    """

    path: tuple[str, ...]
    operator: Operator
    below: Operator | None = None
    width: float | None = None


class Rung(NamedTuple):
    """A place on a ladder: a number, or a band from it to its top."""

    side: Side
    number: float
    top: float = inf

    @property
    def answers(self) -> int:
        """How many bounds it stands for."""
        return 1 if self.side.below is None else 2


def rung(bounds: Sequence[Bound]) -> Rung | None:
    """Where a condition with these bounds stands: every value that meets them all meets the rung. None: nowhere."""
    usable = [bound for bound in bounds if bound.path[0] == "payload" and len(bound.path) > 1]
    bands = [_band(low, high) for low in usable for high in usable if _is_band(low, high)]
    single = [Rung(Side(bound.path[1:], bound.operator), bound.number) for bound in usable]
    equal = [one for one in single if one.side.operator == "=="]
    return next(iter([*equal, *bands, *single]), None)


class Ladder(Generic[Held]):
    """What is held at each rung, in ascending order."""

    __slots__ = ("_held", "_rungs", "_side", "_value")

    def __init__(self, side: Side) -> None:
        self._side = side
        self._value = payload_value(side.path)
        self._rungs: list[tuple[float, float]] = []
        self._held: list[Held] = []

    def __len__(self) -> int:
        return len(self._rungs)

    def at(self, rung: Rung, make: Callable[[], Held]) -> Held:
        """What is held at `rung`, made when there is nothing."""
        band = rung.number, rung.top
        place = bisect_left(self._rungs, band)
        if place == len(self._rungs) or self._rungs[place] != band:
            self._rungs.insert(place, band)
            self._held.insert(place, make())
        return self._held[place]

    def forget(self, rung: Rung) -> None:
        """Hold nothing more at `rung`, at which something was held."""
        place = bisect_left(self._rungs, (rung.number, rung.top))
        del self._rungs[place], self._held[place]

    def reached(self, event: Event) -> Sequence[Held]:
        """What is held at the rungs that the event's value meets; nothing when it is no number."""
        value = self._value(event.payload)
        if type(value) is not int and type(value) is not float:
            return ()
        found = _REACHES[self._side.operator](self._rungs, value)
        if self._side.below is None:
            return self._held[found]
        if self._side.width is not None:
            found = slice(_left(self._rungs, _less(value, self._side.width)), found.stop)
        meets = _BELOW[self._side.below]
        rungs = zip(self._rungs[found], self._held[found], strict=True)
        return [held for (_, top), held in rungs if meets(value, top)]


def _left(rungs: list[tuple[float, float]], value: float) -> int:
    """How many rungs have a number below `value`."""
    return bisect_left(rungs, (value,))


def _right(rungs: list[tuple[float, float]], value: float) -> int:
    """How many rungs have a number up to `value`."""
    return bisect_right(rungs, (value, inf))


_REACHES: Final[dict[Operator, Callable[[list[tuple[float, float]], float], slice]]] = {
    ">": lambda rungs, value: slice(0, _left(rungs, value)),
    ">=": lambda rungs, value: slice(0, _right(rungs, value)),
    "==": lambda rungs, value: slice(_left(rungs, value), _right(rungs, value)),
    "<": lambda rungs, value: slice(_right(rungs, value), None),
    "<=": lambda rungs, value: slice(_left(rungs, value), None),
}
_BELOW: Final[dict[Operator, Callable[[float, float], bool]]] = {"<": lt, "<=": le}


def _is_band(low: Bound, high: Bound) -> bool:
    return low.path == high.path and low.operator in (">", ">=") and high.operator in _BELOW


def _band(low: Bound, high: Bound) -> Rung:
    side = Side(low.path[1:], low.operator, high.operator, _width(low.number, high.number))
    return Rung(side, low.number, high.number)


def _width(low: float, high: float) -> float | None:
    """The next power of two, and a thousandth more for rounding: bands of that class are no wider. None: no class."""
    ends = max(abs(low), abs(high))
    if ends > _MOST or not high - low > ends * _EXACT:
        return None
    _, exponent = frexp(high - low)
    return 2.0**exponent * 1.001


def _less(value: float, width: float) -> float:
    """`value - width`; of an integer too big for that, which is in no band, the value."""
    return value - width if abs(value) < 2 * _MOST else value

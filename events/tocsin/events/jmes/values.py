"""JSON values as JMESPath sees them: what is true, what is equal, what comes before what."""

from collections.abc import Callable
from operator import ge, gt, le, lt
from typing import Any, Final

Evaluate = Callable[[Any], Any]  # Any, in this room: JSON of any shape
"""From a value, or for expressions on events from an `Event`, to what the expression makes of it."""

NUMBERS: Final[frozenset[type]] = frozenset({int, float})  # by type(), for True is an int to isinstance
ORDERINGS: Final[dict[str, Callable[[Any, Any], bool]]] = {"lt": lt, "lte": le, "gt": gt, "gte": ge}
MIRRORED: Final[dict[str, str]] = {"lt": "gt", "lte": "gte", "gt": "lt", "gte": "lte"}


def is_true(value: Any) -> bool:
    """Everything but null, false, and an empty text, list or object; 0 is true."""
    return bool(value) or type(value) in NUMBERS


def equal(left: Any, right: Any) -> bool:
    """Python's equality, but 1 is not true and 0 not false."""
    same: bool = left == right and (type(left) is bool) is (type(right) is bool)
    return same


def ordered(kind: str) -> Callable[[Any, Any], bool | None]:
    """`<` and its like: between two numbers or two texts; between anything else null."""
    compare = ORDERINGS[kind]

    def order(left: Any, right: Any) -> bool | None:
        if type(left) in NUMBERS:
            return compare(left, right) if type(right) in NUMBERS else None
        return compare(left, right) if type(left) is str and type(right) is str else None

    return order

"""What one rendering may spend: a unit is about the work of visiting one small value."""

from collections.abc import ItemsView, Iterable, KeysView, ValuesView
from datetime import datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

from jinja2 import Undefined

# Any, in this file: a template's values are whatever JSON its context holds.

WORK: Final = 300_000
ITERATIONS: Final = 10_000
OUTPUT_CAP: Final = 65_536
"""Characters of a rendered text."""

VALUE_CAP: Final = 65_536
"""Characters or items of a value that an operator makes."""

_BIGGEST: Final = 2**63
_LETTERS_A_UNIT: Final = 16
_SMALL: Final = frozenset({bool, float, type(None)})


class TooMuch(Exception):
    """The template wants more than a rendering may have."""


class Purse:
    """What is left of one rendering's budget."""

    def __init__(self) -> None:
        self._work, self._iterations, self._output = WORK, ITERATIONS, OUTPUT_CAP

    def pay(self, units: int) -> None:
        """Take `units` of work."""
        self._work -= units
        if self._work < 0:
            raise TooMuch("it takes too much work: loops, comparisons or filters over large values")

    def read(self, value: Any) -> None:
        """Pay for looking at all of `value`."""
        self.pay(size_of(value, self._work))

    def iterate(self, times: int, body: int) -> None:
        """Pay for a loop that runs a body of so many nodes `times` times."""
        self._iterations -= times
        if self._iterations < 0:
            raise TooMuch(f"its loops run more than {ITERATIONS} times in all")
        self.pay(times * body)

    def print(self, letters: int) -> None:
        """Pay for output."""
        self._output -= letters
        if self._output < 0:
            raise TooMuch(f"it makes more than {OUTPUT_CAP} characters")


def size_of(value: Any, limit: int) -> int:
    """How many units `value` is, with all that it holds. Raises `TooMuch` above `limit`, `TypeError` for an object."""
    total, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind in _SMALL:
            total += 1
        elif kind is str:
            total += 1 + len(item) // _LETTERS_A_UNIT
        else:
            total += _own_size(item)
            waiting.extend(_held(item))
        if total + len(waiting) > limit:
            raise TooMuch("it takes too much work: a value is too large")
    return total


def _own_size(item: Any) -> int:
    match item:
        case int():
            return 1 + item.bit_length() // 64
        case range():
            return 1 + len(item)
        case dict() | list() | tuple() | str() | float() | Undefined() | ItemsView() | KeysView() | ValuesView():
            return 1
    raise TypeError(f"{type(item).__name__} is not plain data (text, number, true, false, null, list or object)")


def _held(item: Any) -> Iterable[Any]:
    match item:
        case dict():
            return chain(item, item.values())
        case list() | tuple() | ItemsView() | KeysView() | ValuesView():
            return item
    return ()


def plain(value: Any) -> Any:
    """`value` as text, numbers, booleans, None, lists and dicts; times and ids become text.

    Raises `TypeError` for anything else: no template is ever handed an object.
    """
    if value is None or isinstance(value, bool | float | int) or type(value) is str:
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not plain data (text, number, true, false, null, list or object)")


def storable(value: Any) -> Any:
    """`value` itself, if a database and JSON can keep it.

    Raises `ValueError` for a NUL, half a surrogate pair, a number beyond 64 bits.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str) and ("\0" in item or not _is_unicode(item)):
            raise ValueError("its text holds a NUL or half a surrogate pair")
        if isinstance(item, int) and not -_BIGGEST <= item < _BIGGEST:
            raise ValueError("its number does not fit 64 bits")
        waiting.extend(_held(item))
    return value


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)

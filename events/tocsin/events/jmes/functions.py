"""JMESPath's functions: the common ones here, fast; the rarer ones, and all errors, are the jmespath package's.

`join`, `to_string` and `reverse` make text. What they make in one evaluation is paid from a purse of `MAX_MADE`
characters: a list of a million zeros joined with a long text would be gigabytes.
"""

import json
from collections.abc import Callable
from contextvars import ContextVar
from operator import gt, lt
from typing import Any, Final

from jmespath.functions import Functions

from tocsin.events.jmes.values import NUMBERS, Evaluate

# Any, in this file: JSON of any shape.

MAX_MADE: Final = 1_000_000
MAKERS: Final = frozenset({"join", "reverse", "to_string"})

BOOLEAN: Final = frozenset({"contains", "ends_with", "starts_with"})
BEST: Final[dict[str, Callable[[Any, Any], bool]]] = {"max_by": gt, "min_by": lt}
_ALIKE: Final[dict[type, frozenset[type]]] = {int: NUMBERS, float: NUMBERS, str: frozenset({str})}

_package: Final = Functions().call_function
_table: Final[dict[str, dict[str, Any]]] = Functions.FUNCTION_TABLE
_encoder: Final = json.JSONEncoder(separators=(",", ":"), default=str)
_purse: ContextVar[list[int]] = ContextVar("tocsin_jmes_purse")

KNOWN: Final = tuple(sorted(_table))


class _Expression:
    """What `&expression` gives to a function. The package knows it by the class's name."""

    __slots__ = ("evaluate", "expression")

    def __init__(self, evaluate: Evaluate) -> None:
        self.evaluate = evaluate
        self.expression = None

    def visit(self, _: None, value: Any) -> Any:
        """The expression's value, for the package's functions."""
        return self.evaluate(value)


def reference(evaluate: Evaluate) -> Evaluate:
    """`&expression`: the same on every value."""
    expression = _Expression(evaluate)
    return lambda _: expression


def function(name: str, arity: int) -> Callable[..., Any]:
    """The function to call with `arity` values. It raises ValueError or TypeError for what it cannot take."""
    if name in _OURS and takes(name, arity):
        return _OURS[name]
    return lambda *arguments: _package(name, arguments)


def takes(name: str, arity: int) -> bool:
    """Whether the known function `name` may be called with `arity` arguments."""
    signature = _table[name]["signature"]
    return arity >= len(signature) if signature[-1].get("variadic") else arity == len(signature)


def wants(name: str) -> int:
    """How many arguments the known function `name` has, at least."""
    return len(_table[name]["signature"])


def takes_reference(name: str, place: int) -> bool:
    """Whether argument `place` of the known function `name` is an `&expression`."""
    signature = _table[name]["signature"]
    return place < len(signature) and "expref" in signature[place]["types"]


def with_purse(evaluate: Evaluate) -> Evaluate:
    """`evaluate` with a full purse each time."""

    def paid(value: Any) -> Any:
        token = _purse.set([MAX_MADE])
        try:
            return evaluate(value)
        finally:
            _purse.reset(token)

    return paid


def member_of(constants: frozenset[Any], wanted: Evaluate) -> Evaluate:
    """`contains([...], wanted)` for a list of constants: in the same time whatever its length."""

    def contains(value: Any) -> bool:
        sought = wanted(value)
        return type(sought) is not list and type(sought) is not dict and sought in constants

    return contains


def best_by(name: str, items: Evaluate, key: Evaluate) -> Evaluate:
    """`max_by(items, &key)` or `min_by`: the first one of the best."""
    better, expression = BEST[name], _Expression(key)

    def best(value: Any) -> Any:
        found = items(value)
        if type(found) is list and found:
            chosen = found[0]
            top = key(chosen)
            alike = _ALIKE.get(type(top), ())
            for item in found[1:]:
                measure = key(item)
                if type(measure) not in alike:
                    break
                if better(measure, top):
                    chosen, top = item, measure
            else:
                if alike:
                    return chosen
        return _package(name, (found, expression))

    return best


def _pay(characters: int) -> None:
    purse = _purse.get()
    purse[0] -= characters
    if purse[0] < 0:
        raise ValueError(f"join, to_string and reverse would make more than {MAX_MADE:,} characters of text")


def _contains(subject: Any, wanted: Any) -> bool:
    if type(subject) is list:
        return wanted in subject
    if type(subject) is str:
        return type(wanted) is str and wanted in subject
    return bool(_package("contains", (subject, wanted)))


def _starts_with(text: Any, start: Any) -> bool:
    if type(text) is str and type(start) is str:
        return text.startswith(start)
    return bool(_package("starts_with", (text, start)))


def _ends_with(text: Any, end: Any) -> bool:
    if type(text) is str and type(end) is str:
        return text.endswith(end)
    return bool(_package("ends_with", (text, end)))


def _length(value: Any) -> Any:
    return len(value) if type(value) in (str, list, dict) else _package("length", (value,))


def _join(separator: Any, texts: Any) -> Any:
    if type(separator) is str and type(texts) is list and texts:
        _pay(sum(len(text) for text in texts if type(text) is str) + len(separator) * (len(texts) - 1))
    return _package("join", (separator, texts))


def _to_string(value: Any) -> Any:
    if type(value) is str:
        return value
    pieces = []
    for piece in _encoder.iterencode(value):
        _pay(len(piece))
        pieces.append(piece)
    return "".join(pieces)


def _reverse(value: Any) -> Any:
    if type(value) is str:
        _pay(len(value))
    return _package("reverse", (value,))


_OURS: Final[dict[str, Callable[..., Any]]] = {
    "contains": _contains,
    "ends_with": _ends_with,
    "join": _join,
    "length": _length,
    "reverse": _reverse,
    "starts_with": _starts_with,
    "to_string": _to_string,
}

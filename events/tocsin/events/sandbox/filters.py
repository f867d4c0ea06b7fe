"""The filters that templates may use, by name. Those of Jinja2 whose result may be larger than what they read are
written anew here with a bound, or left out: `center`, `indent`, `wordwrap`, `format`, `batch`, `slice`, `xmlattr`,
`groupby`, `pprint`, `random`, `attr`.
"""

import html
import json
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from jinja2 import Undefined, filters

from tocsin.events.sandbox.purse import VALUE_CAP, TooMuch

# Any, in this file: a template's values are whatever JSON its context holds.


def joined(value: Iterable[Any], separator: Any = "", attribute: str | None = None) -> str:
    """The items as text with `separator` between them."""
    items = [_text(item.get(attribute) if attribute is not None else item) for item in value]
    between = _text(separator)
    _bounded(sum(map(len, items)) + len(between) * max(0, len(items) - 1))
    return between.join(items)


def replaced(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    """The text with `old` replaced by `new`, at most `count` times."""
    text, before, after = _text(value), _text(old), _text(new)
    times = text.count(before) if count is None else min(text.count(before), count)
    _bounded(len(text) + times * max(0, len(after) - len(before)))
    return text.replace(before, after, -1 if count is None else count)


def rounded(value: float, precision: int = 0, method: str = "common") -> float:
    """The number to `precision` places (-15 to 15), by `common`, `ceil` or `floor`."""
    if not -15 <= precision <= 15:
        raise ValueError("round: precision lies between -15 and 15")
    if method == "common":
        return round(float(value), precision)
    if method not in {"ceil", "floor"}:
        raise ValueError("round: method is common, ceil or floor")
    rounding: Callable[[float], int] = math.ceil if method == "ceil" else math.floor
    return float(rounding(float(value) * 10.0**precision) / 10.0**precision)


def summed(value: Iterable[Any], attribute: str | None = None, start: float = 0) -> float:
    """The sum of numbers, or of one field of objects."""
    items = [item[attribute] if attribute is not None else item for item in value]
    if not all(isinstance(item, int | float) for item in [*items, start]):
        raise TypeError("sum: adds numbers only")
    return sum(items, start)


def as_json(value: Any, indent: int | None = None) -> str:
    """The value as JSON text with sorted keys; `indent` 0 to 8."""
    if indent is not None and not 0 <= indent <= 8:
        raise ValueError("tojson: indent lies between 0 and 8")
    if isinstance(value, Undefined):
        return "null"
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False, default=list)


def escaped(value: Any) -> str:
    """The text with `&`, `<`, `>` and quotes as HTML entities."""
    return html.escape(_text(value))


def _text(value: Any) -> str:
    return str(value)


def _bounded(letters: int) -> None:
    if letters > VALUE_CAP:
        raise TooMuch(f"a filter would make a text of {letters} characters; the most is {VALUE_CAP}")


_OF_JINJA: Final = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "last", "length", "list",
    "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "string", "title",
    "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
)  # fmt: skip

FILTERS: Final[dict[str, Callable[..., Any]]] = {
    **{name: filters.FILTERS[name] for name in _OF_JINJA},
    "join": joined,
    "replace": replaced,
    "round": rounded,
    "sum": summed,
    "tojson": as_json,
    "e": escaped,
    "escape": escaped,
}

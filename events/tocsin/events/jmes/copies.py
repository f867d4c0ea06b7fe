"""How many times over an expression may copy what it reads.

A multi-select adds (`[a, a]` holds its input twice), pipes and projections multiply; an ordinary condition copies once.
152 characters of `[@, @] | [@, @] | …` are 262,144 copies: that one is refused before it runs.
"""

from collections.abc import Callable
from typing import Final

from tocsin.events.jmes.tree import Node, chain

MAX_COPIES: Final = 64


class _TooMany(Exception):
    """Stops the count: the numbers grow with every pipe."""


def most_copies(tree: Node) -> int:
    """The most copies that any part of `tree` makes; no exact number above `MAX_COPIES`."""
    try:
        return _copies(tree, 1)
    except _TooMany:
        return MAX_COPIES + 1


def _copies(node: Node, given: int) -> int:
    """How often the result of `node` holds the input, when its own input holds it `given` times."""
    made = _RULES.get(node["type"], _all_of)(node, given)
    if made > MAX_COPIES:
        raise _TooMany
    return made


def _same(node: Node, given: int) -> int:
    return given


def _one(node: Node, given: int) -> int:
    for child in node["children"]:
        _copies(child, given)
    return 1


def _all_of(node: Node, given: int) -> int:
    """The result is that of one of the parts."""
    return max((_copies(child, given) for child in node["children"]), default=given)


def _chained(node: Node, given: int) -> int:
    return max(_copies(operand, given) for operand in chain(node))


def _sum(node: Node, given: int) -> int:
    return sum(_copies(child, given) for child in node["children"])


def _in_turn(node: Node, given: int) -> int:
    for child in chain(node) if node["type"] == "pipe" else node["children"]:
        given = _copies(child, given)
    return given


def _filter(node: Node, given: int) -> int:
    base, right, condition = node["children"]
    elements = _copies(base, given)
    _copies(condition, elements)
    return _copies(right, elements)


def _function(node: Node, given: int) -> int:
    """Arguments may end up side by side; `&expression` is evaluated on what the others hold."""
    plain = [child for child in node["children"] if child["type"] != "expref"]
    held = [_weight(node["value"], place, child, given) for place, child in enumerate(plain)]
    total = max(sum(held) if node["value"] in _JOINING else max(held, default=1), 1)
    for child in node["children"]:
        if child["type"] == "expref":
            total = max(total, _copies(child["children"][0], total))
    return total


def _weight(function: str, place: int, argument: Node, given: int) -> int:
    """A literal list costs its length at every element that the function is called for; `contains` looks it up."""
    if argument["type"] == "literal" and not (function == "contains" and place == 0):
        value = argument["value"]
        return max(len(value), 1) if isinstance(value, list | dict) else 1
    if function == "contains" and place == 0 and argument["type"] == "multi_select_list":
        return max((_copies(child, given) for child in argument["children"]), default=1)
    return _copies(argument, given)


_JOINING: Final = frozenset({"merge", "join"})
_RULES: Final[dict[str, Callable[[Node, int], int]]] = {
    "and_expression": _chained,
    "comparator": _one,
    "current": _same,
    "field": _same,
    "filter_projection": _filter,
    "function_expression": _function,
    "identity": _same,
    "index": _same,
    "index_expression": _in_turn,
    "literal": _one,
    "multi_select_dict": _sum,
    "multi_select_list": _sum,
    "not_expression": _one,
    "or_expression": _chained,
    "pipe": _in_turn,
    "projection": _in_turn,
    "slice": _same,
    "subexpression": _in_turn,
    "value_projection": _in_turn,
}

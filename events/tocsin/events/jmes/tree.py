"""The tree of an expression: the jmespath package's, `{"type": ..., "children": [...], "value": ...}`.

Where an error would point at a node, it has a `position` in the text, from 0.
"""

from collections.abc import Iterator
from itertools import takewhile
from typing import Any, Final

Node = dict[str, Any]  # Any: children are nodes, a literal's value is any JSON

_CHAINS: Final = frozenset({"and_expression", "or_expression", "pipe"})


def chain(node: Node) -> list[Node]:
    """The operands of `a && b && c` (or `||`, `|`) from left to right."""
    operands: list[Node] = []
    kind = node["type"]
    while node["type"] == kind:
        node, right = node["children"]
        operands.append(right)
    return [node, *reversed(operands)]


def walk(tree: Node) -> Iterator[tuple[int, Node]]:
    """Every node with its depth, without recursion. A chain of one operator is one level."""
    rest = [(1, tree)]
    while rest:
        depth, node = rest.pop()
        yield depth, node
        same = node["type"] if node["type"] in _CHAINS else None
        rest += ((depth if child["type"] == same else depth + 1, child) for child in children(node))


def children(node: Node) -> list[Node]:
    """The nodes below; a slice's are numbers."""
    below: list[Node] = node["children"]
    return [] if node["type"] == "slice" else below


def path_of(node: Node) -> tuple[str, ...] | None:
    """`("a", "b")` for `a.b` or `@.a.b`; None for anything but names joined by dots."""
    names, others = split_path(node)
    return names if names and not others else None


def split_path(node: Node) -> tuple[tuple[str, ...], list[Node]]:
    """The names that a path begins with, and the steps behind them."""
    if node["type"] == "field":
        return (node["value"],), []
    if node["type"] != "subexpression":
        return (), [node]
    steps = node["children"]
    if steps[0]["type"] == "current":
        steps = steps[1:]
    names = tuple(step["value"] for step in takewhile(lambda step: step["type"] == "field", steps))
    return (names, steps[len(names) :]) if names else ((), node["children"])

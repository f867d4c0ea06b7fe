"""What an expression cannot be true without, so that an index finds those that an event may meet.

Read from the operands of its outermost `&&`: `a.b == 'x'`, `a.b == 'x' || a.b == 'y'` and `contains(['x', 'y'], a.b)`
demand one of some texts at a path; `` a.b > `5` `` and `` a.b == `5` `` bound a number.
Each says exactly as much as the operand it is read from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Final, Literal, cast

from tocsin.events.jmes.closures import constants
from tocsin.events.jmes.tree import Node, chain, path_of
from tocsin.events.jmes.values import MIRRORED, NUMBERS

Operator = Literal["<", "<=", "==", ">", ">="]

_OPERATORS: Final[dict[str, Operator]] = {"lt": "<", "lte": "<=", "eq": "==", "gt": ">", "gte": ">="}


@dataclass(frozen=True, slots=True)
class Demand:
    """True exactly when the value at `path` is one of these texts."""

    path: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """True exactly when the value at `path` is a number, and `value operator number`."""

    path: tuple[str, ...]
    operator: Operator
    number: int | float


def split(tree: Node) -> tuple[tuple[Demand, ...], tuple[Bound, ...], Node | None]:
    """The demands and bounds of `tree`, and the conjunction of the operands that are neither (None: all are)."""
    demands, bounds = [], []
    rest: Node | None = None
    for operand in _operands(tree, "and_expression"):
        if demand := _demand(operand):
            demands.append(demand)
        elif bound := _bound(operand):
            bounds.append(bound)
        else:
            rest = operand if rest is None else {"type": "and_expression", "children": [rest, operand]}
    return tuple(demands), tuple(bounds), rest


def _operands(node: Node, kind: str) -> Iterator[Node]:
    """The operands of a chain, brackets around parts of it or not."""
    if node["type"] != kind:
        yield node
        return
    for operand in chain(node):
        yield from _operands(operand, kind)


def _demand(node: Node) -> Demand | None:
    if node["type"] != "or_expression":
        return _single_demand(node)
    found = [_single_demand(operand) for operand in _operands(node, "or_expression")]
    demands = [demand for demand in found if demand]
    if len(demands) < len(found) or len({demand.path for demand in demands}) > 1:
        return None
    return Demand(demands[0].path, tuple(dict.fromkeys(value for demand in demands for value in demand.values)))


def _single_demand(node: Node) -> Demand | None:
    match node:
        case {"type": "comparator", "value": "eq"}:
            path, literal, _ = _sides(node)
            values = [literal]
        case {"type": "function_expression", "value": "contains", "children": [listed, sought]}:
            path, values = path_of(sought), constants(listed) or []
        case _:
            return None
    if not path or not values or not all(type(value) is str for value in values):
        return None
    return Demand(path, tuple(dict.fromkeys(cast(list[str], values))))


def _bound(node: Node) -> Bound | None:
    kind: str = node["value"] if node["type"] == "comparator" else ""
    if kind not in _OPERATORS:
        return None
    path, number, mirrored = _sides(node)
    if not path or type(number) not in NUMBERS or not -inf < cast(float, number) < inf:
        return None
    return Bound(path, _OPERATORS[MIRRORED.get(kind, kind) if mirrored else kind], cast(float, number))


def _sides(node: Node) -> tuple[tuple[str, ...] | None, object, bool]:
    """The path and the literal that a comparator compares, and whether the literal stands first; else no path."""
    left, right = node["children"]
    if right["type"] == "literal":
        return path_of(left), right["value"], False
    if left["type"] == "literal":
        return path_of(right), left["value"], True
    return None, None, False

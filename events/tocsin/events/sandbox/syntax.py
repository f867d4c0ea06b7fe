"""What a template may say, and how its tree is rewritten to pay before it works."""

from collections.abc import Iterator
from typing import Final, TypeVar

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

SOURCE_CAP: Final = 16_384
"""Characters of a template."""

NODE_CAP: Final = 2_000
DEPTH_CAP: Final = 60

METHODS: Final = (
    "capitalize", "endswith", "get", "isdigit", "items", "keys", "lower", "lstrip", "removeprefix", "removesuffix",
    "rstrip", "split", "startswith", "strip", "title", "upper", "values",
)  # fmt: skip
LOOP: Final = "\0loop"
READ: Final = "\0read"
CONCAT: Final = "\0concat"
"""Filters that only the rewriting can name: no template can write NUL into a name."""

_ALLOWED: Final = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign, nodes.Name, nodes.Const,
    nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test,
    nodes.Call, nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.And,
    nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv,
    nodes.Mod, nodes.Pow,
)  # fmt: skip
_SPOKEN: Final = {
    "Macro": "{% macro %}", "CallBlock": "{% call %}", "Include": "{% include %}", "Import": "{% import %}",
    "FromImport": "{% from %}", "Extends": "{% extends %}", "Block": "{% block %}", "FilterBlock": "{% filter %}",
    "AssignBlock": "{% set %} with a body", "With": "{% with %}", "NSRef": "a namespace",
}  # fmt: skip

NodeT = TypeVar("NodeT", bound=nodes.Node)


class Refused(Exception):
    """The template says what no template may say; `lineno` is where."""

    def __init__(self, reason: str, lineno: int) -> None:
        super().__init__(reason)
        self.lineno = lineno


def check_tree(tree: nodes.Template) -> None:
    """Raise `Refused` for the first thing in `tree` that no template may say."""
    for count, (node, depth) in enumerate(_walk(tree)):
        if count >= NODE_CAP:
            raise Refused(f"more than {NODE_CAP} parts", node.lineno)
        if depth > DEPTH_CAP:
            raise Refused("nested too deep", node.lineno)
        reason = _objection(node)
        if reason is not None:
            raise Refused(reason, node.lineno)


def make_paying(tree: nodes.Template) -> nodes.Template:
    """`tree` with every loop, comparison, slice, `~` and method call paying from the purse first."""
    paying: nodes.Template = _Paying().visit(tree)
    return paying


def lone_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression of a template that is exactly one `{{ expression }}`."""
    match tree.body:
        case [nodes.Output(nodes=[nodes.Expr() as expression])] if not isinstance(expression, nodes.TemplateData):
            return expression
    return None


def _walk(tree: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((child, depth + 1) for child in node.iter_child_nodes())


def _objection(node: nodes.Node) -> str | None:
    name = type(node).__name__
    match node:
        case nodes.For(recursive=True):
            return "a recursive loop is not allowed"
        case nodes.Call(node=nodes.Name(name="range")):
            return None
        case nodes.Call(node=nodes.Getattr(attr=method)) if method in METHODS:
            return None
        case nodes.Call():
            return f"only range() and these methods can be called: {', '.join(METHODS)}"
        case nodes.Getattr(attr=attribute) if attribute.startswith("__"):
            return f"{attribute} is not allowed"
        case nodes.Pair(key=nodes.Expr() as key) if not isinstance(key, nodes.Const):
            return "the keys of an object are plain text"
        case _ if not isinstance(node, _ALLOWED):
            return f"{_SPOKEN.get(name, name)} is not allowed"
    return None


class _Paying(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  (Jinja's naming)
        body = sum(1 for part in (*node.body, node.test) if part is not None for _ in _walk(part))
        self.generic_visit(node)
        node.iter = _filtered(node.iter, LOOP, nodes.Const(body))
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802
        self.generic_visit(node)
        node.expr = _filtered(node.expr, READ)
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, READ)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Getitem:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice) and isinstance(node.node, nodes.Expr):
            node.node = _filtered(node.node, READ)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Call:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.node, nodes.Getattr):
            node.node.node = _filtered(node.node.node, READ)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        first, *rest = node.nodes
        return _filtered(first, CONCAT, *rest)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Tuple | nodes.List:  # noqa: N802
        # A tuple of tuples can be hashed for hours; a list cannot be hashed at all.
        self.generic_visit(node)
        return nodes.List(node.items, lineno=node.lineno) if node.ctx == "load" else node


def _filtered(node: nodes.Node, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)

"""What is JMESPath but cannot be meant: always null, always an error, or a text mistaken for a field."""

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from tocsin.events.jmes.functions import KNOWN, takes, takes_reference, wants
from tocsin.events.jmes.scopes import FIELDS
from tocsin.events.jmes.tree import Node, path_of, walk

_INTO: Final = frozenset(
    {"filter_projection", "flatten", "index_expression", "projection", "subexpression", "value_projection"}
)
_PLAIN: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_JSON_WORDS: Final = frozenset({"true", "false", "null"})


def lints(text: str, tree: Node, read: Iterable[str | None]) -> tuple[str, ...]:
    """What is wrong with the expression as a condition on events, each with its place and the way out.

    `read`: the names that its paths begin with.
    """
    return tuple(found for _, node in walk(tree) for found in _of_node(text, node)) + tuple(_unknown(read))


def _of_node(text: str, node: Node) -> Iterator[str]:
    yield from _negated_path(node)
    if rule := _RULES.get(node["type"]):
        yield from rule(text, node)


def _negated_path(node: Node) -> Iterator[str]:
    if node["type"] in _INTO and node["children"][0]["type"] == "not_expression":
        yield (
            f"{_at(node['children'][0])}: `!` binds tighter than the path behind it: `!a.b` means `(!a).b`, which is "
            "always null; write `!(a.b)`"
        )


def _comparator(text: str, node: Node) -> Iterator[str]:
    for operand, other in (node["children"], reversed(node["children"])):
        if operand["type"] == "not_expression" and _never_boolean(node, other):
            yield (
                f"{_at(operand)}: `!` binds tighter than the comparison: `!a == b` means `(!a) == b`; "
                "write `!(a == b)`, or `a != b`"
            )
        name = path_of(operand)
        if name and len(name) == 1 and operand["type"] == "field":
            yield from _mistaken(operand, name[0])


def _never_boolean(node: Node, other: Node) -> bool:
    return node["value"] not in ("eq", "ne") or (other["type"] == "literal" and type(other["value"]) is not bool)


def _mistaken(field: Node, name: str) -> Iterator[str]:
    if field.get("quoted") and _PLAIN.fullmatch(name):
        yield f"{_at(field)}: \"{name}\" is the field {name}; write '{name}' for the text, {name} for the field"
    elif name in _JSON_WORDS and not field.get("quoted"):
        yield f"{_at(field)}: {name} is the field of that name; write `{name}` in backticks"


def _literal(text: str, node: Node) -> Iterator[str]:
    start = node.get("position", 0)
    if type(node["value"]) is str and text[start] == "`" and text[start + 1 :].lstrip()[:1] != '"':
        yield f"{_at(node)}: in backticks stands JSON; write '{node['value']}' in single quotes for the text"


def _slice(text: str, node: Node) -> Iterator[str]:
    if node["children"][2] == 0:
        yield "a slice by steps of 0 is always an error; write [start:stop]"


def _function(text: str, node: Node) -> Iterator[str]:
    name, arguments = node["value"], node["children"]
    if name not in KNOWN:
        close = get_close_matches(name, KNOWN, 1)
        hint = f"did you mean {close[0]}()" if close else f"known: {', '.join(KNOWN)}"
        yield f"{_at(node)}: there is no function {name}(); {hint}"
        return
    if not takes(name, len(arguments)):
        yield f"{_at(node)}: {name}() takes {wants(name)} arguments, here are {len(arguments)}"
    for place, argument in enumerate(arguments):
        if (argument["type"] == "expref") is not takes_reference(name, place):
            what = "an &expression, as in &name" if takes_reference(name, place) else "a value; leave out the &"
            yield f"{_at(node)}: argument {place + 1} of {name}() is {what}"


def _unknown(read: Iterable[str | None]) -> Iterator[str]:
    for name in sorted(name for name in read if name is not None and name not in FIELDS):
        yield (
            f"an event has no field {name!r}, only {', '.join(FIELDS)}; write payload.{name} if it is in the payload, "
            f"'{name}' if it is a text"
        )


def _at(node: Node) -> str:
    return f"character {node['position'] + 1}" if "position" in node else "at the beginning"


_RULES: Final[dict[str, Callable[[str, Node], Iterator[str]]]] = {
    "comparator": _comparator,
    "function_expression": _function,
    "literal": _literal,
    "slice": _slice,
}

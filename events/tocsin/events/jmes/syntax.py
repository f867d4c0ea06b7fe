"""From text to a tree that may be evaluated: the jmespath package's lexer and parser, behind limits.

JMESPath has no way back to the root, so within these limits an evaluation takes time and memory in proportion to the
event, and needs no timer.
"""

from typing import Any, Final, cast

from jmespath.exceptions import IncompleteExpressionError, JMESPathError, LexerError, ParseError
from jmespath.lexer import Lexer
from jmespath.parser import Parser

from tocsin.events.errors import Invalid
from tocsin.events.jmes.copies import MAX_COPIES, most_copies
from tocsin.events.jmes.tree import Node, walk

MAX_TEXT: Final = 4_096
MAX_OPEN: Final = 256
MAX_DEPTH: Final = 64
MAX_NODES: Final = 512

_OPENING: Final = frozenset({"lparen", "lbracket", "lbrace", "filter", "flatten", "not", "expref", "star"})
_SHOWN: Final = 60


def parse(text: str) -> Node:
    """The tree of `text`. Raises `Invalid`, with position and way out, when it is none or passes a limit."""
    if len(text) > MAX_TEXT:
        raise refused(
            text, f"{len(text):,} characters, at most {MAX_TEXT:,}; make several automations, or test in the producer"
        )
    tree = _parsed(text)
    _check_size(text, tree)
    if most_copies(tree) > MAX_COPIES:
        raise refused(
            text, f"it may copy its input over {MAX_COPIES} times; select fewer things, and do not nest [a, b] in pipes"
        )
    return tree


def at(position: int) -> str:
    """How an error names a place in the text; `position` counts from 0, people from 1."""
    return f"character {position + 1}"


_PackageParser: Any = Parser  # Any: we add to methods that the package's stubs do not name


class _Parser(_PackageParser):  # type: ignore[misc]
    """The package's parser; it notes where names, functions and `!` stand, and which names stood in double quotes."""

    _CACHE: dict[str, object] = {}  # noqa: RUF012  (the package's name; stays empty, we cache what is compiled)
    _MAX_SIZE = 0

    def _token_nud_not(self, token: Node) -> Node:
        return {**super()._token_nud_not(token), "position": token["start"]}

    def _token_nud_unquoted_identifier(self, token: Node) -> Node:
        return {**super()._token_nud_unquoted_identifier(token), "position": token["start"]}

    def _token_nud_quoted_identifier(self, token: Node) -> Node:
        return {**super()._token_nud_quoted_identifier(token), "position": token["start"], "quoted": True}

    def _token_nud_literal(self, token: Node) -> Node:
        return {**super()._token_nud_literal(token), "position": token["start"]}

    def _token_led_lparen(self, left: Node) -> Node:
        return {**super()._token_led_lparen(left), "position": left["position"]}


def _parsed(text: str) -> Node:
    try:
        opening = sum(token["type"] in _OPENING for token in Lexer().tokenize(text))
        if opening > MAX_OPEN:
            raise refused(text, f"{opening} opening symbols, at most {MAX_OPEN}; make several automations")
        tree = cast(Node, _Parser().parse(text).parsed)
    except IncompleteExpressionError as error:
        raise refused(
            text, f"{at(len(text))}: it ends too early; a bracket or the right side of an operator is missing"
        ) from error
    except ParseError as error:
        raise refused(text, f"{at(error.lex_position)}: {_reason(error)}") from error
    except JMESPathError as error:
        raise refused(text, "it is empty; leave it out, or name a field as in payload.state") from error
    except PendingDeprecationWarning as error:  # where warnings are errors
        raise refused(text, "in backticks stands JSON; write text in single quotes: 'text'") from error
    except RecursionError as error:
        raise refused(text, f"nested deeper than {MAX_DEPTH} levels; make several automations") from error
    return tree


def _reason(error: ParseError) -> str:
    shown = repr(str(error.token_value)[:_SHOWN])
    match error.token_type, error.token_value:
        case _, "=":
            return "'=' compares nothing; write =="
        case "NUMBER", number:
            return f"a number stands in backticks; write `{number}`"
        case "EOF", _:
            return "it ends too early; a bracket or the right side of an operator is missing"
        case _, "$" | "$$":
            return "JMESPath has no $; begin with a field, as in payload.state"
        case _:
            if isinstance(error, LexerError):
                return f"{shown}: {error.message}; text stands in 'single quotes', JSON in `backticks`"
            return f"{shown} is not expected here; text stands in 'single quotes', JSON in `backticks`"


def _check_size(text: str, tree: Node) -> None:
    for count, (depth, node) in enumerate(walk(tree), 1):
        if count > MAX_NODES:
            raise refused(
                text, f"more than {MAX_NODES} parts; list texts in contains(['a', 'b'], payload.x), or make several"
            )
        inside = _json_depth(node["value"]) if node["type"] == "literal" else 0
        if depth + inside > MAX_DEPTH:
            raise refused(text, f"nested deeper than {MAX_DEPTH} levels; make several automations")


def _json_depth(value: object) -> int:
    """How deep lists and objects nest in a literal, without recursion."""
    deepest, rest = 0, [(0, value)]
    while rest:
        depth, item = rest.pop()
        deepest = max(deepest, depth)
        members = item if isinstance(item, list) else list(item.values()) if isinstance(item, dict) else ()
        rest += ((depth + 1, member) for member in members)
    return deepest


def refused(text: str, reason: str) -> Invalid:
    """The error that an expression cannot be taken."""
    return Invalid(f"{named(text)}: {reason}")


def named(text: str) -> str:
    """The expression as an error names it: on one line, the beginning of it."""
    line = " ".join(text[: 2 * _SHOWN].split())
    return f'expression "{line[:_SHOWN]}{"…" if len(text) > _SHOWN else ""}"'

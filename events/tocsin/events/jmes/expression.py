"""A compiled expression."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from tocsin.events.errors import EvaluationError, Invalid
from tocsin.events.jmes import closures
from tocsin.events.jmes.functions import MAKERS, with_purse
from tocsin.events.jmes.lints import lints
from tocsin.events.jmes.requires import Bound, Demand, split
from tocsin.events.jmes.scopes import FIELDS, VALUE, EventScope, Scope
from tocsin.events.jmes.syntax import named, parse, refused
from tocsin.events.jmes.tree import Node, walk
from tocsin.events.jmes.values import Evaluate
from tocsin.events.model import Event

# Any, in this file: JSON of any shape.

_CACHED: Final = 4_096
_FAILURES: Final = (ValueError, TypeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class Expression:
    """A JMESPath expression, ready to be evaluated by any thread.

    It is true only if each of `demands` and `bounds` is. `uses` are the fields of an event that it reads. `lints` say
    what cannot be meant.
    Every evaluation may raise `EvaluationError`, for example `length()` of a number.
    """

    text: str
    whole: bool  # else the rest of one with the same text
    demands: tuple[Demand, ...] = field(compare=False)
    bounds: tuple[Bound, ...] = field(compare=False)
    uses: frozenset[str] = field(compare=False)
    lints: tuple[str, ...] = field(compare=False)
    _rest: "Expression | None" = field(compare=False, repr=False)
    _search: Evaluate = field(compare=False, repr=False)
    _test: Evaluate = field(compare=False, repr=False)
    _event: Evaluate = field(compare=False, repr=False)
    _meets: Evaluate = field(compare=False, repr=False)

    @property
    def rest(self) -> "Expression | None":
        """What remains to be tested where all `demands` and `bounds` are known to hold; None: it is true then."""
        return self._rest if self.demands or self.bounds else self

    def search(self, value: Any) -> Any:
        """What it makes of a JSON value (dict, list, str, int, float, bool, None)."""
        try:
            return self._search(value)
        except _FAILURES as error:
            raise self._failed(error) from error

    def test(self, value: Any) -> bool:
        """Whether it is true of a JSON value: not null, false, or an empty text, list or object."""
        try:
            return True if self._test(value) else False  # noqa: SIM210  (faster than bool)
        except _FAILURES as error:
            raise self._failed(error) from error

    def event(self, event: Event) -> Any:
        """What it makes of an event: as `search` of the JSON object that the event is written as."""
        try:
            return self._event(event)
        except _FAILURES as error:
            raise self._failed(error) from error

    def meets(self, event: Event) -> bool:
        """Whether it is true of an event."""
        try:
            return True if self._meets(event) else False  # noqa: SIM210  (faster than bool)
        except _FAILURES as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> EvaluationError:
        return EvaluationError(f"{named(self.text)}: {str(error)[:400]}")


def check(text: str) -> Expression:
    """The compiled condition of a rule. Raises `Invalid` like `compile`, and for what cannot be meant (`lints`)."""
    expression = compile(text)
    if expression.lints:
        raise refused(text, "; ".join(expression.lints))
    return expression


@lru_cache(_CACHED)
def compile(text: str) -> Expression:  # noqa: A001  (as re.compile)
    """The expression in `text`. Raises `Invalid`, with the place and the way out, if it is none or passes a limit."""
    if not isinstance(text, str):
        raise Invalid(f"an expression is text, not {type(text).__name__}")
    tree = parse(text)
    return _made(text, tree, whole=True)


def _made(text: str, tree: Node, whole: bool) -> Expression:
    scope = EventScope()
    demands, bounds, rest = split(tree)
    purse = any(node["type"] == "function_expression" and node["value"] in MAKERS for _, node in walk(tree))
    event, meets = (_closure(factory, tree, scope, purse) for factory in (closures.value, closures.test))
    return Expression(
        text=text,
        whole=whole,
        demands=demands,
        bounds=bounds,
        uses=frozenset(FIELDS) if None in scope.read else frozenset(FIELDS).intersection(filter(None, scope.read)),
        lints=lints(text, tree, scope.read) if whole else (),
        _rest=_made(text, rest, whole=False) if rest is not None and (demands or bounds) else None,
        _search=_closure(closures.value, tree, VALUE, purse),
        _test=_closure(closures.test, tree, VALUE, purse),
        _event=event,
        _meets=meets,
    )


def _closure(factory: closures.Factory, tree: Node, scope: Scope, purse: bool) -> Evaluate:
    evaluate = factory(tree, scope)
    return with_purse(evaluate) if purse else evaluate


def reader(path: tuple[str, ...]) -> Evaluate:
    """What gives, of an event, the value that a demand or a bound on `path` is about."""
    return EventScope().path(path)


def check_over(text: str, names: Collection[str]) -> Expression:
    """The compiled expression over objects that have these members and no others.

    Raises `Invalid` like `compile`, and for what cannot be meant, a path that begins with another name among it.
    """
    tree, scope, expression = parse(text), EventScope(), compile(text)
    closures.value(tree, scope)
    if found := lints(text, tree, ()):
        raise refused(text, "; ".join(found))
    if unknown := sorted(name for name in scope.read if name is not None and name not in names):
        first = unknown[0]
        raise refused(
            text, f"there is no {first!r}, only {', '.join(names)}; write body.{first}, or '{first}' for text"
        )
    return expression

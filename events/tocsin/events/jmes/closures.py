"""A tree made into functions: one small factory for each kind of node.

`value` makes the function that gives what the expression is; `test` the one whose result is true in Python exactly when
the expression is true in JMESPath, often in fewer steps.
"""

from collections.abc import Callable
from typing import Any, Final

from tocsin.events.jmes.functions import BEST, BOOLEAN, best_by, function, member_of, reference
from tocsin.events.jmes.scopes import VALUE, Scope
from tocsin.events.jmes.tree import Node, chain, split_path
from tocsin.events.jmes.values import MIRRORED, NUMBERS, ORDERINGS, Evaluate, equal, is_true, ordered

# Any, in this file: JSON of any shape.


def value(node: Node, scope: Scope) -> Evaluate:
    """What the expression is."""
    return _VALUES[node["type"]](node, scope)


def test(node: Node, scope: Scope) -> Evaluate:
    """Something as true in Python as the expression is in JMESPath."""
    return _TESTS.get(node["type"], _test_value)(node, scope)


def _test_value(node: Node, scope: Scope) -> Evaluate:
    given = value(node, scope)

    def check(subject: Any) -> Any:
        found = given(subject)
        return found or type(found) in NUMBERS

    return check


def _test_function(node: Node, scope: Scope) -> Evaluate:
    return _function(node, scope) if node["value"] in BOOLEAN else _test_value(node, scope)


def _field(node: Node, scope: Scope) -> Evaluate:
    return scope.path((node["value"],))


def _current(node: Node, scope: Scope) -> Evaluate:
    return scope.current()


def _literal(node: Node, scope: Scope) -> Evaluate:
    constant = node["value"]
    return lambda _: constant


def _reference(node: Node, scope: Scope) -> Evaluate:
    return reference(value(node["children"][0], VALUE))


# --- steps: each sees what the one before found -----------------------------------------------------------------------


def _steps(first: Evaluate, nodes: list[Node]) -> Evaluate:
    """`first | second | …`"""
    others = [value(node, VALUE) for node in nodes]
    if not others:
        return first
    if len(others) == 1:
        (second,) = others
        return lambda subject: second(first(subject))

    def walk(subject: Any) -> Any:
        subject = first(subject)
        for step in others:
            subject = step(subject)
        return subject

    return walk


def _subexpression(node: Node, scope: Scope) -> Evaluate:
    names, others = split_path(node)
    return _steps(scope.path(names), others) if names else _index_expression(node, scope)


def _index_expression(node: Node, scope: Scope) -> Evaluate:
    first, *others = node["children"]
    return _steps(value(first, scope), others)


def _pipe(node: Node, scope: Scope) -> Evaluate:
    first, *others = chain(node)
    return _steps(value(first, scope), others)


def _index(node: Node, scope: Scope) -> Evaluate:
    place = node["value"]

    def item(subject: Any) -> Any:
        if type(subject) is not list:
            return None
        return subject[place] if -len(subject) <= place < len(subject) else None

    return item


def _slice(node: Node, scope: Scope) -> Evaluate:
    part = slice(*node["children"])
    return lambda subject: subject[part] if type(subject) is list else None


def _flatten(node: Node, scope: Scope) -> Evaluate:
    base = value(node["children"][0], scope)

    def flatten(subject: Any) -> Any:
        items = base(subject)
        if type(items) is not list:
            return None
        flat = []
        for item in items:
            if type(item) is list:
                flat += item
            else:
                flat.append(item)
        return flat

    return flatten


# --- projections: the right side sees each element, null is left out --------------------------------------------------


def _projection(node: Node, scope: Scope) -> Evaluate:
    base, right = value(node["children"][0], scope), value(node["children"][1], VALUE)

    def project(subject: Any) -> Any:
        items = base(subject)
        if type(items) is not list:
            return None
        return [found for item in items if (found := right(item)) is not None]

    return project


def _value_projection(node: Node, scope: Scope) -> Evaluate:
    base, right = value(node["children"][0], scope), value(node["children"][1], VALUE)

    def project(subject: Any) -> Any:
        members = base(subject)
        if type(members) is not dict:
            return None
        return [found for member in members.values() if (found := right(member)) is not None]

    return project


def _filter_projection(node: Node, scope: Scope) -> Evaluate:
    left, right_node, condition = node["children"]
    base, accepts, right = value(left, scope), test(condition, VALUE), value(right_node, VALUE)

    def project(subject: Any) -> Any:
        items = base(subject)
        if type(items) is not list:
            return None
        return [found for item in items if accepts(item) and (found := right(item)) is not None]

    return project


# --- conditions -------------------------------------------------------------------------------------------------------


def _and(node: Node, scope: Scope) -> Evaluate:
    *parts, last = (value(operand, scope) for operand in chain(node))

    def conjunction(subject: Any) -> Any:
        for part in parts:
            if not is_true(found := part(subject)):
                return found
        return last(subject)

    return conjunction


def _or(node: Node, scope: Scope) -> Evaluate:
    *parts, last = (value(operand, scope) for operand in chain(node))

    def alternative(subject: Any) -> Any:
        for part in parts:
            if is_true(found := part(subject)):
                return found
        return last(subject)

    return alternative


def _not(node: Node, scope: Scope) -> Evaluate:
    inner = test(node["children"][0], scope)
    return lambda subject: not inner(subject)


def _test_and(node: Node, scope: Scope) -> Evaluate:
    parts = [test(operand, scope) for operand in chain(node)]
    if len(parts) == 2:
        one, two = parts
        return lambda subject: one(subject) and two(subject)

    def every(subject: Any) -> bool:
        for part in parts:  # noqa: SIM110  (a generator costs more than the parts)
            if not part(subject):
                return False
        return True

    return every


def _test_or(node: Node, scope: Scope) -> Evaluate:
    parts = [test(operand, scope) for operand in chain(node)]
    if len(parts) == 2:
        one, two = parts
        return lambda subject: one(subject) or two(subject)

    def some(subject: Any) -> bool:
        for part in parts:  # noqa: SIM110  (a generator costs more than the parts)
            if part(subject):
                return True
        return False

    return some


def _comparator(node: Node, scope: Scope) -> Evaluate:
    kind: str = node["value"]
    left, right = node["children"]
    if right["type"] == "literal":
        return _against(kind, value(left, scope), right["value"])
    if left["type"] == "literal":
        return _against(MIRRORED.get(kind, kind), value(right, scope), left["value"])
    one, two = value(left, scope), value(right, scope)
    if kind == "eq":
        return lambda subject: equal(one(subject), two(subject))
    if kind == "ne":
        return lambda subject: not equal(one(subject), two(subject))
    compare = ordered(kind)
    return lambda subject: compare(one(subject), two(subject))


def _against(kind: str, given: Evaluate, constant: Any) -> Evaluate:
    """`given kind constant`."""
    if kind in ORDERINGS:
        return _order_against(ORDERINGS[kind], given, constant)
    if type(constant) is str:  # equal to nothing but a text
        if kind == "eq":
            return lambda subject: given(subject) == constant
        return lambda subject: given(subject) != constant
    if kind == "eq":
        return lambda subject: equal(given(subject), constant)
    return lambda subject: not equal(given(subject), constant)


def _order_against(compare: Callable[[Any, Any], bool], given: Evaluate, constant: Any) -> Evaluate:
    kinds = NUMBERS if type(constant) in NUMBERS else frozenset({str}) if type(constant) is str else frozenset()

    def order(subject: Any) -> bool | None:
        found = given(subject)
        return compare(found, constant) if type(found) in kinds else None

    return order


# --- what makes new values --------------------------------------------------------------------------------------------


def _multi_select_list(node: Node, scope: Scope) -> Evaluate:
    parts = [value(child, scope) for child in node["children"]]
    return lambda subject: None if subject is None else [part(subject) for part in parts]


def _multi_select_dict(node: Node, scope: Scope) -> Evaluate:
    parts = [(child["value"], value(child["children"][0], scope)) for child in node["children"]]
    return lambda subject: None if subject is None else {name: part(subject) for name, part in parts}


def _function(node: Node, scope: Scope) -> Evaluate:
    name, arguments = node["value"], node["children"]
    if name == "contains" and len(arguments) == 2 and (listed := constants(arguments[0])) is not None:
        found = member_of(frozenset(listed), value(arguments[1], scope))
        return found if arguments[0]["type"] == "literal" else _unless_null(found, function(name, 2))
    if name in BEST and [argument["type"] == "expref" for argument in arguments] == [False, True]:
        return best_by(name, value(arguments[0], scope), value(arguments[1]["children"][0], VALUE))
    call, given = function(name, len(arguments)), [value(argument, scope) for argument in arguments]
    if len(given) == 1:
        (only,) = given
        return lambda subject: call(only(subject))
    if len(given) == 2:
        one, two = given
        return lambda subject: call(one(subject), two(subject))
    return lambda subject: call(*[part(subject) for part in given])


def _unless_null(found: Evaluate, contains: Callable[[Any, Any], Any]) -> Evaluate:
    """On null `[a, b]` is null and no list, and the function says so."""
    return lambda subject: contains(None, None) if subject is None else found(subject)


def constants(node: Node) -> list[Any] | None:
    """The members of a list of texts, numbers, booleans and nulls that the expression itself spells out, else None."""
    if node["type"] == "literal" and type(node["value"]) is list:
        listed = node["value"]
    elif node["type"] == "multi_select_list" and all(child["type"] == "literal" for child in node["children"]):
        listed = [child["value"] for child in node["children"]]
    else:
        return None
    return None if any(type(item) in (list, dict) for item in listed) else listed


Factory = Callable[[Node, Scope], Evaluate]

_VALUES: Final[dict[str, Factory]] = {
    "and_expression": _and,
    "comparator": _comparator,
    "current": _current,
    "expref": _reference,
    "field": _field,
    "filter_projection": _filter_projection,
    "flatten": _flatten,
    "function_expression": _function,
    "identity": _current,
    "index": _index,
    "index_expression": _index_expression,
    "literal": _literal,
    "multi_select_dict": _multi_select_dict,
    "multi_select_list": _multi_select_list,
    "not_expression": _not,
    "or_expression": _or,
    "pipe": _pipe,
    "projection": _projection,
    "slice": _slice,
    "subexpression": _subexpression,
    "value_projection": _value_projection,
}

_TESTS: Final[dict[str, Factory]] = {
    "and_expression": _test_and,
    "comparator": _comparator,
    "function_expression": _test_function,
    "not_expression": _not,
    "or_expression": _test_or,
}

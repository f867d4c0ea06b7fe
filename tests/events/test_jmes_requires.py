"""What an index may rely on: demands and bounds hold whenever the expression is true, and say when nothing is left."""

import json
from operator import eq, ge, gt, le, lt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.events import jmes
from tocsin.events.jmes import Bound, Demand
from tocsin.events.model import Event

# Any, in this file: JSON of any shape.

OPERATORS = {"<": lt, "<=": le, "==": eq, ">": gt, ">=": ge}


@pytest.mark.parametrize(
    ("text", "demands", "bounds", "whole"),
    [
        pytest.param("a.b == 'x'", [Demand(("a", "b"), ("x",))], [], True, id="an equality"),
        pytest.param("'x' == a.b", [Demand(("a", "b"), ("x",))], [], True, id="an equality the other way round"),
        pytest.param("@.a.b == 'x'", [Demand(("a", "b"), ("x",))], [], True, id="a path from @"),
        pytest.param("\"a-b\".c == 'x'", [Demand(("a-b", "c"), ("x",))], [], True, id="a quoted name"),
        pytest.param("a == 'x' || a == 'y' || a == 'x'", [Demand(("a",), ("x", "y"))], [], True, id="alternatives"),
        pytest.param("a == 'x' || b == 'y'", [], [], False, id="alternatives of two paths demand nothing"),
        pytest.param("a == 'x' || a", [], [], False, id="an alternative that is no equality demands nothing"),
        pytest.param("contains(['x', 'y'], a)", [Demand(("a",), ("x", "y"))], [], True, id="one of a list"),
        pytest.param('contains(`["x"]`, a.b)', [Demand(("a", "b"), ("x",))], [], True, id="one of a JSON list"),
        pytest.param("contains(['x', `1`], a)", [], [], False, id="a list with more than texts"),
        pytest.param("contains(a, 'x')", [], [], False, id="a field that contains a text"),
        pytest.param("a > `5`", [], [Bound(("a",), ">", 5)], True, id="a bound"),
        pytest.param("`5` >= a.b", [], [Bound(("a", "b"), "<=", 5)], True, id="a bound the other way round"),
        pytest.param("a > '5'", [], [], False, id="a text orders, but bounds no number"),
        pytest.param("a > `true`", [], [], False, id="true is no number"),
        pytest.param("a == `5`", [], [Bound(("a",), "==", 5)], True, id="a number to equal"),
        pytest.param("`5` == a", [], [Bound(("a",), "==", 5)], True, id="a number to equal the other way round"),
        pytest.param("a == `true`", [], [], False, id="true is no number to equal"),
        pytest.param(f"a > `{10**400}`", [], [Bound(("a",), ">", 10**400)], True, id="a number that no float holds"),
        pytest.param("a < `1e999`", [], [], False, id="a number without end"),
        pytest.param("a == `5` || a == `6`", [], [], False, id="alternatives of numbers"),
        pytest.param("a != 'x'", [], [], False, id="an inequality"),
        pytest.param("!(a == 'x')", [], [], False, id="a negation"),
        pytest.param(
            "(a == 'x' && b > `1`) && (c == 'y')",
            [Demand(("a",), ("x",)), Demand(("c",), ("y",))],
            [Bound(("b",), ">", 1)],
            True,
            id="a conjunction of them, with brackets",
        ),
        pytest.param("a == 'x' && b", [Demand(("a",), ("x",))], [], False, id="a conjunction with more"),
        pytest.param("a == 'x' && b | c", [], [], False, id="a pipe makes something else of it"),
        pytest.param("a[0].b == 'x'", [], [], False, id="an index is no path"),
    ],
)
def test_what_a_condition_requires(text: str, demands: list[Demand], bounds: list[Bound], whole: bool) -> None:
    found = jmes.compile(text)
    assert (list(found.demands), list(found.bounds), found.rest is None) == (demands, bounds, whole)


def test_the_rest_is_what_is_neither() -> None:
    whole = jmes.compile("a == 'x' && b && c > `1` && d")
    rest = whole.rest
    assert rest is not None
    assert [rest.test({"b": 1, "d": 1}), rest.test({"b": 1}), rest.test({"d": 1})] == [True, False, False]
    assert rest != whole
    assert rest.rest is rest


def test_without_demands_the_rest_is_the_whole() -> None:
    expression = jmes.compile("b && d")
    assert expression.rest is expression


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("event == 'x' && resource.a == 'b'", {"event", "resource"}),
        ("related[?a == 'b']", {"related"}),
        ("length(@) == `7`", {"event", "resource", "id", "occurred", "related", "payload", "follows"}),
        ("*.a", {"event", "resource", "id", "occurred", "related", "payload", "follows"}),
        ("payload.{a: b, c: event}", {"payload"}),
        ("nothing == 'x'", set()),
    ],
)
def test_what_an_expression_uses(text: str, uses: set[str]) -> None:
    assert jmes.compile(text).uses == uses


def test_the_reader_reads_what_a_demand_is_about() -> None:
    event = Event(event="x", resource={"tocsin.resource.id": "r"}, payload={"state": {"type": "FAILED"}})
    assert jmes.reader(("payload", "state", "type"))(event) == "FAILED"
    assert jmes.reader(("resource", "tocsin.resource.id"))(event) == "r"
    assert jmes.reader(("nothing", "there"))(event) is None


def holds(required: Demand | Bound, value: Any) -> bool:
    for name in required.path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(required, Demand):
        return isinstance(value, str) and value in required.values
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and OPERATORS[required.operator](value, required.number)


def truth(expression: jmes.Expression | None, value: Any) -> bool | None:
    """Whether it is true of the value; None when it fails; nothing left to test is true."""
    try:
        return expression is None or expression.test(value)
    except jmes.EvaluationError:
        return None


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-1, 3), st.sampled_from([0.5, 1.0, "", "x", "y", "1"]))
DOCUMENTS = st.dictionaries(
    st.sampled_from("ab"), SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from("ab"), SCALARS)
)
PATHS = st.sampled_from(["a", "b", "a.b", "@.b", "b.a", "a[0]", "*", "@"])
LITERALS = st.one_of(SCALARS.map(lambda value: f"`{json.dumps(value)}`"), st.sampled_from(["'x'", "'y'", "'1'"]))
ATOMS = st.one_of(
    st.builds("{} {} {}".format, PATHS, st.sampled_from(["!=", *OPERATORS]), LITERALS),
    st.builds("{} {} {}".format, LITERALS, st.sampled_from(["!=", *OPERATORS]), PATHS),
    st.builds("contains([{}, {}], {})".format, LITERALS, LITERALS, PATHS),
    PATHS,
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("{} && {}".format, inner, inner),
        st.builds("{} || {}".format, inner, inner),
        st.builds("({})".format, inner),
        st.builds("!({})".format, inner),
        st.builds("{} | {}".format, inner, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=500, deadline=None)
@given(CONDITIONS, DOCUMENTS)
def test_a_condition_is_true_exactly_when_demands_bounds_and_rest_are(text: str, document: Any) -> None:
    expression = jmes.compile(text)
    required: tuple[Demand | Bound, ...] = (*expression.demands, *expression.bounds)
    if all(holds(one, document) for one in required):
        assert truth(expression, document) is truth(expression.rest, document)
    else:
        assert truth(expression, document) is not True

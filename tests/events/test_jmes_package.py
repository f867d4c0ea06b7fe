"""Our answers are those of the official cases, and those of the jmespath package on anything that can be made up."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jmespath
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature
from jmespath.visitor import Options, TreeInterpreter

from tocsin.events import jmes
from tocsin.events.errors import EvaluationError, Invalid
from tocsin.events.model import Event

# Any, in this file: JSON of any shape.

pytestmark = pytest.mark.filterwarnings("ignore:deprecated string literal syntax:PendingDeprecationWarning")

CASES = Path(__file__).parent / "jmespath"
REFUSED = ("deep projection 104",)  # to be parsed only, and deeper than our limit
FAILED = object()


def cases() -> list[Any]:
    """Each as (expression, given, expected); FAILED is expected of errors, the case itself where nothing is told."""
    found = []
    for path in sorted(CASES.glob("*/*.json")):
        for suite in json.loads(path.read_text()):
            for number, case in enumerate(suite["cases"]):
                if case.get("comment") not in REFUSED:
                    expected = FAILED if "error" in case else case.get("result", case)
                    row = (case["expression"], suite["given"], expected)
                    found.append(pytest.param(*row, id=f"{path.stem}-{number}-{case['expression'][:40]}"))
    return found


@pytest.mark.skipif(not CASES.exists(), reason="the official cases are not here")
def test_the_official_cases_are_complete() -> None:
    assert len(cases()) + len(REFUSED) == 917


@pytest.mark.parametrize(("expression", "given", "expected"), cases())
def test_an_official_case(expression: str, given: Any, expected: Any) -> None:
    found = outcome(lambda: jmes.compile(expression).search(given))
    if expected is FAILED:
        assert found is FAILED
    elif isinstance(expected, dict) and expected.get("bench"):
        assert found is not FAILED
    else:
        assert as_text(found) == as_text(expected)


def outcome(evaluate: Callable[[], Any]) -> Any:
    try:
        return evaluate()
    except (EvaluationError, Invalid):
        return FAILED


def as_text(value: Any) -> Any:
    """Text, so that 1, 1.0 and true are told apart; members in their order."""
    return value if value is FAILED else json.dumps(value)


# --- the package, but for the two answers that we give on purpose -----------------------------------------------------


class _Functions(Functions):  # type: ignore[misc]  # the package has no types
    @signature({"types": ["array", "string"]}, {"types": []})  # type: ignore[untyped-decorator]
    def _func_contains(self, subject: Any, search: Any) -> bool:
        return (not isinstance(subject, str) or isinstance(search, str)) and search in subject


class _Interpreter(TreeInterpreter):  # type: ignore[misc]  # the package has no types
    def visit_comparator(self, node: Any, value: Any) -> Any:
        if node["value"] not in ("eq", "ne"):
            left, right = (self.visit(child, value) for child in node["children"])
            if isinstance(left, str) is not isinstance(right, str):
                return None
        return super().visit_comparator(node, value)


def package(text: str, value: Any) -> Any:
    try:
        tree = jmespath.compile(text).parsed
        return _Interpreter(Options(custom_functions=_Functions())).visit(tree, value)
    except (JMESPathError, TypeError, ValueError, ArithmeticError):
        return FAILED


@pytest.mark.parametrize(
    ("text", "value", "ours"),
    [
        ("a < b", {"a": 1, "b": "x"}, None),
        ("a >= `1`", {"a": "x"}, None),
        ("contains(a, b)", {"a": "text 5", "b": 5}, False),
    ],
)
def test_where_the_package_leaks_a_type_error_there_is_an_answer(text: str, value: Any, ours: Any) -> None:
    with pytest.raises(TypeError):
        jmespath.search(text, value)
    assert jmes.compile(text).search(value) is ours
    assert package(text, value) is ours


NAMES = ("a", "b", '"a"', "payload", "id", "occurred", "related", "resource", "event", "follows")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 6),
    st.sampled_from([0.0, 1.0, 1.5, -0.5]),
    st.sampled_from(["", "a", "b", "ab", "5"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", "b", "payload"]), inner, max_size=3)
    ),
    max_leaves=12,
)
ONE_VALUE = [
    "abs",
    "avg",
    "ceil",
    "contains",
    "floor",
    "join",
    "keys",
    "length",
    "max",
    "merge",
    "min",
    "not_null",
    "nothing",
    "reverse",
    "sort",
    "sum",
    "to_array",
    "to_number",
    "to_string",
    "type",
    "values",
]
TWO_VALUES = ("contains", "ends_with", "starts_with", "join", "merge", "not_null", "length")


def literals() -> st.SearchStrategy[str]:
    return st.one_of(
        VALUES.map(lambda value: f"`{json.dumps(value)}`"),
        st.sampled_from(
            ["'a'", "'ab'", "''", "'5'", "`1`", "`0`", "`true`", "`[]`", "['a', 'b']", "[`1`, `true`, 'a']"]
        ),
    )


def fill(form: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda found: form.format(*found))


def bigger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    name, operator = st.sampled_from(NAMES), st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    step = st.sampled_from(["[0]", "[-1]", "[5]", "[1:]", "[::-1]", "[:2]", "[*]", "[]", ".*", "[*].a", "[].b"])
    by = st.sampled_from(["max_by", "min_by", "sort_by"])
    return st.one_of(
        fill("{}.{}", inner, name),
        fill("{}{}", inner, step),
        fill("{}[?{}]", inner, inner),
        fill("{}[?{} == {}].{}", inner, name, inner, name),
        fill("({})", inner),
        fill("!{}", inner),
        fill("!({})", inner),
        fill("{} {} {}", inner, operator, inner),
        fill("{} {} {}", inner, operator, literals()),
        fill("{} {} {}", literals(), operator, inner),
        fill("{} && {}", inner, inner),
        fill("{} || {}", inner, inner),
        fill("{} && {} && {}", inner, inner, inner),
        fill("{} | {}", inner, inner),
        fill("{}.[{}, {}]", inner, inner, inner),
        fill("{{x: {}, a: {}}}", inner, inner),
        fill("{}({})", st.sampled_from(ONE_VALUE), inner),
        fill("{}({}, {})", st.sampled_from(TWO_VALUES), inner, inner),
        fill("contains({}, {})", literals(), inner),
        fill("{}({}, &{})", by, inner, inner),
        fill("map(&{}, {})", inner, inner),
    )


EXPRESSIONS = st.recursive(
    st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), literals(), st.sampled_from(["@", "*", "[*]", "[]"])),
    bigger,
    max_leaves=8,
)
LABELS = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["", "a", "b"]), max_size=2)
EVENTS = st.builds(
    Event,
    event=st.sampled_from(["a", "b"]),
    resource=LABELS,
    id=st.just(UUID(int=5)),
    occurred=st.sampled_from([datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 2, 6, 0, 12, 120000, tzinfo=UTC)]),
    related=st.lists(LABELS, max_size=3),
    payload=st.dictionaries(st.sampled_from(["a", "b", "payload"]), VALUES, max_size=3),
    follows=st.sampled_from([None, UUID(int=7)]),
)
OTHER = {"event": "c", "resource": {"a": "c"}, "id": UUID(int=6), "payload": {"b": 9}, "related": [{"b": "c"}]}
MANY = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compiled(text: str) -> jmes.Expression | None:
    try:
        return jmes.compile(text)
    except Invalid:
        return None


def readable(text: str) -> bool:
    """Whether it is an expression to the package."""
    try:
        jmespath.compile(text)
    except JMESPathError:
        return False
    return True


@MANY
@given(EXPRESSIONS, VALUES)
def test_any_expression_on_any_value_gives_what_the_package_gives(text: str, value: Any) -> None:
    theirs, ours = package(text, value), compiled(text)
    if ours is None:  # one limit or another
        assert not readable(text) or len(text) > 100
        return
    assert as_text(outcome(lambda: ours.search(value))) == as_text(theirs)
    truth = FAILED if theirs is FAILED else theirs not in ("", [], {}, None) and theirs is not False
    assert outcome(lambda: ours.test(value)) is truth


@MANY
@given(EXPRESSIONS, EVENTS)
def test_an_event_gives_what_its_json_gives_and_nothing_else_is_read(text: str, event: Event) -> None:
    ours, document = compiled(text), msgspec.json.decode(msgspec.json.encode(event))
    if ours is not None:
        assert as_text(outcome(lambda: ours.event(event))) == as_text(outcome(lambda: ours.search(document)))
        assert outcome(lambda: ours.meets(event)) == outcome(lambda: ours.test(document))
        unread = {field: value for field, value in OTHER.items() if field not in ours.uses}
        other = msgspec.structs.replace(event, **unread)
        assert outcome(lambda: ours.meets(other)) == outcome(lambda: ours.meets(event))


@MANY
@given(st.text("ab.[]()|&!*@`'\"{}:,?=<>0- \\$", max_size=14))
def test_any_text_is_refused_by_both_or_by_none(text: str) -> None:
    assert (compiled(text) is not None) is readable(text)

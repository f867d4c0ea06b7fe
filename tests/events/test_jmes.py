"""Conditions: what is refused and how it is said, what fails, and that nothing runs away."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest

from tests.speed import takes_less
from tocsin.events import jmes
from tocsin.events.errors import EvaluationError, Invalid
from tocsin.events.jmes.copies import most_copies
from tocsin.events.jmes.syntax import MAX_DEPTH, MAX_NODES, MAX_OPEN, MAX_TEXT, parse
from tocsin.events.model import Event

# Any, in this file: JSON of any shape.

BOMB = "[@,@]|" * 26 + "to_string(@)"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "it is empty", id="nothing"),
        pytest.param("payload.x ==", "character 13: it ends too early", id="no right side"),
        pytest.param("(payload.x", "character 11: it ends too early", id="an open bracket"),
        pytest.param("payload.x = 'a'", "character 11: '=' compares nothing; write ==", id="a single ="),
        pytest.param("payload.x > 5", "character 13: a number stands in backticks; write `5`", id="a bare number"),
        pytest.param("$.payload", "character 1: JMESPath has no $", id="JSONPath"),
        pytest.param("payload.x)", "character 10: ')' is not expected here", id="a bracket too many"),
        pytest.param("payload.x == 'a", "character 14:", id="an open quote"),
        pytest.param(" " * MAX_TEXT + "a", "4,097 characters, at most 4,096", id="too long"),
        pytest.param("(" * 5000, "5,000 characters", id="5,000 brackets"),
        pytest.param("(" * 257 + "a" + ")" * 257, "257 opening symbols, at most 256", id="too many brackets"),
        pytest.param("!" * 4000 + "a", "4000 opening symbols", id="4,000 negations"),
        pytest.param("a" + ".*" * 300, "300 opening symbols", id="300 stars"),
        pytest.param("`" + "[" * 2000 + "]" * 2000 + "`", "deeper than 64 levels", id="a literal 2,000 deep"),
        pytest.param("`" + "[" * 500 + "]" * 500 + "`", "deeper than 64 levels", id="a literal 500 deep"),
        pytest.param("a" + "[*]" * 70, "deeper than 64 levels", id="70 projections"),
        pytest.param("a" + "==a" * 200, "deeper than 64 levels", id="200 comparisons"),
        pytest.param("||".join(["a"] * 600), "more than 512 parts", id="600 alternatives"),
        pytest.param(BOMB, "copy its input over 64 times", id="the doubling bomb"),
        pytest.param("a[*]." + "[@,@].[@,@]." * 4 + "b", "over 64 times", id="doubling in a projection"),
        pytest.param("merge(" + ",".join("@" * 65) + ")", "over 64 times", id="65 merged"),
        pytest.param("a == 'x' && (" + BOMB + ") == 'y'", "over 64 times", id="the bomb as one side"),
        pytest.param("map(&" + "[@,@]|" * 7 + "a, b)", "over 64 times", id="the bomb in a reference"),
        pytest.param("a[*].sum(`[" + ",".join("1" * 100) + "]`)", "over 64 times", id="a long literal an element"),
    ],
)
def test_an_expression_is_refused_at_once_with_place_and_reason(text: str, reason: str) -> None:
    def refuse() -> None:
        with pytest.raises(Invalid) as refused:
            jmes.compile(text)
        assert reason in str(refused.value)
        assert len(str(refused.value)) < 300

    assert takes_less(0.05, refuse)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("(" * MAX_OPEN + "a" + ")" * MAX_OPEN, id="as many brackets"),
        pytest.param("a" + "[*]" * (MAX_DEPTH // 2), id="deep projections"),
        pytest.param("||".join(["a"] * (MAX_NODES // 2)), id="many alternatives are one level"),
        pytest.param("[" + ",".join("@" * 64) + "]", id="64 copies"),
        pytest.param("contains([" + ",".join(["'x'"] * 400) + "], payload.x)", id="a long list looked up"),
        pytest.param(" " * (MAX_TEXT - 1) + "a", id="as long"),
    ],
)
def test_up_to_the_limits_an_expression_is_taken(text: str) -> None:
    assert jmes.compile(text).text == text


@pytest.mark.parametrize(
    ("text", "copies"),
    [
        ("payload.state.type == 'FAILED'", 1),
        ("payload.items[?a == 'b'].c | [0]", 1),
        ("{a: a, b: b}", 2),
        ("[@, @] | [@, @]", 4),
        ("[[@, @], [@, @]]", 4),
        ("merge(@, @) | [@, @, @]", 6),
        ("[@, @] == [@, @, @]", 1),
    ],
)
def test_how_often_an_expression_copies(text: str, copies: int) -> None:
    assert most_copies(parse(text)) == copies


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("!payload.ok", "character 1: `!` binds tighter than the path behind it", id="!a.b"),
        pytest.param("event == 'x' && !payload.ok", "character 17: `!`", id="!a.b behind &&"),
        pytest.param("(!payload).ok", "write `!(a.b)`", id="(!a).b"),
        pytest.param("!payload[?a]", "write `!(a.b)`", id="!a[?b]"),
        pytest.param("!payload.*", "write `!(a.b)`", id="!a.*"),
        pytest.param("!payload[]", "write `!(a.b)`", id="!a[]"),
        pytest.param("!event == 'x'", "write `!(a == b)`", id="!a == 'text'"),
        pytest.param("!payload > event", "write `!(a == b)`", id="!a > b"),
        pytest.param("state == 'x'", "no field 'state', only event,", id="a field that no event has"),
        pytest.param('payload.x == "FAILED"', 'character 14: "FAILED" is the field FAILED;', id="double quotes"),
        pytest.param("payload.x[?ok == true]", "character 18: true is the field of that name", id="bare true"),
        pytest.param("payload.x == `FAILED`", "character 14: in backticks stands JSON;", id="text in backticks"),
        pytest.param("begins_with(event, 'x')", "there is no function begins_with()", id="an unknown function"),
        pytest.param("lenght(payload)", "did you mean length()", id="a misspelt function"),
        pytest.param("contains(event)", "contains() takes 2 arguments, here are 1", id="an argument short"),
        pytest.param("max_by(payload.x, seconds)", "argument 2 of max_by() is an &expression", id="no &"),
        pytest.param("length(&payload)", "argument 1 of length() is a value", id="an & too many"),
        pytest.param("payload.x[::0]", "a slice by steps of 0 is always an error", id="steps of 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:deprecated string literal syntax:PendingDeprecationWarning")
def test_what_cannot_be_meant_is_refused_for_a_rule(text: str, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        jmes.check(text)
    assert reason in str(refused.value)
    assert jmes.compile(text).lints


@pytest.mark.parametrize(
    "text",
    [
        "!(payload.ok)",
        "!contains(event, 'x')",
        "!payload",
        "!payload[0]",
        "!payload == `true`",
        "payload.x[?\"my-name\" == 'x']",
        'resource."tocsin.resource.id" == event',
        '"payload".x == `"x"`',
        "payload.x == `true`",
        "max_by(payload.x, &seconds).name == 'load'",
        "not_null(payload.a, payload.b, payload.c)",
        "@",
    ],
)
def test_what_can_be_meant_is_taken(text: str) -> None:
    assert jmes.check(text) is jmes.compile(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("length(a)", {"a": 5}),
        ("nothing(a)", {"a": 5}),
        ("contains(a)", {"a": "x"}),
        ("a[::0]", {"a": [1]}),
        ("max_by(a, &b)", {"a": [{"b": 1}, {"b": "x"}]}),
        ("max_by(a, &b)", {"a": [{"b": True}]}),
        ("sum(a)", {"a": [1e308, 10**400]}),
        ("contains(['x'], a)", None),
    ],
)
def test_an_expression_that_fails_says_which(text: str, value: Any) -> None:
    expression = jmes.compile(text)
    for evaluate in (expression.search, expression.test):
        with pytest.raises(EvaluationError) as failed:
            evaluate(value)
        assert str(failed.value).startswith(f'expression "{text}": ')


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("join(a, b)", {"a": "x" * 20_000, "b": ["y"] * 20_000}, id="a long text between many"),
        pytest.param("to_string(a)", {"a": ["x" * 600_000] * 2}, id="much as text"),
        pytest.param("a[*].join('', [@, 'x'])", {"a": ["y" * 100] * 20_000}, id="some text for many elements"),
        pytest.param("a[*].reverse('" + "x" * 4_000 + "')", {"a": [1] * 10_000}, id="a constant for many elements"),
    ],
)
def test_no_more_than_a_megabyte_of_text_is_made(text: str, value: Any) -> None:
    expression = jmes.compile(text)
    with pytest.raises(EvaluationError, match="more than 1,000,000 characters"):
        expression.search(value)


def test_every_evaluation_in_every_thread_may_make_a_megabyte() -> None:
    expression = jmes.compile("length(join(a, b)) == `600004`")
    value = {"a": "-", "b": ["x" * 120_000] * 5}
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(expression.test, [value] * 20))


def test_the_same_text_is_compiled_once() -> None:
    assert jmes.compile("payload.once") is jmes.compile("payload." + "once")


def test_an_event_is_seen_as_it_is_written() -> None:
    event = Event(
        event="orders.late",
        resource={"tocsin.resource.id": "order.7"},
        occurred=datetime(2026, 3, 2, 7, 0, tzinfo=timezone(timedelta(hours=1))),
        payload={"lines": [{"sku": "a", "left": 0}]},
        follows=UUID(int=7),
    )
    document = jmes.compile("@").event(event)
    written = msgspec.json.decode(
        msgspec.json.encode(msgspec.structs.replace(event, occurred=event.occurred.astimezone(UTC)))
    )
    assert document == written
    assert document["occurred"] == "2026-03-02T06:00:00Z"
    assert jmes.compile("follows").event(event) == str(event.follows)
    assert jmes.compile("payload.lines[?left == `0`].sku | [0]").event(event) == "a"
    assert jmes.compile("resource.\"tocsin.resource.id\" == 'order.7'").meets(event)
    assert not jmes.compile("payload.lines[?left > `0`]").meets(event)

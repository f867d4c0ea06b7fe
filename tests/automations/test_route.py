"""The index gives what a naive loop over all automations gives, whatever came and went before."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.automations.parts import happened, quiet, rule
from tests.automations.route_parts import DRAFTS, EVENTS, RECEIVED, Draft, naive
from tocsin.automations.model import Automation
from tocsin.automations.route import Index
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event
from tocsin.triggers.steps import RESOLVES

names = st.sampled_from([f"rule-{number}" for number in range(8)])
steps = st.lists(st.tuples(names, st.none() | DRAFTS | DRAFTS), max_size=14)


@given(steps, st.lists(EVENTS, min_size=1, max_size=5))
def test_the_index_equals_the_naive_loop_after_every_change(
    changes: list[tuple[str, Draft | None]], events: list[Event]
) -> None:
    index, book = Index(), dict[str, Automation]()
    for name, draft in changes:
        book.pop(name, None)
        if draft is None:
            index.drop(name)
        else:
            book[name] = draft.named(name)
            index.put(book[name])
        for event in events:
            assert index.route(event, RECEIVED) == naive(book.values(), event)
    assert index.automations == book


@given(steps, st.lists(EVENTS, min_size=1, max_size=5))
def test_what_was_dropped_leaves_nothing_behind(changes: list[tuple[str, Draft | None]], events: list[Event]) -> None:
    index = Index(draft.named(name) for name, draft in changes if draft is not None)
    for name, _ in changes:
        index.drop(name)
    assert not index.automations
    assert index._names.empty
    assert not any(index.route(event) for event in events)


def kind_of_many(kind: str, number: int, chance: random.Random) -> Automation:
    """One of many rules that differ in one thing."""
    few, some = number % 5, number % 40
    many = ["", "1", "11", *map(str, range(100, 140))]
    triggers: dict[str, Callable[[], dict[str, object]]] = {
        "label sets": lambda: {"match": {f"l{label}": str(few % 2) for label in chance.sample(range(12), 3)}},
        "prefixes": lambda: {"match": {"l0": f"{'1' * (number % 30)}*"}},
        "related labels": lambda: {"match_related": [{f"l{label}": "1" for label in chance.sample(range(8), 2)}]},
        "payload paths": lambda: {"where": f"payload.p{some} == '{few}' && payload.p{(some + 1) % 40}"},
        "equal numbers": lambda: {"where": f"payload.n == `{some}`"},
        "thresholds": lambda: {"where": f"payload.n {('<', '<=', '>', '>=')[number % 4]} `{some / 2}`"},
        "bands": lambda: {"where": f"payload.n > `{some}` && payload.n <= `{some + number % 7 / 2}`"},
        "negations": lambda: {"match": {"l0": f"!{'1' * few}"}},
        "long lists": lambda: {"match": {f"l{few}": many, f"l{few + 1}": many}},
        "names": lambda: {"expect": [f"a.{'b' * few}*", f"*{'b' * some}"]},
    }
    return rule(f"rule-{number:03}", trigger={"expect": ["a.*"], **triggers[kind]()})


@pytest.mark.parametrize(
    "kind",
    [
        "label sets",
        "prefixes",
        "related labels",
        "payload paths",
        "equal numbers",
        "thresholds",
        "bands",
        "negations",
        "long lists",
        "names",
    ],
)
def test_many_rules_that_differ_in_one_thing_are_told_apart(kind: str) -> None:
    chance = random.Random(kind)
    automations = [kind_of_many(kind, number, chance) for number in range(120)]
    index, met = Index(automations), 0
    for number in range(60):
        labels = {f"l{label}": "1" * chance.randrange(4) for label in chance.sample(range(12), 6)}
        payload = {f"p{path}": str(chance.randrange(5)) for path in chance.sample(range(40), 20)}
        related = [{RESOURCE_ID: "r", **{f"l{label}": "1" for label in chance.sample(range(8), 4)}} for _ in range(2)]
        event = happened(f"a.{'b' * number}", labels=labels, related=related, payload={"n": number / 2, **payload})
        found = index.route(event, RECEIVED)
        assert found == naive(automations, event)
        met += len(found)
    assert met


def test_signals_are_ordered_by_automation_then_key_with_all_hits() -> None:
    children = [{"expect": ["a*"], "after": ["*b"], "within": 5}, {"expect": ["ab"]}]
    both = rule("both", trigger={"type": "compound", "require": "any", "triggers": children})
    index = Index([quiet("z", "*"), both, quiet("a", "a*", for_each=["x"])])
    found = index.route(happened("ab", labels={"x": "1"}), 5)
    assert [(one.automation, one.key, one.hits, one.received) for one in found] == [
        ("a", ("1",), (0,), 5),
        ("both", (), (0, 1, 2), 5),
        ("z", (), (0,), 5),
    ]


def test_a_trigger_of_many_leaves_hits_the_last_one() -> None:
    inner: dict[str, object] = {"expect": ["b"]}
    for _ in range(3):
        inner = {"type": "compound", "require": "all", "triggers": [*[{"expect": ["a"]}] * 30, inner]}
    index = Index([rule(trigger=inner)])
    assert [one.hits for one in index.route(happened("b"))] == [(180,)]


def test_what_resolves_stands_before_what_fires_under_that_key() -> None:
    over = {"expect": ["a.over"], "for_each": ["y"]}
    index = Index([rule(trigger={"expect": ["a.*"], "for_each": ["x"]}, resolve_on=over)])
    found = [
        (one.key, one.hits)
        for labels in ({"x": "1", "y": "1"}, {"x": "2", "y": "1"})
        for one in index.route(happened("a.over", labels=labels))
    ]
    assert found == [(("1",), (RESOLVES, 0)), (("1",), (RESOLVES,)), (("2",), (0,))]


def test_a_disabled_automation_still_resolves() -> None:
    index = Index([rule(trigger={"expect": ["a"]}, resolve_on={"expect": ["b"]}, enabled=False)])
    assert [one.hits for name in ("a", "b") for one in index.route(happened(name))] == [(RESOLVES,)]


def test_a_star_at_the_end_asks_for_at_least_one_character() -> None:
    index = Index([quiet("rule", "a.*")])
    assert [bool(index.route(happened(name))) for name in ("a", "a.", "a.b")] == [False, False, True]


def test_names_are_remembered_up_to_a_bound() -> None:
    index = Index([quiet("rule", "*7")])
    found = [number for number in range(10_000) if index.route(happened(f"name.{number}"))]
    assert found == [number for number in range(10_000) if str(number).endswith("7")]
    assert len(index._names._plans) <= 4_096


def test_a_remembered_name_hears_of_new_patterns_and_forgets_old_ones() -> None:
    index, event = Index([quiet("exact", "a.b")]), happened("a.b")
    found = [[one.automation for one in index.route(event)]]
    for pattern in ("a.*", "*.b", "*"):
        index.put(quiet(pattern, pattern))
        found.append([one.automation for one in index.route(event)])
    for pattern in ("exact", "a.*", "*.b", "*"):
        index.drop(pattern)
        found.append([one.automation for one in index.route(event)])
    assert found == [
        ["exact"],
        ["a.*", "exact"],
        ["*.b", "a.*", "exact"],
        ["*", "*.b", "a.*", "exact"],
        ["*", "*.b", "a.*"],
        ["*", "*.b"],
        ["*"],
        [],
    ]


def test_one_related_resource_has_to_have_all_labels() -> None:
    index = Index([quiet("rule", "a", match_related={RESOURCE_ID: "r", RESOURCE_ROLE: "flow", "x": "!2"})])
    halves = [{RESOURCE_ID: "r", RESOURCE_ROLE: "task", "x": "1"}, {RESOURCE_ID: "q", RESOURCE_ROLE: "flow", "x": "1"}]
    whole = {RESOURCE_ID: "r", RESOURCE_ROLE: "flow", "x": "1"}
    assert not index.route(happened("a", related=halves))
    assert index.route(happened("a", related=[*halves, whole]))
    assert not index.route(happened("a", related=[{**whole, "x": "2"}]))


# --- conditions that fail ---

FAILS = "length(payload.n) > `1`"


def test_a_condition_that_fails_is_no_match_and_is_counted() -> None:
    index = Index([quiet(name, "a", where=FAILS) for name in ("one", "two")] + [quiet("fine", "a")])
    for payload in ({"n": 5}, {"n": [1, 2]}, {"n": True}):
        assert index.route(happened("a", payload=payload))[0].automation == "fine"
    assert {name: count for name, (count, _) in index.errors.items()} == {"one": 2, "two": 2}
    assert "length" in index.errors["one"][1]


def test_errors_go_with_the_automation_and_their_text_is_bounded() -> None:
    index = Index([quiet("one", "a", where=FAILS), quiet("two", "a", where=f"{FAILS} && '{'x' * 3_000}'")])
    index.route(happened("a", payload={"n": 5}))
    assert len(index.errors["two"][1]) <= 200
    index.put(quiet("one", "a"))
    index.drop("two")
    assert not index.errors


def test_one_related_resource_or_two_are_one_error() -> None:
    flow = {RESOURCE_ID: "tocsin.flow.x", RESOURCE_ROLE: "flow"}
    index = Index([quiet("one", "a", where=FAILS, match_related=flow)])
    assert not index.route(happened("a", related=[flow, flow], payload={"n": 5}))
    assert index.errors["one"][0] == 1


def test_who_joins_later_does_not_inherit_errors() -> None:
    index = Index([quiet("one", "a", where=FAILS)])
    index.route(happened("a", payload={"n": 5}))
    index.put(quiet("two", "a", where=FAILS))
    index.route(happened("a", payload={"n": 5}))
    assert {name: count for name, (count, _) in index.errors.items()} == {"one": 2, "two": 1}


# --- a number compared ---


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        pytest.param("payload.n > `3`", [3.5, 4, 10**400], id="above"),
        pytest.param("payload.n >= `3`", [3, 3.0, 3.5, 4, 10**400], id="above or equal"),
        pytest.param("payload.n < `3`", [-1, 2, 2.5], id="below"),
        pytest.param("payload.n <= `3`", [-1, 2, 2.5, 3, 3.0], id="below or equal"),
        pytest.param("payload.n > `2` && payload.n < `3.5`", [2.5, 3, 3.0], id="between"),
        pytest.param("payload.n > `2.4999` && payload.n < `2.5001`", [2.5], id="a narrow band"),
        pytest.param("payload.n > `3` && payload.n < `3`", [], id="an empty band"),
        pytest.param("payload.n >= `3` && payload.n <= `3`", [3, 3.0], id="a band of one number"),
        pytest.param("payload.n > `0` && payload.n < `3e30`", [2, 2.5, 3, 3.0, 3.5, 4], id="a band of big numbers"),
        pytest.param(f"payload.n > `3.5` && payload.n < `{10**401}`", [4, 10**400], id="a band no float holds"),
        pytest.param("payload.n > `2` && payload.n < `4` && payload.n == `3`", [3, 3.0], id="a number in a band"),
        pytest.param("payload.n > `2` && payload.n > `3` && payload.n < `4`", [3.5], id="two numbers to be above"),
    ],
)
def test_a_bound_is_met_by_numbers_only(condition: str, met: list[float]) -> None:
    index = Index([quiet("rule", "a", where=condition)])
    values = [-1, 2, 2.5, 3, 3.0, 3.5, 4, 10**400, "4", True, None, [4], {"n": 4}]
    assert [value for value in values if index.route(happened("a", payload={"n": value}))] == met
    assert not index.route(happened("a"))

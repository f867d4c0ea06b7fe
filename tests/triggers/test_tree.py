"""A trigger as a tree: numbers of interests, keys, what remembers and what waits, when it is due."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.triggers.drive import SECOND, START, Drive, event
from tocsin.triggers import tree
from tocsin.triggers.kinds import Trigger
from tocsin.triggers.steps import Moment

TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
Fields = dict[str, Any]  # Any: a definition as a document holds it

A, B = {"expect": "a"}, {"expect": "b"}
TWICE = {"expect": "a", "threshold": 2, "within": 5}
AFTER = {"expect": "a", "after": ["b"], "within": 60}
ABSENT = {"expect": "a", "posture": "Proactive", "within": 60}
METRIC = {"metric": {"name": "duration", "operator": ">", "threshold": 60}}


def read(fields: Fields) -> Trigger:
    return TRIGGER.validate_python(fields)


def all_of(*triggers: Fields, **more: Any) -> Fields:
    return {"require": "all", "triggers": list(triggers), **more}


def any_of(*triggers: Fields, **more: Any) -> Fields:
    return {"require": "any", "triggers": list(triggers), **more}


def test_interests_are_numbered_depth_first() -> None:
    trigger = read(all_of(any_of(A, AFTER), {"triggers": [AFTER, METRIC]}, B))
    numbers = [(interest.number, interest.names) for interest in tree.interests(trigger)]
    assert numbers == [
        (0, ("a",)),
        (2, ("a",)),
        (3, ("b",)),
        (4, ("a",)),
        (5, ("b",)),
        (6, ("tocsin.flow-run.*",)),
        (8, ("b",)),
    ]
    assert len(tree.leaves(trigger)) == 5


def test_a_leaf_by_itself_has_the_first_numbers() -> None:
    assert [interest.number for interest in tree.interests(read(AFTER))] == [0, 1]
    assert [interest.number for interest in tree.interests(read(METRIC))] == [0]


X, Y = {"for_each": ["x"]}, {"for_each": ["y"]}
KEYS = [
    pytest.param(A | X, ["x"], ["x"], id="an event's own"),
    pytest.param(METRIC | X, ["x"], ["x"], id="a metric's own"),
    pytest.param(all_of(A, B), [], ["", ""], id="none"),
    pytest.param(all_of(A, B, **X), ["x"], ["x", "x"], id="the compound's"),
    pytest.param(all_of(A | X, B | Y), ["x"], ["x", "y"], id="the children's: those of the first"),
    pytest.param(all_of(A | Y, B, **X), ["x"], ["y", "x"], id="a child's own under the compound's"),
    pytest.param(all_of(any_of(A, B), A, **X), ["x"], ["x", "x", "x"], id="those above the one above"),
    pytest.param(all_of(any_of(A, METRIC, **Y), TWICE, **X), ["x"], ["y", "y", "x"], id="those of the one above"),
    pytest.param(all_of(A | X, B), [], ["", ""], id="none in common, and nothing is remembered"),
    pytest.param(all_of(any_of(A | X, B), A, **Y), ["y"], ["x", "y", "y"], id="none in common, below others"),
]


@pytest.mark.parametrize(("fields", "labels", "of_leaves"), KEYS)
def test_the_labels_of_a_key(fields: Fields, labels: list[str], of_leaves: list[str]) -> None:
    trigger = read(fields)
    assert list(tree.key_labels(trigger)) == labels
    assert [" ".join(interest.labels) for interest in tree.interests(trigger)] == of_leaves


MEMORY = [
    pytest.param(A, True, False, id="an event"),
    pytest.param(TWICE, False, False, id="several events"),
    pytest.param(A | {"cooldown": 5}, False, False, id="a cooldown"),
    pytest.param(AFTER, False, False, id="after another"),
    pytest.param(METRIC, False, False, id="a metric"),
    pytest.param(any_of(A, any_of(A, B)), True, False, id="any of events"),
    pytest.param({"triggers": [A]}, True, False, id="a sequence of one"),
    pytest.param(any_of(A, B, cooldown=5), False, False, id="any, with a cooldown"),
    pytest.param(any_of(A, TWICE), False, False, id="any of several"),
    pytest.param(all_of(A, B), False, False, id="all"),
    pytest.param(ABSENT, False, True, id="an absence"),
    pytest.param(ABSENT | X, False, False, id="an absence of each"),
    pytest.param(ABSENT | {"after": ["b"]}, False, False, id="an absence after another event"),
    pytest.param(all_of(any_of(ABSENT, A), B), False, True, id="an absence inside"),
    pytest.param(all_of(any_of(ABSENT, A), B, **X), False, False, id="an absence inside, of each"),
]


@pytest.mark.parametrize(("fields", "stateless", "starts"), MEMORY)
def test_what_remembers_and_what_waits_from_the_beginning(fields: Fields, stateless: bool, starts: bool) -> None:
    trigger = read(fields)
    assert (tree.stateless(trigger), tree.starts(trigger)) == (stateless, starts)


SAME = [
    pytest.param(all_of(A, B), all_of(A, B, cooldown=5), True, id="another cooldown"),
    pytest.param(all_of(A, B), all_of(B, A), False, id="another order"),
    pytest.param(all_of(A, B), {"triggers": [A, B]}, False, id="another kind"),
    pytest.param(all_of(A, B), all_of(A, B, within=5), False, id="another within"),
    pytest.param(all_of(A, any_of(A, B)), all_of(A, any_of(A, A)), False, id="another event inside"),
    pytest.param(all_of(A, B), all_of(A, B, **X), False, id="another key"),
]


@pytest.mark.parametrize(("one", "other", "same"), SAME)
def test_a_fingerprint_tells_what_is_counted(one: Fields, other: Fields, same: bool) -> None:
    assert (tree.fingerprint(read(one)) == tree.fingerprint(read(other))) is same


def test_the_first_deadline_of_the_children_is_that_of_the_whole() -> None:
    trigger = read(all_of(ABSENT, any_of({**ABSENT, "within": 20}, B), within=300))
    run = Drive(trigger).begin()
    assert tree.due(trigger, run.states[()]) == START + 20 * SECOND
    run.until(20)
    assert tree.due(trigger, run.states[()]) == START + 60 * SECOND


def test_several_children_that_are_due_at_one_instant_are_told_at_once() -> None:
    run = Drive(read(all_of(ABSENT, {**ABSENT, "expect": "b"}, within=5))).begin().until(60)
    ((_, met),) = run.mets
    assert (met.count, met.cause) == (2, f"due:{met.at}/0")


def test_a_tick_that_nothing_waits_for_changes_nothing() -> None:
    trigger = read(all_of(A, TWICE, within=60))
    run = Drive(trigger).tell(event("a", 1, 1))
    step = tree.advance(trigger, run.states[()], Moment(START + 2 * SECOND))
    assert (step.state, step.met, step.verdict.outcome) == (run.states[()], None, "steady")


def test_of_the_state_of_another_kind_nothing_is_known() -> None:
    state = Drive(read(TWICE)).tell(event("a", 1, 1)).states[()]
    trigger = read(all_of(A, B))
    assert tree.due(trigger, state) is None
    step = tree.advance(trigger, state, Moment(START + SECOND, event("a", 1, 1), (0,)))
    assert isinstance(step.state, tree.CompositeState)


def test_each_leaf_keeps_its_own_count() -> None:
    run = Drive(read(all_of(TWICE, {**TWICE, "expect": "b"}, within=60)))
    run.tell_all([event(name, at, at) for at, name in enumerate("abba", start=1)])
    assert run.fired == [4]

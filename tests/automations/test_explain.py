"""Why an automation fired on an event or did not: on record, or decided again."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.automations.parts import START, a_clock, decided, define, happened, log, quiet, rule
from tocsin.automations.explain import Explanation, explain
from tocsin.automations.model import Automation
from tocsin.automations.store import apply, enable
from tocsin.automations.why import reach
from tocsin.events.errors import NotFound
from tocsin.events.model import Event
from tocsin.store.engine import Store
from tocsin.store.log import append

HOUR = timedelta(hours=1)


def why(store: Store, name: str, event: Event) -> Explanation:
    with store.read() as session:
        return explain(session, name, event.id)


async def test_a_firing_is_told_with_its_actions(store: Store) -> None:
    clock = a_clock()
    define(store, rule("late", {"type": "do-nothing"}, trigger={"expect": ["x"], "for_each": ["shop"]}))
    event = happened("x", labels={"shop": "north"})
    await decided(store, clock, event)
    found = why(store, "late", event)
    assert found.answer == "fired, count 1"
    [firing] = found.firings
    assert (firing.labels, [one.action for one in firing.invocations]) == ({"shop": "north"}, ["do-nothing"])
    assert all(check.held for condition in found.conditions for check in condition.checks)


async def test_a_near_miss_is_told_with_its_count_and_key(store: Store) -> None:
    clock = a_clock()
    define(store, quiet("late", "x", for_each=["shop"], threshold=3, within=HOUR))
    first, second = (happened("x", at=at, labels={"shop": "north"}) for at in (0, 1))
    await decided(store, clock, first, second)
    found = why(store, "late", second)
    [evaluation] = found.evaluations
    assert (evaluation.key, evaluation.outcome, evaluation.verdict["count"]) == (["north"], "counted", 2)
    assert found.answer.startswith("did not fire: counted 2 of 3, until ")


async def test_what_came_of_an_event_that_fired_nothing_is_told(store: Store) -> None:
    clock = a_clock()
    trigger = {"posture": "Proactive", "after": ["begun"], "expect": ["done"], "within": 60, "for_each": ["shop"]}
    define(store, rule("silent", {"type": "do-nothing"}, trigger=trigger))
    north, south = (happened("begun", labels={"shop": shop}) for shop in ("north", "south"))
    await decided(store, clock, north, south, happened("done", at=1, labels={"shop": "south"}))
    clock.advance(HOUR)
    await decided(store, clock, happened("other"))
    found = why(store, "silent", north)
    assert found.answer.startswith("did not fire: it begins to wait, until ")
    assert found.followed_by is not None
    assert (found.followed_by.labels, len(found.followed_by.invocations)) == ({"shop": "north"}, 1)
    assert why(store, "silent", south).followed_by is None


async def test_an_event_that_does_not_match_is_told_by_the_conditions_that_failed(store: Store) -> None:
    define(store, quiet("late", "x", match={"shop": ["north", "east"]}, where="payload.n > `3`"))
    event = happened("x", labels={"shop": "south"}, payload={"n": 2})
    await decided(store, a_clock(), event)
    found = why(store, "late", event)
    assert found.answer == (
        "did not fire: no match: match shop: wanted north or east, saw south; where: wanted payload.n > `3`, saw false"
    )
    [condition] = found.conditions
    assert [(one.about, one.held) for one in condition.checks] == [
        ("expect", True), ("match shop", False), ("where", False),
    ]  # fmt: skip
    assert found.notes == ["nothing is kept of it: it did not match"]


AGAIN: list[Any] = [
    pytest.param(quiet("late", "x"), [0], "decided again: fires, 1 event", id="stateless"),
    pytest.param(quiet("late", "x", threshold=3, within=HOUR), [0, 1], "decided again: counted 2 of 3", id="counted"),
    pytest.param(
        quiet("late", "x", threshold=2, within=HOUR), [0, 1], "decided again: fires, 2 events", id="the second"
    ),
    pytest.param(quiet("late", "x", cooldown=HOUR), [0, 60], "decided again: silent after a firing", id="cooldown"),
]


@pytest.mark.parametrize(("automation", "at", "answer"), AGAIN)
def test_what_nothing_is_kept_of_is_decided_again(
    store: Store, automation: Automation, at: list[int], answer: str
) -> None:
    define(store, automation)
    events = [happened("x", at=second) for second in at]
    with store.begin() as session:
        for event in events:
            append(session, [event], now=event.occurred)
    found = why(store, "late", events[-1])
    assert found.answer.startswith(answer)
    assert found.notes[0] == "no event was ever evaluated here; is a processor running?"
    assert found.notes[1].startswith("nothing is kept of it; it was decided again by today's definition, on the ")


def test_one_that_is_off_or_was_changed_since_says_so(store: Store) -> None:
    event = happened("x")
    with store.begin() as session:
        append(session, [event], now=START)
        apply(session, [quiet("late", "x")], START + HOUR)
        enable(session, "late", False, START + 2 * HOUR)
    found = why(store, "late", event)
    assert found.answer == "did not fire: it is switched off"
    assert found.notes[:3] == [
        "it is switched off",
        "no event was ever evaluated here; is a processor running?",
        "it was changed since, at 2026-03-02 11:00:00Z; the conditions are those of today",
    ]


async def test_an_event_that_the_processor_has_not_reached_says_so(store: Store) -> None:
    define(store, quiet("late", "x"))
    await decided(store, a_clock(), happened("y"))
    event = happened("x")
    log(store, event)
    assert "the processor has not come to it yet" in why(store, "late", event).notes


def test_each_part_of_a_composite_is_told(store: Store) -> None:
    trigger = {"triggers": [{"expect": ["a"]}, {"require": "any", "triggers": [{"expect": ["x"]}, {"expect": ["c"]}]}]}
    define(store, Automation.model_validate({"name": "both", "trigger": trigger, "resolve_on": {"expect": ["over"]}}))
    event = happened("x")
    log(store, event)
    found = why(store, "both", event)
    assert [(one.trigger, one.matched) for one in found.conditions] == [
        ("trigger.triggers.0", False),
        ("trigger.triggers.1.triggers.0", True),
        ("trigger.triggers.1.triggers.1", False),
        ("resolve_on", False),
    ]


def test_what_is_not_there_is_said(store: Store) -> None:
    define(store, quiet("late", "x"))
    with store.read() as session, pytest.raises(NotFound, match='unknown automation "lat"; known: late'):
        explain(session, "lat", UUID(int=1))
    with store.read() as session, pytest.raises(NotFound, match="no event in the log has the id"):
        explain(session, "late", UUID(int=1))


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        ({"expect": ["x"]}, timedelta(0)),
        ({"expect": ["x"], "threshold": 2, "within": 60, "grace": 5, "cooldown": 600}, timedelta(seconds=665)),
        (
            {"metric": {"name": "duration", "operator": ">", "threshold": 1, "range": 60, "firing_for": 30}},
            timedelta(seconds=90),
        ),
        ({"triggers": [{"expect": ["a"], "cooldown": 7}, {"expect": ["b"]}], "within": 60}, timedelta(seconds=67)),
        ({"triggers": [{"expect": ["a"]}, {"expect": ["b"]}]}, timedelta(days=1)),
    ],
)  # fmt: skip
def test_how_far_back_is_looked(trigger: dict[str, Any], expected: timedelta) -> None:
    assert reach(Automation.model_validate({"name": "x", "trigger": trigger}).trigger) == expected

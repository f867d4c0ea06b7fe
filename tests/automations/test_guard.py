"""The loop guard: who may not act on what, and when an automation fires too often."""

from functools import partial
from uuid import UUID

import pytest

from tests.automations.firings import firing, planned_one
from tests.automations.parts import happened, rule
from tocsin.automations.guard import MAX_DEPTH, over_rate, refusal, unheard
from tocsin.automations.lifecycle import fired, outcome
from tocsin.automations.model import Automation
from tocsin.automations.plan import plan
from tocsin.events.chain import Cause
from tocsin.events.model import Event


def behind(*path: str, depth: int | None = None) -> Event:
    """An event with these automations behind it."""
    return happened("x", labels=Cause(depth=len(path) if depth is None else depth, path=path).labels)


REFUSED = [
    pytest.param(behind(), None, id="an outside cause"),
    pytest.param(behind("b", "c"), None, id="others stand behind it"),
    pytest.param(behind("a"), "a → a", id="its own doing"),
    pytest.param(behind("x", "a", "b"), "a → b → a", id="its own doing by another"),
    pytest.param(behind(*"bcdefghi"), "a chain of 8", id="at the end of the longest chain"),
    pytest.param(behind(depth=MAX_DEPTH), "a chain of 8", id="deep, whoever it was"),
    pytest.param(None, None, id="a deadline of which nothing is known"),
]


@pytest.mark.parametrize(("event", "reason"), REFUSED)
def test_a_loop_is_refused(event: Event | None, reason: str | None) -> None:
    found = refusal("a", event)
    assert found is None if reason is None else reason in str(found)


UNHEARD = [
    pytest.param(behind(), False, id="an outside event"),
    pytest.param(behind("a"), False, id="its own doing is heard, and refused"),
    pytest.param(behind("a", "a"), True, id="its refusal it does not hear"),
    pytest.param(behind("a", "b", "a"), True, id="nor that of a longer loop"),
    pytest.param(behind("b", "b"), False, id="the refusal of another is heard"),
    pytest.param(behind(depth=MAX_DEPTH + 1), True, id="a refusal at the cap nobody hears"),
]


@pytest.mark.parametrize(("event", "silent"), UNHEARD)
def test_a_refusal_fires_nothing_again(event: Event, silent: bool) -> None:
    assert unheard(event, "a") is silent


RATES = [
    pytest.param(10, 10, False, id="as often as allowed"),
    pytest.param(11, 10, True, id="once more"),
    pytest.param(10**9, None, False, id="no limit"),
]


@pytest.mark.parametrize(("count", "limit", "over"), RATES)
def test_an_automation_that_fires_too_often_is_told_the_way_back(count: int, limit: int | None, over: bool) -> None:
    reason = over_rate(count, "a", limit)
    assert (reason is not None) is over
    assert reason is None or "tocsin automation enable a" in reason


def test_an_end_is_told_even_by_what_the_automation_has_caused_itself() -> None:
    automation = rule(
        "a", resolve_on={"expect": ["x"]}, actions_on_resolve=[{"type": "do-nothing"}, {"type": "retry-flow-run"}]
    )
    [first, _] = plan(automation, firing(behind("a"), automation="a", over=True, opened=UUID(int=1)))
    assert first.refused is None


def chain_of(automations: list[Automation], event: Event) -> list[Event]:
    """The events that follow when each automation fires on the outcome of the one before."""
    events = [event]
    for automation in automations:
        invocation = planned_one(automation, events[-1])
        ended = partial(outcome, invocation, "failed" if invocation.refused else "executed")
        events.append(ended(event.occurred, {"reason": invocation.refused}))
    return events


def test_each_automation_adds_its_name_until_one_comes_again() -> None:
    a, b = rule("a", {"type": "do-nothing"}), rule("b", {"type": "do-nothing"})
    *_, last = events = chain_of([a, b, a], happened("x"))
    assert [event.chain for event in events] == [(), ("a",), ("a", "b"), ("a", "b", "a")]
    assert [event.depth for event in events] == [0, 1, 2, 3]
    assert (last.event, last.payload["reason"].count("a → b → a")) == ("tocsin.automation.action.failed", 1)


def test_a_chain_without_a_loop_ends_too() -> None:
    many = [rule(f"rule {number}", {"type": "do-nothing"}) for number in range(MAX_DEPTH + 1)]
    verbs = [event.event.rpartition(".")[2] for event in chain_of(many, happened("x"))[1:]]
    assert verbs == ["executed"] * MAX_DEPTH + ["failed"]


def test_the_witness_of_a_deadline_stands_in_its_chain() -> None:
    automation, seen = rule("a", {"type": "do-nothing"}), behind("a")
    invocation = planned_one(automation, None, witness=seen)
    assert "a → a" in str(invocation.refused)
    assert fired(firing(None, automation="a", witness=seen)).chain == ("a", "a")


def test_a_path_that_none_of_ours_has_reads_as_no_path() -> None:
    assert happened("x", labels={"tocsin.chain.path": "a/" * 10_000}).chain == ()
    assert happened("x", labels={"tocsin.chain.path": ""}).chain == ()

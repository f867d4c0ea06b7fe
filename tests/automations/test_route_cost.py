"""An event is compared to few rules, however many there are: counted, not timed."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.automations.parts import happened, rule
from tocsin.automations.buckets import Asks, Bucket, Held
from tocsin.automations.pivots import Finds
from tocsin.automations.route import Index
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event

RULES = 300
FEW = 30


def compared(index: Index, event: Event) -> int:
    """How many tables are looked into for `event`, plus how many rules or conditions are come upon there."""
    tables = [table for shelf in index._names.plan(event.event) for table in _finds(shelf.finds(event), event)]
    held = [one for found in tables for one in found if one is not None]
    asks = [one.asks for one in held if isinstance(one, Bucket) and one.asks is not None]
    return len(tables) + len(held) + sum(_asked(one, event) for one in asks)


def _finds(finds: Finds, event: Event) -> list[Sequence[Held | None]]:
    return [*[(find(event),) for find in finds.one], *[find(event) for find in finds.several]]


def _asked(asks: Asks, event: Event) -> int:
    """The conditions that are left to ask, and the numbers that are reached."""
    reached = [bucket for ladder in asks.ladders.values() for bucket in ladder.reached(event)]
    return len(asks.groups) + sum(1 if one.asks is None else _asked(one.asks, event) for one in reached)


def related(number: int) -> dict[str, str]:
    return {RESOURCE_ID: f"flow.{number}", RESOURCE_ROLE: "flow"}


def labelled(number: int) -> dict[str, object]:
    return {"labels": {f"l{number}": "1", "env": "prod"}}


def sized(size: float) -> dict[str, object]:
    return {"payload": {"n": size}}


SETS = [
    pytest.param(lambda n: {"match": {"x": f"v{n}"}}, lambda n: {"labels": {"x": f"v{n}"}}, id="a label"),
    pytest.param(lambda n: {"match": {"x": f"v{n}.*"}}, lambda n: {"labels": {"x": f"v{n}.1"}}, id="a prefix"),
    pytest.param(
        lambda n: {"match": {"x": f"{'x' * (n % 60)}{n}.*"}},
        lambda n: {"labels": {"x": f"{'x' * (n % 60)}{n}.1"}},
        id="a prefix of any length",
    ),
    pytest.param(
        lambda n: {"match": {"x": [f"v{n}.{part}" for part in range(5)]}},
        lambda n: {"labels": {"x": f"v{n}.3"}},
        id="a list of texts",
    ),
    pytest.param(lambda n: {"match": {f"l{n}": "1", "env": "prod"}}, labelled, id="the labels asked for"),
    pytest.param(lambda n: {"match_related": related(n)}, lambda n: {"related": [related(n)] * 2}, id="a related one"),
    pytest.param(lambda n: {"where": f"payload.x == 't{n}'"}, lambda n: {"payload": {"x": f"t{n}"}}, id="an equality"),
    pytest.param(
        lambda n: {"where": f"payload.x == 't{n}' || payload.x == 'u{n}'"},
        lambda n: {"payload": {"x": f"u{n}"}},
        id="an or of equalities",
    ),
    pytest.param(
        lambda n: {"where": f"payload.x{n} == 't'"}, lambda n: {"payload": {f"x{n}": "t"}}, id="the path of an equality"
    ),
    pytest.param(lambda n: {"where": f"payload.n == `{n}`"}, sized, id="a number to equal"),
    pytest.param(lambda n: {"where": f"payload.n > `{n}`"}, lambda n: sized(0.5), id="a number to be above"),
    pytest.param(lambda n: {"where": f"payload.n <= `{n}`"}, lambda n: sized(RULES - 1), id="a number to be below"),
    pytest.param(
        lambda n: {"where": f"payload.n > `{n}` && payload.n <= `{n + 1}`"}, lambda n: sized(n + 0.5), id="a band"
    ),
    pytest.param(lambda n: {"where": "payload.n || payload.m"}, lambda n: sized(0), id="nothing but the automation"),
    pytest.param(lambda n: {"expect": [f"a{n}.*"]}, lambda n: {"name": f"a{n}.b"}, id="the name pattern"),
]


@pytest.mark.parametrize(("trigger", "event"), SETS)
def test_an_event_is_compared_to_few_of_the_rules_that_differ_in(
    trigger: Callable[[int], dict[str, object]],
    event: Callable[[int], dict[str, Any]],  # Any: parts of an event
) -> None:
    index = Index(rule(f"rule-{number}", trigger={"expect": ["a"], **trigger(number)}) for number in range(RULES))
    for number in (0, 7, RULES - 1):
        one = happened(**{"name": "a", **event(number)})
        assert index.route(one)
        assert compared(index, one) <= FEW


def test_the_count_sees_what_cannot_be_looked_up() -> None:
    index = Index(
        rule(f"rule-{number}", trigger={"expect": ["a"], "match": {"x": f"!{number}"}}) for number in range(50)
    )
    assert compared(index, happened("a", labels={"x": "1"})) >= 50

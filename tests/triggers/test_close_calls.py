"""What counts where it is close: each row of the table in docs/triggers.md."""

from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from tests.triggers.drive import Drive, event
from tocsin.events.model import Event
from tocsin.triggers.kinds import Trigger

Told = tuple[Event, float]
"""An event, and when it comes."""

TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
AFTER = {"after": ["a"], "expect": ["x"], "within": 10}
TWICE = {"expect": ["x"], "threshold": 2, "within": 10}
ALL = {"type": "compound", "within": 10, "triggers": [{"expect": ["x"]}, {"expect": ["y"]}]}
IN_ORDER = {**ALL, "type": "sequence"}
SWITCH = {"posture": "Proactive", "expect": ["x"], "within": 10}
KEYED = {**SWITCH, "for_each": ["tocsin.resource.id"]}


def told(fields: dict[str, Any], *events: Told, until: float = 100) -> Drive:
    run = Drive(TRIGGER.validate_python(fields)).begin()
    for one, received in events:
        run.tell(one, received)
    return run.until(until)


def causes(run: Drive) -> list[tuple[int, ...]]:
    """Of each firing the numbers of the events of its children."""
    return [tuple(part.event.int for part in met.children if part.event) for _, met in run.mets]


@pytest.mark.parametrize(("opens", "expected", "fired"), [(1, 2, [1]), (2, 1, [])])
def test_an_expected_event_at_the_instant_of_the_one_before_counts_by_its_id(
    opens: int, expected: int, fired: list[float]
) -> None:
    both = [(event("a", 1, opens), 1.0), (event("x", 1, expected), 1.0)]
    assert [told(AFTER, *order).fired for order in permutations(both)] == [fired, fired]
    short = [told({**AFTER, "posture": "Proactive"}, *order).fired for order in permutations(both)]
    assert short == ([[], []] if fired else [[11], [11]])


@pytest.mark.parametrize("at", [0.5, 1])
@pytest.mark.parametrize(("opens", "expected"), [(1, 2), (2, 1)])
def test_what_follows_the_event_that_it_comes_after_is_behind_it_whatever_their_ids(
    opens: int, expected: int, at: float
) -> None:
    both = [(event("a", 1, opens), 1.0), (event("x", at, expected, follows=UUID(int=opens)), 1.0)]
    assert [len(told(AFTER, *order).fired) for order in permutations(both)] == [1, 1]
    assert [told({**AFTER, "posture": "Proactive"}, *order).fired for order in permutations(both)] == [[], []]


def test_events_that_follow_each_other_in_a_ring_end() -> None:
    ring = [(event("a", 1, 1, follows=UUID(int=2)), 1.0), (event("x", 1, 2, follows=UUID(int=1)), 1.0)]
    for order in permutations(ring):
        told({**AFTER, "posture": "Proactive"}, *order)


def test_in_a_tumbling_window_they_count_as_they_come() -> None:
    both = [(event("a", 1, 2), 1.0), (event("x", 1, 1), 1.0)]
    assert [told({**AFTER, "window": "tumbling"}, *order).fired for order in permutations(both)] == [[1], []]


def test_of_two_firings_at_one_instant_that_of_the_greater_id_is_the_latest() -> None:
    for order in permutations([(event("x", 1, 5), 1.0), (event("x", 1, 3), 1.0)]):
        assert causes(told(ALL, *order, (event("y", 2, 9), 2))) == [(5, 9)]


def test_steps_at_one_instant_are_in_order() -> None:
    for order in permutations([(event("x", 1, 2), 1.0), (event("y", 1, 1), 1.0)]):
        assert causes(told(IN_ORDER, *order)) == [(2, 1)]


def test_an_event_that_meets_two_of_any_is_one_firing_with_two_children() -> None:
    both = {"type": "compound", "require": "any", "triggers": [{"expect": ["x"]}, {"expect": ["*"]}]}
    assert causes(told(both, (event("x", 0, 1), 0))) == [(1, 1)]


ENDS = [
    pytest.param(TWICE, [(event("x", 0, 1), 0), (event("x", 10, 2), 10)], [], id="within after the first: outside"),
    pytest.param(TWICE, [(event("x", 0, 1), 0), (event("x", 9.999999, 2), 10)], [9.999999], id="right before: inside"),
    pytest.param(AFTER, [(event("a", 0, 1), 0), (event("x", 10, 2), 10)], [], id="within after the opener: outside"),
    pytest.param(
        {**AFTER, "posture": "Proactive"}, [(event("a", 0, 1), 0), (event("x", 10, 2), 10)], [10], id="so for absence"
    ),
    pytest.param(KEYED, [(event("x", 0, 1), 0), (event("x", 10, 2), 10)], [20], id="within after a beat: in time"),
    pytest.param(
        KEYED, [(event("x", 0, 1), 0), (event("x", 10.000001, 2), 10.000001)], [10, 20.000001], id="later: silence"
    ),
    pytest.param(SWITCH, [(event("x", 10, 1), 10)], [10, 20], id="within after it began: too late"),
]


@pytest.mark.parametrize(("fields", "events", "fired"), ENDS)
def test_the_end_of_a_window(fields: dict[str, Any], events: list[Told], fired: list[float]) -> None:
    assert told(fields, *events).fired == fired


@pytest.mark.parametrize(
    ("fields", "events"),
    [
        pytest.param(TWICE, [(event("x", 5, 1), 5), (event("x", 1, 2), 6)], id="a count"),
        pytest.param(
            {**AFTER, "threshold": 2}, [(event("a", 0, 3), 0), (event("x", 5, 1), 5), (event("x", 1, 2), 6)], id="after"
        ),
        pytest.param(ALL, [(event("x", 5, 1), 5), (event("y", 1, 2), 6)], id="a compound"),
    ],
)
def test_a_firing_that_a_late_event_completes_is_at_the_latest_of_its_events(
    fields: dict[str, Any], events: list[Told]
) -> None:
    run = told(fields, *events)
    [(_, met)] = run.mets
    assert (run.fired, met.event and met.event.id.int, met.late) == ([5], 2, True)


LIVES = [
    pytest.param(TWICE, [event("x", 0, 1), event("x", 1, 2)], 30, id="reactive"),
    pytest.param({**TWICE, "grace": 2}, [event("x", 0, 1), event("x", 1, 2)], 22, id="reactive, with grace"),
    pytest.param(AFTER, [event("a", 0, 1), event("x", 1, 2)], 30, id="after"),
    pytest.param(ALL, [event("x", 0, 1), event("y", 1, 2)], 20, id="compound"),
]


@pytest.mark.parametrize(("fields", "events", "life"), LIVES)
def test_a_key_is_remembered_by_the_clock(fields: dict[str, Any], events: list[Event], life: float) -> None:
    first, second = events
    assert len(told(fields, (first, 0), (second, life), until=1_000).fired) == 1
    assert told(fields, (first, 0), (second, life + 1), until=1_000).fired == []


LEFT = [
    pytest.param({"expect": ["x"], "cooldown": 10}, 20, id="cooldown"),
    pytest.param({**AFTER, "after": ["x"], "expect": ["y"], "posture": "Proactive", "for_each": []}, 30, id="absence"),
    pytest.param(KEYED, 30, id="a dead man's switch of a key"),
    pytest.param(SWITCH, None, id="one that waits from the beginning"),
    pytest.param({**TWICE, "window": "tumbling"}, 70, id="a bucket"),
    pytest.param({**KEYED, "after": ["x"], "expect": ["y"], "window": "tumbling"}, 70, id="an absence by buckets"),
    pytest.param({**ALL, "cooldown": 30}, 60, id="a compound, cooldown"),
    pytest.param({**ALL, "within": None}, None, id="a compound without within"),
]


@pytest.mark.parametrize(("fields", "forgotten"), LEFT)
def test_what_is_not_needed_any_more_is_forgotten(fields: dict[str, Any], forgotten: float | None) -> None:
    if forgotten is None:
        assert told(fields, (event("x", 0, 1), 0), until=1_000_000).states
        return
    assert told(fields, (event("x", 0, 1), 0), until=forgotten - 0.001).states
    assert not told(fields, (event("x", 0, 1), 0), until=forgotten).states


def test_a_compound_without_within_remembers_for_a_day_that_it_has_fired() -> None:
    both = (event("x", 0, 1), 0.0), (event("y", 0, 2), 0.0)
    assert told({**ALL, "within": None}, *both, until=86_399).states
    assert not told({**ALL, "within": None}, *both, until=86_400).states

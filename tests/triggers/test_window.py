"""The sliding window against its definition."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.steps import Firing
from tocsin.triggers.window import REMEMBERED, Signal, Window, advance

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def an_event(name: str = "a.b", number: int = 0, at: float = 0) -> Event:
    resource = {"tocsin.resource.id": "tocsin.flow-run.1", "region": "eu"}
    return Event(id=UUID(int=number), event=name, occurred=START + timedelta(seconds=at), resource=resource)


Arrivals = list[tuple[int, float]]

WINDOWS = [
    pytest.param([(1, 0), (2, 2), (3, 9.9)], [3], id="third match inside"),
    pytest.param([(1, 0), (2, 2), (3, 10)], [], id="the end is outside"),
    pytest.param([(1, 0), (2, 2), (3, 11), (4, 11.5)], [4], id="the window slides"),
    pytest.param([(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5)], [3, 6], id="after a firing the count starts again"),
    pytest.param([(1, 0), (1, 0), (1, 0)], [], id="a repeated event counts once"),
    pytest.param([(1, 0), (2, 1), (3, 2), (3, 2), (2, 1), (1, 0)], [3], id="a fired one does not count again"),
    pytest.param([(3, 9), (1, 0), (2, 5)], [2], id="a late event counts in event time"),
    pytest.param([(9, 100), (1, 0), (2, 1), (3, 2)], [], id="later than two windows counts no more"),
    pytest.param([(1, 0), (9, 12), (2, 3), (3, 4)], [3], id="late beside a newer one"),
]


@pytest.mark.parametrize(("arrivals", "causes"), WINDOWS)
def test_three_within_ten_seconds(arrivals: Arrivals, causes: list[int]) -> None:
    assert fired(COUNTING, arrivals) == causes


def test_with_threshold_one_every_event_fires_and_nothing_is_kept() -> None:
    step = advance(EventTrigger(expect=("a",)), Window(), Signal("rule", (), an_event()))
    again = advance(EventTrigger(expect=("a",)), step.state, Signal("rule", (), an_event()))
    assert step.state == Window()
    assert step.firing is not None
    assert again.firing is not None
    assert step.firing.id == again.firing.id


def test_a_firing_carries_its_cause_and_its_labels() -> None:
    trigger = EventTrigger(expect=("a.b",), for_each=("region",))
    firing = advance(trigger, Window(), Signal("rule", ("eu",), an_event(at=7))).firing
    assert isinstance(firing, Firing)
    assert (firing.at, firing.labels, firing.count, firing.state) == (
        START + timedelta(seconds=7),
        {"region": "eu"},
        1,
        "Triggered",
    )


COUNTING = EventTrigger(expect=("a.b",), threshold=3, within=timedelta(seconds=10))

triggers = st.builds(
    lambda threshold, within: EventTrigger(expect=("a",), threshold=threshold, within=timedelta(seconds=within)),
    st.integers(2, 4),
    st.integers(1, 12),
)
# The time of an event is a function of its id: the same id is the same event.
arrivals_lists = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=40).map(
    lambda pairs: [(number, dict(pairs)[number]) for number, _ in pairs]
)


@given(triggers, arrivals_lists)
def test_the_window_equals_its_definition(trigger: EventTrigger, arrivals: Arrivals) -> None:
    assert fired(trigger, arrivals) == defined(trigger, arrivals)


@given(triggers, arrivals_lists)
def test_a_trip_through_json_changes_nothing(trigger: EventTrigger, arrivals: Arrivals) -> None:
    assert fired(trigger, arrivals, through_json=True) == fired(trigger, arrivals)


@given(triggers, arrivals_lists, st.data())
def test_repeated_delivery_changes_nothing(trigger: EventTrigger, arrivals: Arrivals, data: st.DataObject) -> None:
    repeated: Arrivals = []
    for arrival in arrivals:
        repeated.append(arrival)
        repeated.extend(data.draw(st.lists(st.sampled_from(repeated), max_size=3)))
    assert fired(trigger, repeated) == fired(trigger, arrivals)


@given(triggers, arrivals_lists)
def test_the_state_is_bounded(trigger: EventTrigger, arrivals: Arrivals) -> None:
    window = Window()
    for number, at in arrivals:
        window = advance(trigger, window, Signal("rule", (), an_event(number=number, at=at))).state
        assert len(window.waiting) <= 3 * trigger.threshold
        assert len(window.fired) <= REMEMBERED


def fired(trigger: EventTrigger, arrivals: Arrivals, through_json: bool = False) -> list[int]:
    """The numbers of the events that made the trigger fire."""
    window, causes = Window(), []
    for number, at in arrivals:
        step = advance(trigger, window, Signal("rule", (), an_event(number=number, at=at)))
        window = Window.from_json(json.loads(json.dumps(step.state.to_json()))) if through_json else step.state
        if step.firing is not None:
            assert step.firing.event is not None
            causes.append(step.firing.event.id.int)
    return causes


def defined(trigger: EventTrigger, arrivals: Arrivals) -> list[int]:
    """The same by the words of the definition: any window [start, start + within) that holds enough."""
    within, newest = trigger.within.total_seconds(), float("-inf")
    known: set[int] = set()
    counted: list[tuple[int, float]] = []
    causes = []
    for number, at in arrivals:
        newest = max(newest, at)
        if number in known or at <= newest - 2 * within:
            continue
        known.add(number)
        counted.append((number, at))
        living = [(one, when) for one, when in counted if when > newest - 2 * within]
        windows = [[one for one, when in living if start <= when < start + within] for _, start in living]
        if any(number in window and len(window) >= trigger.threshold for window in windows):
            causes.append(number)
            counted = []
    return causes

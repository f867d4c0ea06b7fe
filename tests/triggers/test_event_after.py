"""Reactive triggers that wait for events after others, against their definition."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.triggers.drive import SECOND, START, Drive, event
from tocsin.triggers import event_step
from tocsin.triggers.after import AfterState
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.steps import Moment

Told = tuple[str, float] | tuple[str, float, float]
"""An event's name, when it happened, and when it came if that was later."""


def opening(threshold: int = 1, within: float = 10, **more: Any) -> EventTrigger:
    """Expects x (and b) after a (and b)."""
    fields = {"after": ["a", "b"], "expect": ["b", "x"], "threshold": threshold, "within": within}
    return EventTrigger.model_validate(fields | more)


def driven(trigger: EventTrigger, told: Iterable[Told]) -> Drive:
    drive = Drive(trigger)
    for number, (name, at, *received) in enumerate(told):
        drive.tell(event(name, at, number), received[0] if received else at)
    return drive


def causes(trigger: EventTrigger, told: Iterable[Told]) -> list[int]:
    """The places of the events that made it fire."""
    return [UUID(met.cause).int for _, met in driven(trigger, told).mets]


WINDOWS = [
    pytest.param({}, [("a", 0), ("x", 0.1)], [1], id="one after the other"),
    pytest.param({}, [("a", 0), ("x", 9.999999)], [1], id="in time"),
    pytest.param({}, [("a", 0), ("x", 10)], [], id="the end is outside"),
    pytest.param({}, [("x", 0), ("a", 1)], [], id="the wrong way round"),
    pytest.param({}, [("x", 1), ("a", 0, 2)], [1], id="the right way round, told the wrong way round"),
    pytest.param({}, [("x", 1), ("a", 0, 12), ("x", 3, 12)], [1], id="told late by no more than within"),
    pytest.param({}, [("x", 12), ("a", 1, 13)], [], id="told later than grace"),
    pytest.param({"grace": 60}, [("x", 12), ("x", 4, 13), ("a", 3, 14)], [2], id="told late, in a longer grace"),
    pytest.param({}, [("a", 0), ("x", 1), ("x", 2)], [1], id="the window is gone"),
    pytest.param({}, [("a", 0), ("a", 5), ("x", 12)], [], id="a second one does not extend it"),
    pytest.param({}, [("a", 0), ("a", 5), ("x", 6), ("x", 7)], [2], id="nor open a second one"),
    pytest.param({}, [("a", 0), ("a", 11), ("x", 12)], [2], id="over, the next one opens"),
    pytest.param({"threshold": 2}, [("a", 0), ("x", 1), ("x", 2), ("x", 3)], [2], id="two of them"),
    pytest.param({"threshold": 2}, [("a", 0), ("x", 1), ("a", 11), ("x", 12)], [], id="a window over counts anew"),
    pytest.param({}, [("b", 0), ("b", 1), ("b", 2), ("b", 3)], [1, 3], id="in both: every second one"),
    pytest.param({"threshold": 2}, [("b", at) for at in range(7)], [2, 5], id="in both: every third one"),
    pytest.param({}, [("b", 0)], [], id="in both: it does not satisfy itself"),
    pytest.param(
        {"cooldown": 60}, [("a", 0), ("x", 1), ("a", 2), ("x", 3), ("a", 61), ("x", 62)], [1, 5], id="cooldown"
    ),
]


@pytest.mark.parametrize(("fields", "told", "expected"), WINDOWS)
def test_ten_seconds_after_an_event(fields: dict[str, Any], told: list[Told], expected: list[int]) -> None:
    assert causes(opening(**fields), told) == expected


def test_what_follows_an_event_is_not_before_it() -> None:
    first, then = event("a", 5, 1), event("x", 4, 2, follows=UUID(int=1))
    for events in ((first, then), (then, first)):
        drive = Drive(opening())
        for one in events:
            drive.tell(one, received=5)
        assert drive.fired == [5]


def test_a_firing_is_dated_by_its_last_match_and_caused_by_the_last_to_come() -> None:
    ((_, met),) = driven(opening(2), [("a", 0), ("x", 4), ("x", 3, 5)]).mets
    assert (met.at, met.cause, met.count, met.late) == (START + 4 * SECOND, str(UUID(int=2)), 2, True)


def test_a_verdict_tells_the_numbers() -> None:
    told: list[Told] = [("x", 0), ("a", 1), ("a", 2), ("x", 3), ("x", 3.5), ("x", 12), ("x", 1, 12)]
    shown = [
        (one.outcome, one.count, one.until and (one.until - START) / SECOND)
        for one in driven(opening(2), told).verdicts
    ]
    assert shown == [
        ("unopened", 0, 10),
        ("opened", 0, 11),
        ("held", 0, 11),
        ("counted", 1, 11),
        ("fired", 2, None),
        ("unopened", 0, 22),
        ("late", None, 2),
    ]


def test_what_no_event_can_complete_any_more_is_forgotten() -> None:
    drive = driven(opening(), [("a", 0)])
    assert drive.until(29.999).states
    assert not drive.until(30).states
    assert drive.verdicts[-1].outcome == "lapsed"


def test_a_flood_leaves_a_small_state() -> None:
    trigger, state = opening(3, 60), None
    for number in range(3_000):
        name = "axx"[number % 3] if number % 600 < 300 else "x"
        hits = {"a": (1,), "x": (0,)}[name]
        now = START + number * 10_000
        step = event_step.advance(trigger, state, Moment(now, event(name, number / 100, number), hits))
        assert isinstance(step.state, AfterState)
        state = step.state
    assert len(msgspec.json.encode(state)) < 40_000


# Against the definition, in whole seconds: a, b (which is both) and x at any time of a minute.

triggers = st.builds(opening, st.integers(1, 3), st.integers(1, 15))
events_of_a_minute = st.lists(st.tuples(st.sampled_from("abx"), st.integers(1, 60)), max_size=14)


def defined(trigger: EventTrigger, events: Sequence[tuple[str, float]]) -> list[int]:
    """By the words of the definition: which events complete a window, all told in order."""
    rest = sorted((at, number, name) for number, (name, at) in enumerate(events))
    found, within = [], trigger.within.total_seconds()
    while openers := [one for one in rest if one[2] in "ab"]:
        opener = openers[0]
        inside = [one for one in rest if one > opener and one[0] < opener[0] + within and one[2] in "bx"]
        if len(inside) >= trigger.threshold:
            found.append(inside[trigger.threshold - 1][1])
            rest = [one for one in rest if one > inside[trigger.threshold - 1]]
        else:
            rest = [one for one in rest if one[0] >= opener[0] + within]
    return found


@given(triggers, events_of_a_minute)
def test_in_order_the_windows_are_those_of_the_definition(trigger: EventTrigger, events: list[tuple[str, int]]) -> None:
    drive = Drive(trigger)
    for at, number, name in sorted((at, number, name) for number, (name, at) in enumerate(events)):
        drive.tell(event(name, at, number))
    assert [UUID(met.cause).int for _, met in drive.mets] == defined(trigger, events)


@given(triggers, events_of_a_minute, st.data())
def test_out_of_order_it_fires_when_the_definition_finds_more_windows(
    trigger: EventTrigger, events: list[tuple[str, int]], data: st.DataObject
) -> None:
    patient = trigger.model_copy(update={"grace": timedelta(seconds=60)})
    drive = Drive(patient)
    arrivals = data.draw(st.permutations(list(enumerate(events))))
    most, expected = 0, []
    for place, (number, (name, at)) in enumerate(arrivals):
        drive.tell(event(name, at, number), received=60)
        known: list[tuple[str, float]] = [("-", 0.0)] * len(events)
        for one, (other, when) in arrivals[: place + 1]:
            known[one] = (other, when)
        if len(defined(trigger, known)) > most:
            most = len(defined(trigger, known))
            expected.append(number)
    assert [UUID(met.cause).int for _, met in drive.mets] == expected


@given(triggers, events_of_a_minute, st.data())
def test_repeated_delivery_changes_nothing(
    trigger: EventTrigger, events: list[tuple[str, int]], data: st.DataObject
) -> None:
    patient = trigger.model_copy(update={"grace": timedelta(seconds=60)})
    once, again = Drive(patient), Drive(patient)
    sent: list[tuple[int, tuple[str, int]]] = []
    for arrival in enumerate(events):
        sent.append(arrival)
        once.tell(event(arrival[1][0], arrival[1][1], arrival[0]), received=60)
        for number, (name, at) in [arrival, *data.draw(st.lists(st.sampled_from(sent), max_size=2))]:
            again.tell(event(name, at, number), received=60)
    assert again.mets == once.mets

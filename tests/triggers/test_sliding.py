"""The sliding window of a reactive trigger, against its definition."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.triggers.drive import SECOND, START, Drive, event
from tocsin.triggers import event_step, sliding
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.sliding import REMEMBERED, SlidingState
from tocsin.triggers.steps import Met, Moment, Verdict, instant

HITS = (0,)


class Arrival(NamedTuple):
    """An event: its number (the id), when it happened, and the number of the event that it follows."""

    number: int
    at: float
    follows: int | None = None


Arrivals = Sequence[tuple[int, float] | Arrival]


def counting(threshold: int = 3, within: float = 10, **more: Any) -> EventTrigger:
    return EventTrigger.model_validate({"expect": "a.b", "threshold": threshold, "within": within, **more})


def told(trigger: EventTrigger, arrivals: Arrivals, through_json: bool = False) -> tuple[list[Met], list[Verdict]]:
    """What the trigger is met with and says, each event coming as soon as it can after the one before."""
    state: SlidingState | None = None
    mets, verdicts, now = [], [], START
    for arrival in (Arrival(*one) for one in arrivals):
        leader = None if arrival.follows is None else UUID(int=arrival.follows)
        one = event("a.b", arrival.at, arrival.number, follows=leader)
        now = max(now, START + int(arrival.at * SECOND))
        step = sliding.advance(trigger, state, Moment(now, one, HITS))
        state = step.state
        if through_json and state is not None:
            state = msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(state))), event_step.EventState)
        verdicts.append(step.verdict)
        if step.met is not None:
            mets.append(step.met)
    return mets, verdicts


def causes(trigger: EventTrigger, arrivals: Arrivals, through_json: bool = False) -> list[int]:
    """The numbers of the events that made the trigger fire."""
    return [UUID(met.cause).int for met in told(trigger, arrivals, through_json)[0]]


WINDOWS = [
    pytest.param([(1, 0), (2, 2), (3, 9.999999)], [3], id="third match inside"),
    pytest.param([(1, 0), (2, 2), (3, 10)], [], id="the end is outside"),
    pytest.param([(1, 0), (2, 2), (3, 11), (4, 11.5)], [4], id="the window slides"),
    pytest.param([(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5)], [3, 6], id="after a firing the count starts again"),
    pytest.param([(1, 0), (1, 0), (1, 0)], [], id="a repeated event counts once"),
    pytest.param([(1, 0), (2, 1), (3, 2), (3, 2), (2, 1), (1, 0)], [3], id="a fired one does not count again"),
    pytest.param([(3, 9), (1, 0), (2, 5)], [2], id="what comes late counts in event time"),
    pytest.param([(9, 100), (1, 0), (2, 1), (3, 2)], [], id="what comes later than grace counts no more"),
    pytest.param([(9, 10), (1, 0), (2, 1)], [], id="late by grace, no window holds all"),
    pytest.param([(9, 9.5), (1, 0), (2, 1)], [2], id="late by less than grace, one window holds all"),
    pytest.param([(1, 0), (9, 12), (2, 3), (3, 4)], [3], id="late beside a newer one"),
    pytest.param([(1, 0), (9, 12), (2, 3), (3, 4), (8, 13), (7, 14)], [3, 7], id="the newer one is still to be used"),
]


@pytest.mark.parametrize(("arrivals", "expected"), WINDOWS)
def test_three_within_ten_seconds(arrivals: Arrivals, expected: list[int]) -> None:
    assert causes(counting(), arrivals) == expected


GRACES = [
    pytest.param({"grace": 0}, [(1, 5), (2, 4.9), (3, 5), (4, 6)], ["counted", "late", "counted", "fired"], id="none"),
    pytest.param({"grace": 2}, [(1, 5), (2, 3), (3, 2.9)], ["counted", "counted", "late"], id="its end is inside"),
    pytest.param({"grace": 60}, [(1, 60), (2, 0), (3, 1), (4, 2)], ["counted"] * 3 + ["fired"], id="beyond within"),
    pytest.param({}, [(1, 15), (2, 5), (3, 4.9)], ["counted", "counted", "late"], id="left out: within"),
]


@pytest.mark.parametrize(("fields", "arrivals", "expected"), GRACES)
def test_grace_is_how_late_an_event_may_come(fields: dict[str, Any], arrivals: Arrivals, expected: list[str]) -> None:
    assert [one.outcome for one in told(counting(**fields), arrivals)[1]] == expected


COOLDOWNS = [
    pytest.param(1, [(1, 0), (2, 59.999999), (3, 60)], [1, 3], id="its end is outside"),
    pytest.param(1, [(1, 100), (2, 99), (3, 101), (4, 158.5)], [1, 2], id="before the firing nothing is silent"),
    pytest.param(1, [(1, 100), (2, 70), (3, 135), (4, 160)], [1, 2, 4], id="a late one silences only from itself on"),
    pytest.param(3, [(1, 0), (2, 1), (3, 2), (4, 3), (5, 61), (6, 62), (7, 63), (8, 64)], [3, 8], id="with a count"),
    pytest.param(1, [(1, 0), (1, 0), (2, 60), (1, 0)], [1, 2], id="a repeat does not fire again"),
]


@pytest.mark.parametrize(("threshold", "arrivals", "expected"), COOLDOWNS)
def test_a_cooldown_of_a_minute(threshold: int, arrivals: Arrivals, expected: list[int]) -> None:
    assert causes(counting(threshold, 10 if threshold > 1 else 0, cooldown=60), arrivals) == expected


FOLLOWERS = [
    pytest.param([Arrival(1, 0), Arrival(2, 12), Arrival(3, 5, follows=2), Arrival(4, 21)], [4], id="leader first"),
    pytest.param([Arrival(1, 0), Arrival(3, 5, follows=2), Arrival(2, 12), Arrival(4, 21)], [4], id="follower first"),
    pytest.param([Arrival(4, 0, follows=3), Arrival(3, 11, follows=2), Arrival(2, 22)], [2], id="a chain, last first"),
    pytest.param([Arrival(1, 0), Arrival(3, 5, follows=2), Arrival(4, 9)], [4], id="a leader that never comes"),
    pytest.param([Arrival(1, 0), Arrival(2, 1), Arrival(3, 5, follows=2)], [3], id="later than its leader anyway"),
]


@pytest.mark.parametrize(("arrivals", "expected"), FOLLOWERS)
def test_an_event_is_not_before_the_one_it_follows(arrivals: list[Arrival], expected: list[int]) -> None:
    assert causes(counting(), arrivals) == expected


def test_with_threshold_one_every_event_fires_and_nothing_is_kept() -> None:
    moment = Moment(START, event("a.b", 0, 1), HITS)
    first, again = (sliding.advance(counting(1, 60), None, moment) for _ in range(2))
    assert first.state is None
    assert first.met is not None
    assert first.met == again.met


def test_a_firing_is_dated_by_the_latest_match_and_caused_by_the_last_to_come() -> None:
    (met,) = told(counting(), [(1, 0), (3, 9), (2, 5)])[0]
    assert (instant(met.at), met.count, met.late) == (instant(START) + timedelta(seconds=9), 3, True)
    assert met.event is not None
    assert met.cause == str(met.event.id) == str(UUID(int=2))


def test_a_verdict_tells_the_numbers_that_were_seen() -> None:
    verdicts = told(counting(), [(1, 0), (2, 4), (2, 4), (3, 12), (4, 1)])[1]
    assert [(one.outcome, one.count, one.until and (one.until - START) / SECOND) for one in verdicts] == [
        ("counted", 1, 10),
        ("counted", 2, 10),
        ("repeated", 2, None),
        ("counted", 2, 14),
        ("late", 3, 2),
    ]


def test_an_event_of_the_future_does_not_make_the_present_late() -> None:
    state = sliding.advance(counting(), None, Moment(START, event("a.b", 9_000, 9), HITS)).state
    for number, outcome in ((1, "counted"), (2, "counted"), (3, "fired")):
        step = sliding.advance(counting(), state, Moment(START + number, event("a.b", 0, number), HITS))
        state = step.state
        assert step.verdict.outcome == outcome


def test_what_nothing_can_count_with_is_forgotten() -> None:
    drive = Drive(counting(grace=5)).tell(event("a.b", 0, 1)).tell(event("a.b", 2, 2))
    assert drive.until(26.999).states
    assert not drive.until(27).states
    assert drive.verdicts[-1] == Verdict("lapsed", 2, 3)


def test_a_cooldown_is_not_forgotten_before_its_end() -> None:
    drive = Drive(counting(1, 0, cooldown=3600)).tell(event("a.b", 0, 1)).until(3599).tell(event("a.b", 3599, 2))
    assert drive.fired == [0]
    assert drive.verdicts[-1].outcome == "cooldown"


def test_no_more_is_remembered_than_the_cap() -> None:
    trigger = counting(2, 1, grace=86_400)
    state: SlidingState | None = None
    for number in range(2 * REMEMBERED):
        state = sliding.advance(trigger, state, Moment(START, event("a.b", 2 * number, number), HITS)).state
    assert state is not None
    assert len(state.waiting) == REMEMBERED


triggers = st.builds(counting, st.integers(2, 4), st.integers(1, 12))
ordered = st.lists(st.integers(0, 60), max_size=40).map(lambda times: list(enumerate(sorted(times))))
# The time of an event is a function of its id: the same id is the same event.
jumbled = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=40).map(
    lambda pairs: [(number, dict(pairs)[number]) for number, _ in pairs]
)


@given(triggers, ordered)
def test_in_order_it_fires_at_each_match_that_completes_a_window(trigger: EventTrigger, arrivals: Arrivals) -> None:
    expected, since = [], 0
    for place, (number, at, *_) in enumerate(arrivals):
        last = [one[1] for one in arrivals[since : place + 1]][-trigger.threshold :]
        if len(last) == trigger.threshold and at - last[0] < trigger.within.total_seconds():
            expected.append(number)
            since = place + 1
    assert causes(trigger, arrivals) == expected


@given(triggers, jumbled)
def test_out_of_order_no_full_window_of_unused_matches_is_left(trigger: EventTrigger, arrivals: Arrivals) -> None:
    patient = trigger.model_copy(update={"grace": timedelta(seconds=60)})
    times = {number: at for number, at, *_ in arrivals}
    mets, used = told(patient, arrivals)[0], unused(patient, arrivals)
    windows = [[at for at in used if start <= at < start + trigger.within.total_seconds()] for start in used]
    assert all(len(window) < trigger.threshold for window in windows)
    assert len(used) + trigger.threshold * len(mets) == len(times)
    ordered_times = sorted(times.items(), key=lambda one: one[1])
    assert bool(mets) == bool(causes(trigger, ordered_times))


@given(triggers, jumbled, st.data())
def test_repeated_delivery_changes_nothing(trigger: EventTrigger, arrivals: Arrivals, data: st.DataObject) -> None:
    repeated: list[tuple[int, float] | Arrival] = []
    for arrival in arrivals:
        repeated.append(arrival)
        repeated.extend(data.draw(st.lists(st.sampled_from(repeated), max_size=3)))
    assert causes(trigger, repeated) == causes(trigger, arrivals)


@given(triggers, jumbled)
def test_a_trip_through_json_changes_nothing(trigger: EventTrigger, arrivals: Arrivals) -> None:
    assert causes(trigger, arrivals, through_json=True) == causes(trigger, arrivals)


def unused(trigger: EventTrigger, arrivals: Arrivals) -> list[float]:
    """When the matches happened that still wait."""
    state: SlidingState | None = None
    for number, at, *_ in arrivals:
        state = sliding.advance(trigger, state, Moment(START + 60 * SECOND, event("a.b", at, number), HITS)).state
    return [] if state is None else [(match.at - START) / SECOND for match in state.waiting]

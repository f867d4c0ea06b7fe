"""From signals to firings and back: episodes, their end, late and repeated events."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.automations.parts import happened, rule
from tocsin.automations.episode import KEPT, NOTHING, REMEMBERED, Moved, State, move, settled
from tocsin.automations.evaluate import decide, wake
from tocsin.automations.model import Automation
from tocsin.automations.route import Index
from tocsin.events.clock import micros
from tocsin.events.model import Event
from tocsin.triggers.steps import Firing, Moment, Signal

RULE = rule(trigger={"expect": ["bad"]}, resolve_on={"expect": ["good"]})
COUNTING = rule(trigger={"expect": ["bad"], "threshold": 2, "within": 10}, resolve_on={"expect": ["good"]})

Happening = tuple[str, int, float]


def routed(automation: Automation, event: Event) -> list[Signal]:
    return Index([automation]).route(event, micros(event.occurred))


def told_of(automation: Automation, state: State, signal: Signal) -> Moved:
    return move(automation, signal.key, state, Moment(signal.received, signal.event, signal.hits))


def played(automation: Automation, happenings: list[Happening], through_json: bool = False) -> list[str]:
    """What comes of it: `T3` fired by event 3, `R5` resolved by event 5, with the episode's opening event."""
    state, told = NOTHING, []
    opened: dict[Any, int] = {}
    for name, number, at in happenings:
        for signal in routed(automation, happened(name, number=number, at=at)):
            moved = told_of(automation, state, signal)
            state = moved.state
            if through_json:
                state = State.from_json(json.loads(json.dumps(state.to_json())))
            if moved.firing is not None:
                told.append(shown(moved.firing, opened))
    return told


def shown(firing: Firing, opened: dict[Any, int]) -> str:
    assert firing.event is not None
    number = firing.event.id.int
    opened.setdefault(firing.episode, number)
    return f"{firing.state[0]}{number} of {opened[firing.episode]}"


TALES = [
    pytest.param([("bad", 1, 0)], ["T1 of 1"], id="it fires"),
    pytest.param([("good", 1, 0)], [], id="nothing to resolve"),
    pytest.param([("bad", 1, 0), ("good", 2, 1)], ["T1 of 1", "R2 of 1"], id="it fires and is over"),
    pytest.param(
        [("bad", 1, 0), ("good", 2, 5), ("bad", 3, 3), ("good", 2, 5)],
        ["T1 of 1", "R2 of 1", "T3 of 3"],
        id="what has ended one episode, repeated, ends no other",
    ),
    pytest.param([("bad", 1, 0), ("good", 2, 1), ("good", 3, 2)], ["T1 of 1", "R2 of 1"], id="it is over once"),
    pytest.param(
        [("bad", 1, 0), ("bad", 2, 1), ("good", 3, 2), ("bad", 4, 3)],
        ["T1 of 1", "T2 of 1", "R3 of 1", "T4 of 4"],
        id="firing again while open belongs to the episode",
    ),
    pytest.param([("bad", 1, 5), ("good", 2, 4)], ["T1 of 1"], id="what went well before does not end it"),
    pytest.param([("good", 1, 5), ("bad", 2, 4)], ["T2 of 2"], id="what is received before it ends nothing"),
    pytest.param([("bad", 1, 5), ("good", 2, 5)], ["T1 of 1", "R2 of 1"], id="at the same moment, it ends it"),
    pytest.param(
        [("bad", 1, 0), ("good", 2, 1), ("bad", 1, 0), ("good", 2, 1)],
        ["T1 of 1", "R2 of 1"],
        id="repeated events open nothing",
    ),
]


@pytest.mark.parametrize(("happenings", "told"), TALES)
def test_an_episode(happenings: list[Happening], told: list[str]) -> None:
    assert played(RULE, happenings) == told


def test_an_event_that_is_both_ends_what_is_open_and_begins_what_is_not() -> None:
    both = rule(trigger={"expect": ["bad", "change"]}, resolve_on={"expect": ["change", "good"]})
    tale = [("change", 1, 0.0), ("change", 2, 1.0), ("bad", 3, 2.0), ("change", 4, 3.0)]
    assert played(both, tale) == ["T1 of 1", "R2 of 1", "T3 of 3", "R4 of 3"]


def test_a_repeated_event_that_is_both_neither_ends_what_it_began_nor_begins_what_it_ended() -> None:
    both = rule(trigger={"expect": ["bad", "change"]}, resolve_on={"expect": ["change"]})
    assert played(both, [("change", 1, 0.0), ("change", 1, 0.0)]) == ["T1 of 1"]
    assert played(both, [("bad", 1, 0.0), ("change", 2, 1.0), ("change", 2, 1.0)]) == ["T1 of 1", "R2 of 1"]


def test_without_resolve_on_every_firing_stands_alone() -> None:
    alone = rule(trigger={"expect": ["bad"]})
    assert played(alone, [("bad", 1, 0), ("bad", 2, 1)]) == ["T1 of 1", "T2 of 2"]


def test_another_trigger_under_the_same_name_starts_to_count_anew_and_keeps_what_is_open() -> None:
    first = [("bad", 1, 0.0), ("bad", 2, 1.0), ("bad", 3, 2.0)]
    state = NOTHING
    for name, number, at in first:
        for signal in routed(COUNTING, happened(name, number=number, at=at)):
            state = told_of(COUNTING, state, signal).state
    assert state.open is not None
    other = rule(trigger={"expect": ["bad"], "threshold": 2, "within": 20}, resolve_on={"expect": ["good"]})
    [signal] = routed(other, happened("bad", number=4, at=3))
    moved = told_of(other, state, signal)
    assert moved.firing is None  # event 3 was counted for the other definition
    [signal] = routed(other, happened("good", number=5, at=4))
    assert told_of(other, moved.state, signal).firing is not None


happenings = st.lists(st.tuples(st.sampled_from(["bad", "good"]), st.integers(1, 12), st.just(0.0)), max_size=30).map(
    lambda drawn: [({n: name for name, n, _ in drawn}[n], n, float(n)) for _, n, _ in drawn]
)


@given(st.sampled_from([RULE, COUNTING]), happenings)
def test_a_trip_through_json_changes_nothing(automation: Automation, drawn: list[Happening]) -> None:
    assert played(automation, drawn, through_json=True) == played(automation, drawn)


@given(st.sampled_from([RULE, COUNTING]), happenings)
def test_no_event_fires_or_resolves_twice_and_ends_match_beginnings(
    automation: Automation, drawn: list[Happening]
) -> None:
    told = played(automation, drawn)
    assert len(told) == len(set(told))
    open_episode = ""
    for line in told:
        kind, episode = line[0], line.split(" of ")[1]
        assert open_episode in ("", episode)
        open_episode = "" if kind == "R" else episode


@given(st.lists(happenings, max_size=3))
def test_the_state_is_bounded(drawn: list[list[Happening]]) -> None:
    state = NOTHING
    for name, number, at in [one for part in drawn for one in part]:
        for signal in routed(RULE, happened(name, number=number, at=at)):
            state = told_of(RULE, state, signal).state
    assert len(state.past) <= REMEMBERED


def test_each_key_has_its_own_episode_and_events_of_a_batch_see_each_other() -> None:
    automation = rule(trigger={"expect": ["bad"], "for_each": ["o"]}, resolve_on={"expect": ["good"]})

    def about(name: str, order: str, number: int) -> Event:
        return happened(name, labels={"o": order}, number=number, at=number)

    batch = [about("bad", "1", 1), about("bad", "2", 2), about("good", "1", 3), about("bad", "1", 4)]
    index = Index([automation])
    decided = decide(index.automations, {}, [signal for event in batch for signal in index.route(event)])
    assert [(firing.state, firing.key) for firing in decided.firings] == [
        ("Triggered", ("1",)),
        ("Triggered", ("2",)),
        ("Resolved", ("1",)),
        ("Triggered", ("1",)),
    ]
    assert decided.firings[0].labels == {"o": "1"}
    assert set(decided.states) == {("rule", ("1",)), ("rule", ("2",))}


def opened(automation: Automation) -> State:
    [signal] = routed(automation, happened("bad"))
    return told_of(automation, NOTHING, signal).state


TELLING = {"type": "send-notification", "notifier": "phone"}


def test_whoever_counts_nothing_knows_what_it_has_fired_although_the_time_passes() -> None:
    """Else a batch in which something else is due would let a repeated event fire and resolve once more."""
    state = NOTHING
    for name, number, at in [("bad", 1, 0), ("good", 2, 1)]:
        for signal in routed(RULE, happened(name, number=number, at=at)):
            state = told_of(RULE, state, signal).state
    assert state != NOTHING
    assert state.ended is not None
    assert wake({RULE.name: RULE}, {(RULE.name, ("",)): state}, state.ended + KEPT - 1).states == {}


EDITS = [
    pytest.param({}, True, id="nothing that matters"),
    pytest.param({"actions": [TELLING, {**TELLING, "notifier": "more"}]}, True, id="more are told"),
    pytest.param({"enabled": False}, True, id="switched off"),
    pytest.param({"resolve_on": None}, False, id="nothing resolves it any more"),
    pytest.param({"actions": []}, False, id="who was told is told no more"),
    pytest.param({"actions": [], "actions_on_resolve": [TELLING]}, True, id="who was told hears of the end"),
    pytest.param({"trigger": {"expect": ["bad"], "for_each": ["o"]}}, False, id="another key"),
]


@pytest.mark.parametrize(("edit", "goes_on"), EDITS)
def test_an_episode_goes_on_while_it_can_be_ended_for_all_who_were_told(edit: dict[str, Any], goes_on: bool) -> None:
    first = {"trigger": {"expect": ["bad"]}, "resolve_on": {"expect": ["good"]}, "actions": [TELLING]}
    state = opened(Automation.model_validate({"name": "rule", **first}))
    assert state.open is not None
    edited = Automation.model_validate({"name": "rule", **first, **edit})
    assert (settled(edited, state).open is not None) == goes_on
    assert settled(None, state) == NOTHING


@given(st.lists(st.integers(1, 9), max_size=5))
def test_what_remembers_nothing_fires_at_once_as_it_would_on_the_long_way(numbers: list[int]) -> None:
    automation = rule(trigger={"expect": ["bad"], "for_each": ["o"]})
    events = [happened("bad", number=number, at=number, labels={"o": str(number % 3)}) for number in numbers]
    index = Index([automation])
    quick = [signal for event in events for signal in index.route(event, 7)]
    assert all(signal.fires == ("o",) for signal in quick)
    plain = [msgspec.structs.replace(signal, fires=None) for signal in quick]
    short, shorter = (decide(index.automations, {}, signals).firings for signals in (plain, quick))
    long = [told_of(automation, NOTHING, signal).firing for signal in plain]
    assert short == shorter == long
    assert [one.id for one in short] == [one.id for one in long if one is not None]

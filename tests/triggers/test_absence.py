"""Proactive triggers: what is expected after an event and does not come, and what falls silent; against definitions."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.triggers.drive import SECOND, START, Drive, event
from tocsin.events.model import Event
from tocsin.triggers import event_step
from tocsin.triggers.absence import AbsenceState
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.silence import SilenceState
from tocsin.triggers.steps import Moment
from tocsin.triggers.witness import witness

Told = tuple[str, float] | tuple[str, float, float]
"""An event's name, when it happened, and when it came if that was later."""


def waiting(threshold: int = 1, within: float = 10, after: Sequence[str] = ("a",), **more: Any) -> EventTrigger:
    """Expects x (and b) after a (and b)."""
    fields = {"posture": "Proactive", "after": after, "expect": ["x"], "threshold": threshold, "within": within}
    return EventTrigger.model_validate(fields | more)


def silent(threshold: int = 1, within: float = 10, **more: Any) -> EventTrigger:
    fields = {"posture": "Proactive", "expect": ["x"], "for_each": ["tocsin.resource.id"], "threshold": threshold}
    return EventTrigger.model_validate(fields | {"within": within} | more)


def driven(trigger: EventTrigger, told: Iterable[Told], until: float = 10_000, begin: float | None = None) -> Drive:
    drive = Drive(trigger)
    if begin is not None:
        drive.begin(begin)
    for number, (name, at, *received) in enumerate(told):
        drive.tell(event(name, at, number), received[0] if received else at)
    return drive.until(until)


AFTER = [
    pytest.param({}, [("a", 0)], [10], id="nothing comes"),
    pytest.param({}, [("a", 0), ("x", 9.999999)], [], id="it comes in time"),
    pytest.param({}, [("a", 0), ("x", 10)], [10], id="the end is outside"),
    pytest.param({}, [("x", 0), ("a", 1)], [11], id="what came before does not count"),
    pytest.param({}, [("x", 2, 1), ("a", 1, 3)], [], id="what happened after and came before does"),
    pytest.param({}, [("a", 0), ("a", 5)], [10], id="a second one does not extend the window"),
    pytest.param({}, [("a", 0), ("a", 5), ("a", 12)], [10, 22], id="the window over, the next one opens"),
    pytest.param({}, [("a", 0), ("x", 1), ("a", 2)], [12], id="satisfied, the next one opens"),
    pytest.param({}, [("x", 5)], [], id="nothing begins"),
    pytest.param({"threshold": 2}, [("a", 0), ("x", 1)], [10], id="one of two"),
    pytest.param({"threshold": 2}, [("a", 0), ("x", 1), ("x", 2)], [], id="two of two"),
    pytest.param({"grace": 5}, [("a", 0), ("x", 9, 14)], [], id="grace waits for what comes late"),
    pytest.param({"grace": 5}, [("a", 0), ("x", 9, 15)], [], id="an event received when it is due goes first"),
    pytest.param({"grace": 5}, [("a", 0), ("x", 9, 15.000001)], [10], id="later than grace"),
    pytest.param({"cooldown": 60}, [("a", 0), ("a", 15), ("a", 69), ("a", 70)], [10, 80], id="cooldown"),
    pytest.param({"after": ["b"], "expect": ["b"]}, [("b", at) for at in range(0, 40, 9)], [46], id="a heartbeat"),
    pytest.param({"after": ["b"], "expect": ["b", "x"]}, [("b", 0), ("b", 9), ("x", 12)], [], id="heartbeat, then end"),
    pytest.param(
        {"after": ["b"], "expect": ["b", "x"]},
        [("b", 0), ("x", 9.5, 8.9), ("b", 9)],
        [],
        id="the end comes before the last heartbeat",
    ),
]


@pytest.mark.parametrize(("fields", "told", "expected"), AFTER)
def test_ten_seconds_after_an_event(fields: dict[str, Any], told: list[Told], expected: list[float]) -> None:
    assert driven(waiting(**fields), told).fired == expected


SILENT = [
    pytest.param({}, [("x", 0)], [10], id="heard of once"),
    pytest.param({}, [("x", 0), ("x", 9), ("x", 18)], [28], id="each one puts it off"),
    pytest.param({}, [("x", 0), ("x", 10, 9)], [20], id="at every instant one in the ten seconds before it"),
    pytest.param({}, [("x", 0), ("x", 11)], [10, 21], id="the next one arms it again"),
    pytest.param({}, [("x", 0), ("x", 8, 11)], [10], id="what comes too late does not arm it"),
    pytest.param({"grace": 5}, [("x", 0), ("x", 8, 14)], [18], id="grace waits"),
    pytest.param({"grace": 5}, [("x", 0), ("x", 12, 14)], [10, 22], id="it came before the tick, and happened after"),
    pytest.param({"threshold": 2}, [("x", 0), ("x", 5), ("x", 9)], [15], id="two in any ten seconds"),
    pytest.param({"threshold": 2}, [("x", 0)], [10], id="full until it can be"),
    pytest.param({"cooldown": 60}, [("x", 0), ("x", 15), ("x", 71)], [10, 81], id="cooldown"),
    pytest.param({"within": 0}, [("x", 0)], [10], id="within left out is ten seconds"),
]


@pytest.mark.parametrize(("fields", "told", "expected"), SILENT)
def test_a_dead_mans_switch(fields: dict[str, Any], told: list[Told], expected: list[float]) -> None:
    assert driven(silent(**fields), told).fired == expected


BEGUN = [
    pytest.param([], [110], id="nothing ever comes"),
    pytest.param([("x", 104)], [114], id="something comes"),
    pytest.param([("x", 95, 101)], [110], id="what happened before it began does not count"),
    pytest.param([("x", 110)], [110, 120], id="the end is outside"),
    pytest.param([("x", 105), ("x", 130)], [115, 140], id="once for each silence"),
]


@pytest.mark.parametrize(("told", "expected"), BEGUN)
def test_without_a_key_it_is_armed_when_it_begins(told: list[Told], expected: list[float]) -> None:
    assert driven(silent(for_each=()), told, begin=100).fired == expected


def test_without_a_key_it_remembers_for_ever_that_it_has_fired() -> None:
    drive = driven(silent(for_each=()), [], begin=0, until=1_000_000)
    assert drive.fired == [10]
    assert drive.states


def test_what_has_fired_and_what_is_satisfied_is_forgotten() -> None:
    assert not driven(silent(), [("x", 0)]).states
    satisfied = driven(waiting(), [("a", 0), ("x", 1)])
    assert not satisfied.states
    assert satisfied.verdicts[-1].outcome == "lapsed"


def test_a_firing_names_its_deadline_and_the_event_that_it_waited_after() -> None:
    one = event("a", 0, 7, payload={"secret": 1}, related=[{"tocsin.resource.id": "r", "tocsin.resource.role": "x"}])
    ((_, met),) = Drive(waiting(2)).tell(one).tell(event("x", 1, 8)).until(10).mets
    assert (met.at, met.cause, met.count) == (START + 10 * SECOND, f"due:{START + 10 * SECOND}", 1)
    assert met.event is None
    assert met.witness == msgspec.structs.replace(one, payload={})


def test_a_silence_names_the_last_event_that_was_heard() -> None:
    ((_, met),) = driven(silent(), [("x", 0), ("x", 4)]).mets
    assert met.witness is not None
    assert met.witness.id == UUID(int=1)
    assert met.count == 0


def test_a_witness_has_no_payload_and_no_great_many_related_resources() -> None:
    many = [{"tocsin.resource.id": "r" * 50, "tocsin.resource.role": "x"}] * 100
    assert witness(event("a", 0, 1, payload={"n": 1}, related=many)) == event("a", 0, 1)


def test_a_backlog_of_old_events_raises_no_alarm() -> None:
    beats: list[Told] = [("x", at, 3600 + at) for at in range(0, 100, 9)]
    assert driven(silent(), beats, until=3700).fired == []
    assert driven(silent(), beats, until=3710).fired == [109]
    pairs: list[Told] = [("a", 0, 3600), ("x", 5, 3605)]
    assert driven(waiting(), pairs).fired == []


def test_one_old_event_does_not_put_off_the_alarm() -> None:
    beats: list[Told] = [("x", 10_000), ("x", 2, 10_001)]
    assert driven(silent(), beats, until=10_010).fired == [10_000 + 10]


def test_an_event_that_follows_another_is_not_before_it() -> None:
    first, then = event("a", 5, 1), event("x", 4, 2, follows=UUID(int=1))
    for events in ((first, then), (then, first)):
        drive = Drive(waiting())
        for one in events:
            drive.tell(one, received=5)
        assert drive.until(100).fired == []


VERDICTS = [
    pytest.param(
        waiting(2),
        [("x", 0), ("a", 1), ("a", 2), ("x", 3), ("x", 4), ("x", 0.5, 5)],
        [("held", 0, None), ("opened", 0, 11), ("held", 0, None), ("counted", 1, 11), ("satisfied", 2, 11)],
        id="after",
    ),
    pytest.param(
        silent(2),
        [("x", 0), ("x", 5), ("x", 7)],
        [("opened", 1, 10), ("counted", 2, 10), ("counted", 2, 15)],
        id="silence",
    ),
]


@pytest.mark.parametrize(("trigger", "told", "expected"), VERDICTS)
def test_a_verdict_tells_the_numbers(
    trigger: EventTrigger, told: list[Told], expected: list[tuple[str, int, float | None]]
) -> None:
    found = driven(trigger, told, until=0).verdicts
    shown = [(one.outcome, one.count, one.until and (one.until - START) / SECOND) for one in found]
    assert shown[: len(expected)] == expected


REPEATED = [
    pytest.param(waiting(), [("a", 0)], id="an opener"),
    pytest.param(waiting(2), [("a", 0), ("x", 1)], id="an expected one"),
    pytest.param(waiting(), [("a", 0), ("x", 1)], id="a satisfied window"),
    pytest.param(waiting(after=("b",), expect=("b",)), [("b", 0), ("b", 1), ("b", 2)], id="a heartbeat"),
    pytest.param(silent(2), [("x", 0), ("x", 1), ("x", 2), ("x", 3)], id="a dead man's switch"),
]


@pytest.mark.parametrize(("trigger", "told"), REPEATED)
def test_repeated_delivery_changes_nothing(trigger: EventTrigger, told: list[Told]) -> None:
    state: event_step.EventState | None = None
    moments = [
        Moment(START, one, hits(trigger, one)) for one in (event(n, at, i) for i, (n, at, *_) in enumerate(told))
    ]
    for moment in moments:
        state = event_step.advance(trigger, state, moment).state
    for moment in moments:
        step = event_step.advance(trigger, state, moment)
        assert step.state == state
        assert step.verdict.outcome in ("repeated", "late")


def test_a_flood_leaves_a_small_state() -> None:
    for trigger, kind in ((waiting(3, 60, after=("a", "b")), AbsenceState), (silent(3, 60), SilenceState)):
        state: event_step.EventState | None = None
        for number in range(2_000):
            one = event(("a", "x", "x")[number % 3] if number > 5 else "b", number / 100, number)
            state = event_step.advance(trigger, state, Moment(START + number * 10_000, one, hits(trigger, one))).state
        assert isinstance(state, kind)
        assert len(msgspec.json.encode(state)) < 20_000


def hits(trigger: EventTrigger, one: Event) -> tuple[int, ...]:
    return tuple(hit for hit, names in enumerate((trigger.expect, trigger.after)) if one.event in names)


# Against the definitions, in whole seconds: a, b (which is both) and x at any time of a minute, in any order.

events_of_a_minute = st.lists(st.tuples(st.sampled_from("abx"), st.integers(1, 60)), max_size=14)
afters = st.builds(
    lambda threshold, within: waiting(threshold, within, after=("a", "b"), expect=("x", "b")),
    st.integers(1, 3),
    st.integers(1, 15),
)
switches = st.builds(silent, st.integers(1, 3), st.integers(1, 15))


def patient(trigger: EventTrigger, grace: float) -> EventTrigger:
    return trigger.model_copy(update={"grace": timedelta(seconds=grace)})


def unanswered(trigger: EventTrigger, events: Iterable[tuple[str, float]]) -> list[float]:
    """By the words of the definition: the ends of windows that hold too few."""
    rest = sorted((at, number, name) for number, (name, at) in enumerate(events))
    found: list[float] = []
    opener, within = None, trigger.within.total_seconds()
    while True:
        if opener is None:
            openers = [one for one in rest if one[2] in "ab"]
            if not openers:
                return found
            opener = openers[0]
        inside = [one for one in rest if one > opener and one[0] < opener[0] + within and one[2] in "bx"]
        if len(inside) < trigger.threshold:
            end = opener[0] + within
            found.append(end)
            rest, opener = [one for one in rest if one[0] >= end], None
        else:
            last = inside[trigger.threshold - 1]
            rest, opener = [one for one in rest if one > last], last if last[2] == "b" else None


def unheard(trigger: EventTrigger, beats: Iterable[float]) -> list[float]:
    """By the words of the definition: the first instants with too few in the time before, once for each silence."""
    found: list[float] = []
    rest, within = sorted(beats), int(trigger.within.total_seconds())
    while rest:
        full = rest[0] + within
        instant = int(full)
        while sum(instant - within <= at < instant for at in rest) >= trigger.threshold:
            instant += 1
        found.append(instant if instant == full else instant - 1)
        rest = [at for at in rest if at >= instant]
    return found


@given(afters, events_of_a_minute, st.data())
def test_windows_are_those_of_the_definition_in_any_order(
    trigger: EventTrigger, events: list[tuple[str, int]], data: st.DataObject
) -> None:
    drive = Drive(patient(trigger, 60))
    for number, (name, at) in data.draw(st.permutations(list(enumerate(events)))):
        drive.tell(event(name, at, number), received=60)
    assert drive.until(1_000).fired == unanswered(trigger, events)


@given(afters, events_of_a_minute)
def test_windows_are_those_of_the_definition_as_time_goes_by(
    trigger: EventTrigger, events: list[tuple[str, int]]
) -> None:
    drive = Drive(trigger)
    for at, number, name in sorted((at, number, name) for number, (name, at) in enumerate(events)):
        drive.tell(event(name, at, number))
    assert drive.until(1_000).fired == unanswered(trigger, events)


@given(afters, st.lists(st.tuples(st.sampled_from("abx"), st.integers(1, 60), st.integers(0, 5)), max_size=14))
def test_windows_are_those_of_the_definition_when_nothing_is_later_than_grace(
    trigger: EventTrigger, events: list[tuple[str, int, int]]
) -> None:
    drive = Drive(patient(trigger, 5))
    for came, number, name, at in sorted(
        (at + late, number, name, at) for number, (name, at, late) in enumerate(events)
    ):
        drive.tell(event(name, at, number), received=came)
    assert drive.until(1_000).fired == unanswered(trigger, [(name, at) for name, at, _ in events])


@given(switches, st.lists(st.integers(1, 60), max_size=14), st.data())
def test_silences_are_those_of_the_definition_in_any_order(
    trigger: EventTrigger, beats: list[int], data: st.DataObject
) -> None:
    drive = Drive(patient(trigger, 60))
    for number, at in data.draw(st.permutations(list(enumerate(beats)))):
        drive.tell(event("x", at, number), received=60)
    assert drive.until(1_000).fired == unheard(trigger, beats)


@given(switches, st.lists(st.tuples(st.integers(1, 60), st.integers(0, 5)), max_size=14))
def test_silences_are_those_of_the_definition_when_nothing_is_later_than_grace(
    trigger: EventTrigger, beats: list[tuple[int, int]]
) -> None:
    drive = Drive(patient(trigger, 5))
    for came, number, at in sorted((at + late, number, at) for number, (at, late) in enumerate(beats)):
        drive.tell(event("x", at, number), received=came)
    assert drive.until(1_000).fired == unheard(trigger, [at for at, _ in beats])

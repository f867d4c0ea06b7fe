"""Compounds and sequences against their definitions, whatever the order, the repeats and the restarts."""

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.triggers.drive import Drive, event, seconds
from tocsin.events.model import Event
from tocsin.triggers.kinds import Trigger
from tocsin.triggers.steps import Key, Met, micros

TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
Fields = dict[str, Any]  # Any: a definition as a document holds it
Known = list[tuple[float, str]]  # firings of one child: when, and the event's id

NAMES = "abc"


def composite(kind: str, within: int | None, **more: Any) -> Fields:
    return {"type": kind, "triggers": [{"expect": name} for name in NAMES], "within": within, **more}


def drive(fields: Fields) -> Drive:
    return Drive(TRIGGER.validate_python(fields)).begin()


@st.composite
def streams(draw: st.DrawFn, names: str = NAMES, most: int = 14) -> list[tuple[Event, int]]:
    """Events with the second at which each comes, in that order; some come late, by `within` at the most."""
    given = draw(st.lists(st.tuples(st.sampled_from(names), st.integers(0, 12), st.integers(0, 6)), max_size=most))
    events = [(event(name, at, n), at + late) for n, (name, at, late) in enumerate(given)]
    return sorted(events, key=lambda one: one[1])


def told(fields: Fields, stream: list[tuple[Event, int]]) -> Drive:
    run = drive(fields)
    for one, received in stream:
        run.tell(one, received)
    return run


def by_definition(stream: list[tuple[Event, int]], complete: Callable[[dict[str, Any]], Any]) -> list[float]:
    """When it fires: the latest firing of each child since the last one, in event time, looked at anew each time."""
    fired: list[float] = []
    known: dict[str, Known] = {name: [] for name in NAMES}
    past = (-1.0, "")
    for one, _ in stream:
        mark = (seconds_of(one), str(one.id))
        if mark <= past or mark <= max(known[one.event], default=past):
            continue
        known[one.event].append(mark)
        latest = {name: max(marks) for name, marks in known.items() if marks}
        if (chosen := complete(latest)) and mark in chosen:
            past = max(chosen)
            fired.append(past[0])
            known = {name: [mark for mark in marks if mark > past] for name, marks in known.items()}
    return fired


def seconds_of(one: Event) -> float:
    return seconds(micros(one.occurred))


@given(streams(), st.integers(2, 3), st.sampled_from([None, 6, 8]))
@settings(max_examples=150)
def test_a_compound_is_its_definition(stream: list[tuple[Event, int]], require: int, within: int | None) -> None:
    def complete(latest: dict[str, tuple[float, str]]) -> list[tuple[float, str]]:
        for start in sorted(latest.values()):
            near = [one for one in latest.values() if 0 <= one[0] - start[0] < (within or 1_000)]
            if len(near) >= require:
                return near
        return []

    assert told(composite("compound", within, require=require), stream).fired == by_definition(stream, complete)


@given(streams(), st.sampled_from([None, 6, 8]))
@settings(max_examples=150)
def test_a_sequence_is_its_definition(stream: list[tuple[Event, int]], within: int | None) -> None:
    def complete(latest: dict[str, tuple[float, str]]) -> list[tuple[float, str]]:
        marks = [latest[name] for name in NAMES if name in latest]
        times = [at for at, _ in marks]
        whole = len(marks) == len(NAMES) and times == sorted(times) and times[-1] - times[0] < (within or 1_000)
        return marks if whole else []

    assert told(composite("sequence", within), stream).fired == by_definition(stream, complete)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), min_size=1), st.randoms(use_true_random=False))
def test_before_the_last_child_fires_the_order_of_arrival_is_nothing(
    firings: list[tuple[str, int]], random: Any
) -> None:
    events = [event(name, at, n) for n, (name, at) in enumerate(firings)]
    random.shuffle(events)
    run = drive(composite("compound", None, require="all"))
    for one in (*events, event("c", 10, 1_000)):
        run.tell(one, 20)
    latest = {name: max((at for known, at in firings if known == name), default=None) for name in "ab"}
    if None in latest.values():
        assert run.mets == []
    else:
        ((_, met),) = run.mets
        assert [seconds(part.at) for part in met.children] == [latest["a"], latest["b"], 10]


@given(st.integers(2, 4), st.integers(0, 12))
def test_identical_steps_fire_with_every_so_many_events(steps: int, count: int) -> None:
    run = drive({"type": "sequence", "triggers": [{"expect": "a"}] * steps})
    run.tell_all(event("a", at, at) for at in range(1, count + 1))
    assert run.fired == list(range(steps, count + 1, steps))


def _leaf() -> st.SearchStrategy[Fields]:
    reactive = st.builds(
        lambda names, threshold: {"expect": sorted(names), "threshold": threshold, "within": 20},
        st.sets(st.sampled_from(NAMES), min_size=1, max_size=2),
        st.integers(1, 2),
    )
    waiting = st.fixed_dictionaries(
        {"expect": st.just("b"), "after": st.just("c"), "within": st.just(10), "cooldown": st.sampled_from([0, 4])}
    )
    proactive = st.sampled_from(["a", "b"]).map(lambda name: {"expect": name, "posture": "Proactive", "within": 10})
    missed = waiting.map(lambda fields: {**fields, "posture": "Proactive"})
    buckets = st.just({"expect": "a", "threshold": 2, "within": 5, "window": "tumbling"})
    measured = st.just(
        {
            "metric": {
                "aggregate": "count",
                "operator": ">=",
                "threshold": 2,
                "range": 5,
                "firing_for": 1,
            },
            "expect": "b",
        }
    )
    return st.one_of(reactive, reactive, waiting, proactive, missed, buckets, measured)


def _nested(inner: st.SearchStrategy[Fields]) -> st.SearchStrategy[Fields]:
    children = st.lists(inner, min_size=1, max_size=3)
    more = st.fixed_dictionaries({"within": st.sampled_from([None, 4, 30]), "cooldown": st.sampled_from([0, 0, 5])})
    compounds = st.builds(
        lambda triggers, require, more: {"triggers": triggers, "require": require, **more},
        children,
        st.sampled_from(["any", "all"]),
        more,
    )
    return compounds | st.builds(lambda triggers, more: {"triggers": triggers, **more}, children, more)


TREES = _nested(st.recursive(_leaf(), _nested, max_leaves=4))


def _known(met: Met) -> tuple[Any, ...]:
    """What a firing says. Of two events of one instant either may be the witness."""
    return met.at, met.event, met.children, met.count, met.late, met.over, met.witness and met.witness.occurred


def _firings(mets: list[tuple[Key, Met]]) -> dict[str, Any]:
    """By their causes, of which the firings' ids are made: of the same id only the first is a firing."""
    return {met.cause: _known(met) for _, met in reversed(mets)}


@given(TREES, streams(most=10), st.data())
@settings(max_examples=80)
def test_a_repeated_event_changes_nothing(fields: Fields, stream: list[tuple[Event, int]], data: st.DataObject) -> None:
    """The states go through JSON each time (`Drive`): a restart at any point changes nothing either."""
    places = data.draw(st.lists(st.integers(0, max(0, len(stream) - 1)), max_size=4)) if stream else []
    repeated = list(stream)
    for place in places:
        one, received = stream[place]
        again = data.draw(st.integers(received, received + 4))
        behind = next((n for n, (_, at) in enumerate(repeated) if at > again), len(repeated))
        repeated.insert(behind, (one, again))
    once, often = (told(fields, given).until(200).mets for given in (stream, repeated))
    assert _firings(often) == _firings(once)


@given(TREES, streams(most=10))
@settings(max_examples=80)
def test_time_is_told_in_order_and_comes_to_an_end(fields: Fields, stream: list[tuple[Event, int]]) -> None:
    run = told(fields, stream).until(100_000)
    assert len(run.verdicts) < 40 * (len(stream) + 2)


@given(TREES, streams(most=12))
@settings(max_examples=80)
def test_a_key_knows_nothing_of_another(fields: Fields, stream: list[tuple[Event, int]]) -> None:
    hosts = ("one", "two")
    placed = [
        (msgspec.structs.replace(one, resource=one.resource | {"host": hosts[one.id.int % 2]}), at)
        for one, at in stream
    ]
    keyed = {**fields, "for_each": ["host"]}
    together = told(keyed, placed).until(200)
    for host in hosts:
        alone = told(keyed, [(one, at) for one, at in placed if one.resource["host"] == host]).until(200)
        assert alone.mets == [found for found in together.mets if found[0] == (host,)]

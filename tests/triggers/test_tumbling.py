"""Tumbling windows: what Prefect's server does, scenario by scenario, its oddities included."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.triggers.drive import SECOND, START, Drive, event
from tocsin.triggers import event_step
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.steps import Moment
from tocsin.triggers.tumbling import REMEMBERED, TumblingState

Told = tuple[str, float] | tuple[str, float, float]
"""An event's name, when it happened, and when it came if that was later."""

KEYED = {"for_each": ["tocsin.resource.id"]}


def bucketed(**fields: Any) -> EventTrigger:
    return EventTrigger.model_validate({"expect": ["x"], "window": "tumbling", **KEYED, **fields})


def driven(trigger: EventTrigger, told: Iterable[Told]) -> Drive:
    drive = Drive(trigger)
    for number, (name, at, *received) in enumerate(told):
        drive.tell(event(name, at, number), received[0] if received else at)
    return drive


def xs(*times: float) -> list[Told]:
    return [("x", at) for at in times]


REACTIVE = [
    pytest.param({}, xs(0, 0, 5), [0, 1, 2], id="at once, every time"),
    pytest.param({"within": 10}, xs(0, 5, 9.9, 10, 12, 20), [0, 3, 5], id="deaf until the bucket ends"),
    pytest.param({"threshold": 3, "within": 10}, xs(0, 1, 2, 3, 4, 9, 10, 11, 12), [2, 8], id="the third of each"),
    pytest.param({"threshold": 3, "within": 10}, xs(0, 9, 11, 12), [], id="a burst over a boundary is lost"),
    pytest.param({"threshold": 3, "within": 10}, xs(0, 11, 22, 33), [], id="too far apart"),
    pytest.param({"threshold": 2, "within": 10}, [("x", 900), ("x", 0, 901)], [1], id="a first one begins 15 min ago"),
    pytest.param(
        {"threshold": 2, "within": 10}, [("x", 900), ("x", -0.1, 901)], [], id="what is older is dropped silently"
    ),
    pytest.param({"threshold": 2, "within": 10}, xs(0, 1, 11, 12, 10.5), [1, 3], id="the next begins where one ended"),
    pytest.param({"within": 10}, xs(0, 9_000, 9_005), [0, 1], id="an event of the future opens a bucket and fires"),
    pytest.param({"threshold": 3}, xs(0, 20, 59, 70, 100, 129), [2, 5], id="within 0: every third"),
    pytest.param({"threshold": 3}, xs(0, 50, 60.5, 61, 62), [4], id="within 0: swept 60 s after the first"),
    pytest.param({"threshold": 10, "within": 60}, xs(*range(10, 0, -1)), [9], id="ten in reversed order"),
    pytest.param({"threshold": 0, "within": 10}, xs(0), [0], id="threshold 0 acts as 1"),
]

AFTER = [
    pytest.param({"within": 10}, [("a", 0), ("x", 9), ("x", 9.5)], [1], id="opened, fired, gone"),
    pytest.param({"within": 10}, [("x", 0), ("a", 1), ("x", 12)], [], id="only within, and after"),
    pytest.param({"within": 10}, [("a", 0), ("a", 5), ("x", 12)], [], id="a second one does not extend"),
    pytest.param({"within": 10}, [("a", 0), ("x", 12), ("a", 13), ("x", 14)], [3], id="ended, removed, opened again"),
    pytest.param({"within": 10}, [("a", 5), ("x", 4, 6), ("x", 7)], [2], id="an event before the bucket is dropped"),
    pytest.param({}, [("a", 0), ("x", 30), ("x", 31)], [1], id="within 0: any time later, until swept"),
    pytest.param({}, [("a", 0), ("x", 61)], [], id="within 0: swept"),
    pytest.param({"after": ["x"]}, xs(0, 1, 2, 3), [], id="in both, within 0: never"),
    pytest.param({"after": ["x"], "within": 5}, xs(0, 1, 2, 3), [1, 3], id="in both: every second one"),
    pytest.param({"after": ["x"], "within": 5, "threshold": 2}, xs(0, 1, 2, 3, 4), [2], id="in both: every third"),
    pytest.param({"threshold": 0, "within": 10, "expect": []}, [("a", 0)], [0], id="threshold 0: the event itself"),
]


@pytest.mark.parametrize(("fields", "told", "expected"), REACTIVE)
def test_a_reactive_trigger_counts_in_buckets(fields: dict[str, Any], told: list[Told], expected: list[int]) -> None:
    assert [UUID(met.cause).int for _, met in driven(bucketed(**fields), told).mets] == expected


@pytest.mark.parametrize(("fields", "told", "expected"), AFTER)
def test_a_reactive_trigger_waits_after_an_event(fields: dict[str, Any], told: list[Told], expected: list[int]) -> None:
    drive = driven(bucketed(**{"after": ["a"], **fields}), told)
    assert [UUID(met.cause).int for _, met in drive.mets] == expected


PROACTIVE = [
    pytest.param({"after": ["a"]}, [("a", 0)], [30], id="nothing comes"),
    pytest.param({"after": ["a"]}, [("a", 0), ("x", 29)], [], id="it comes"),
    pytest.param({"after": ["a"]}, [("x", 5, 1), ("a", 0, 2)], [], id="it came before: held"),
    pytest.param({"after": ["a"]}, [("x", 0), ("a", 1)], [31], id="it happened before"),
    pytest.param({"after": ["a"]}, [("a", 0), ("a", 20)], [30], id="a second one does not extend"),
    pytest.param({"after": ["a"]}, [("a", 0), ("a", 40)], [30, 70], id="each that finds no bucket"),
    pytest.param({"after": ["x"]}, xs(0, 20, 40), [70], id="a heartbeat that ends"),
    pytest.param({"after": ["x"], "expect": ["x", "y"]}, [("x", 0), ("x", 20), ("y", 30)], [], id="an end"),
    pytest.param({}, xs(0), [], id="a known resource gone silent never fires"),
    pytest.param({"threshold": 2}, xs(0), [30, 60, 90, 120], id="too few: it goes on firing"),
    pytest.param({"threshold": 2}, [("x", 0), ("x", 35, 31)], [30, 60, 90, 120], id="one too few in each"),
    pytest.param({"threshold": 2}, [("x", 0), ("x", 20), ("x", 60)], [90, 120], id="satisfied, gone, opened again"),
]


@pytest.mark.parametrize(("fields", "told", "expected"), PROACTIVE)
def test_a_proactive_trigger_looks_when_a_bucket_ends(
    fields: dict[str, Any], told: list[Told], expected: list[float]
) -> None:
    assert driven(bucketed(posture="Proactive", within=30, **fields), told).until(120).fired == expected


UNKEYED = [
    pytest.param({}, [], [30, 60, 90], id="armed when it begins, goes on firing"),
    pytest.param({}, xs(10), [90], id="satisfied, it opens the next at the look after"),
    pytest.param({}, xs(10, 40), [], id="satisfied before its end, deleted at the look"),
    pytest.param({"after": ["a"]}, [], [30, 90], id="even with after"),
]


@pytest.mark.parametrize(("fields", "told", "expected"), UNKEYED)
def test_without_a_key_a_proactive_trigger_looks_by_the_clock(
    fields: dict[str, Any], told: list[Told], expected: list[float]
) -> None:
    drive = Drive(bucketed(posture="Proactive", within=30, for_each=(), **fields)).begin()
    for number, (name, at, *_) in enumerate(told):
        drive.tell(event(name, at, number))
    assert drive.until(100).fired == expected


def test_a_late_expected_event_raises_the_alarm_and_is_named_its_cause() -> None:
    trigger = bucketed(posture="Proactive", within=30, threshold=2, grace=60)
    ((_, met),) = driven(trigger, [("x", 0), ("x", 31)]).mets
    assert (met.at, met.cause, met.count) == (START + 31 * SECOND, str(UUID(int=1)), 1)


def test_an_alarm_without_event_names_its_deadline_and_the_last_event() -> None:
    trigger = bucketed(posture="Proactive", within=30, after=["a"])
    ((_, met),) = Drive(trigger).tell(event("a", 0, 1, payload={"n": 1})).until(30).mets
    assert (met.at, met.cause, met.count, met.event) == (START + 30 * SECOND, f"due:{START + 30 * SECOND}", 0, None)
    assert met.witness == event("a", 0, 1)


def test_a_backlog_raises_no_alarm() -> None:
    told: list[Told] = [("a", 0, 1_200), ("x", 10, 1_210)]
    assert driven(bucketed(posture="Proactive", within=30, after=["a"]), told).until(5_000).fired == []
    assert driven(bucketed(posture="Proactive", within=30, after=["a"]), told[:1]).until(5_000).fired == [30]


def test_a_verdict_tells_what_prefect_does_silently() -> None:
    drive = driven(bucketed(within=10, threshold=2), xs(0, 1, 2, 11, 3))
    assert [(one.outcome, one.until and (one.until - START) / SECOND) for one in drive.verdicts] == [
        ("counted", 10),
        ("fired", 10),
        ("deaf", 10),
        ("counted", 20),
        ("late", 10),
    ]


times = st.lists(st.tuples(st.sampled_from("axb"), st.integers(0, 90)), max_size=14)
any_trigger = st.builds(
    lambda posture, threshold, within, after, keyed: bucketed(
        posture=posture,
        threshold=threshold,
        within=within,
        after=["a", "b"] if after else [],
        expect=["x", "b"],
        for_each=KEYED["for_each"] if keyed else [],
    ),
    st.sampled_from(("Reactive", "Proactive")),
    st.integers(1, 3),
    st.integers(10, 40),
    st.booleans(),
    st.booleans(),
)


@given(any_trigger, times, st.data())
def test_repeated_delivery_changes_nothing(trigger: EventTrigger, told: list[Told], data: st.DataObject) -> None:
    once, again = Drive(trigger).begin(), Drive(trigger).begin()
    sent: list[tuple[int, str, float]] = []
    for number, (name, at, *_) in enumerate(sorted(told, key=lambda one: one[1])):
        sent.append((number, name, at))
        once.tell(event(name, at, number))
        recent = [one for one in sent if at - one[2] < 10]
        for repeated in [sent[-1], *data.draw(st.lists(st.sampled_from(recent), max_size=2))]:
            again.tell(event(repeated[1], repeated[2], repeated[0]), received=at)
    assert again.until(100).mets == once.until(100).mets


def test_a_flood_leaves_a_small_state() -> None:
    trigger, state = bucketed(posture="Proactive", within=600, after=["a"], threshold=5), None
    for number in range(2_000):
        moment = Moment(START + number * SECOND, event("x", number, number), (0,))
        state = event_step.advance(trigger, state, moment).state
    assert isinstance(state, TumblingState)
    assert len(state.past) == REMEMBERED
    assert len(msgspec.json.encode(state)) < 20_000

"""Compounds and sequences: Prefect's scenarios, keys, order of arrival, what is used up."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from tests.triggers.drive import Drive, event, seconds
from tocsin.triggers.kinds import Trigger

TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
Fields = dict[str, Any]  # Any: a definition as a document holds it

FAILED, COMPLETED, PENDING, NEVER = ({"expect": name} for name in ("Failed", "Completed", "Pending", "Never"))
RUN = ["Pending", "Running", "Completed", "Failed"]


def compound(require: str | int, *triggers: Fields, **more: Any) -> Fields:
    return {"type": "compound", "require": require, "triggers": list(triggers), **more}


def sequence(*triggers: Fields, **more: Any) -> Fields:
    return {"type": "sequence", "triggers": list(triggers), **more}


def expects(*names: str, **more: Any) -> list[Fields]:
    return [{"expect": name, **more} for name in names]


def drive(fields: Fields) -> Drive:
    return Drive(TRIGGER.validate_python(fields)).begin()


COMPOUNDS = [
    pytest.param(compound("any", FAILED, NEVER, within=300), [4], id="any"),
    pytest.param(compound("any", compound("any", FAILED, NEVER, within=300)), [4], id="any of an any"),
    pytest.param(
        compound("any", compound("any", FAILED, NEVER), compound("any", COMPLETED, NEVER)), [3, 4], id="any of two anys"
    ),
    pytest.param(compound("all", FAILED, NEVER, within=300), [], id="all, one never comes"),
    pytest.param(compound("all", FAILED, COMPLETED, within=300), [4], id="all"),
    pytest.param(
        compound("all", compound("any", FAILED, COMPLETED), compound("any", COMPLETED, NEVER), within=300),
        [3],
        id="all of two anys, one event meets both",
    ),
    pytest.param(
        compound("all", compound("all", FAILED, COMPLETED), compound("any", COMPLETED, NEVER), within=300),
        [4],
        id="all of an all and an any",
    ),
    pytest.param(
        compound("all", compound("all", FAILED, COMPLETED), compound("all", COMPLETED, NEVER), within=300),
        [],
        id="all of two alls, one incomplete",
    ),
    pytest.param(
        compound("all", compound("all", FAILED, COMPLETED), compound("all", COMPLETED, PENDING), within=300),
        [4],
        id="all of two alls",
    ),
    pytest.param(compound(2, PENDING, COMPLETED, FAILED, within=300), [3], id="two of three, once"),
    pytest.param(compound(2, PENDING, COMPLETED, FAILED, within=2), [4], id="two of three, the first too early"),
    pytest.param(compound(1, COMPLETED, FAILED), [3, 4], id="one of two fires with each"),
    pytest.param(compound("all", FAILED, COMPLETED, within=1), [], id="all, the end of within is outside"),
    pytest.param(compound("any", COMPLETED, FAILED, cooldown=2), [3], id="any, silent in its cooldown"),
    pytest.param(compound("any", COMPLETED, FAILED, cooldown=1), [3, 4], id="the end of a cooldown is outside"),
]


@pytest.mark.parametrize(("fields", "expected"), COMPOUNDS)
def test_a_compound_fires_when_enough_of_its_triggers_have(fields: Fields, expected: list[float]) -> None:
    run = [event(name, at, at) for at, name in enumerate(RUN, start=1)]
    assert drive(fields).tell_all(run).fired == expected


BAKER = sequence(*expects("buy", "mix", "bake"), within=5)
TWINS = sequence(*expects("buy", "buy"), within=5)
HOST = sequence(*expects("buy", "mix", "bake"), compound("all", *expects("greet", "serve"), within=300), within=5)

SEQUENCES = [
    pytest.param(sequence({"expect": "buy"}, within=5), "buy", [4], [4], id="a single step"),
    pytest.param(sequence({"expect": "buy"}, within=5), "mix", [1], [], id="a single step, another event"),
    pytest.param(BAKER, "buy bake mix", [1, 2, 3], [], id="out of order"),
    pytest.param(BAKER, "buy mix bake", [1, 2, 3], [3], id="in order"),
    pytest.param(BAKER, "buy mix bake", [1, 2, 840], [], id="in order but expired (Prefect expects to fail)"),
    pytest.param({**BAKER, "within": None}, "buy mix bake", [1, 2, 840], [840], id="in order, no within"),
    pytest.param(BAKER, "buy mix mix bake", [1, 2, 3, 4], [4], id="a step twice"),
    pytest.param(BAKER, "buy mix buy bake", [1, 2, 3, 4], [], id="an earlier step again: the order is broken"),
    pytest.param(BAKER, "buy mix mix bake", [1, 2, 3, 840], [], id="a step twice, expired (Prefect expects to fail)"),
    pytest.param(
        HOST, "buy mix bake buy mix bake greet serve", [1, 2, 3, 4, 5, 6, 7, 8], [8], id="a compound as the last step"
    ),
    pytest.param(HOST, "buy bake mix serve greet", [4, 5, 6, 7, 8], [], id="a compound, the steps before out of order"),
    pytest.param(TWINS, "buy", [1], [], id="identical steps, one event (Prefect expects to fail)"),
    pytest.param(TWINS, "buy buy", [1, 2], [2], id="identical steps, two events"),
    pytest.param(TWINS, "buy buy buy", [1, 100, 102], [102], id="identical steps, the first too early"),
    pytest.param(TWINS, "buy buy buy buy", [1, 2, 3, 4], [2, 4], id="identical steps fire with every second"),
    pytest.param(BAKER, "buy mix bake", [1, 1, 1], [1], id="at the same instant"),
    pytest.param(BAKER, "buy mix bake bake", [1, 2, 3, 4], [3], id="all are used up"),
    pytest.param({**BAKER, "cooldown": 60}, "buy mix bake buy mix bake", [1, 2, 3, 4, 5, 6], [3], id="cooldown"),
]


@pytest.mark.parametrize(("fields", "names", "times", "expected"), SEQUENCES)
def test_a_sequence_fires_when_its_steps_come_in_order(
    fields: Fields, names: str, times: list[float], expected: list[float]
) -> None:
    given = zip(names.split(), times, strict=True)
    assert drive(fields).tell_all(event(name, at, n) for n, (name, at) in enumerate(given)).fired == expected


def test_a_firing_tells_what_it_is_made_of() -> None:
    told = drive(compound("all", *expects("a", "b"), {"expect": "c", "threshold": 2, "within": 60}, within=60))
    told.tell_all([event("c", 1, 1), event("c", 2, 2), event("b", 3, 3), event("a", 4, 4)])
    ((_, met),) = told.mets
    assert (met.cause, met.count, met.event and met.event.id.int) == (str(met.event and met.event.id), 3, 4)
    parts = [(part.trigger, seconds(part.at), part.event and part.event.int, part.count) for part in met.children]
    assert parts == [(0, 4, 4, 1), (1, 3, 3, 1), (2, 2, 2, 2)]


def test_a_nested_firing_tells_the_parts_of_its_parts() -> None:
    told = drive(compound("all", compound("all", *expects("a", "b")), {"expect": "c"}))
    told.tell_all([event("a", 1, 1), event("b", 2, 2), event("c", 3, 3)])
    ((_, met),) = told.mets
    inner, _ = met.children
    assert [seconds(part.at) for part in inner.children] == [1, 2]


def host(name: str, at: float, number: int, of: str) -> Any:
    return event(name, at, number, resource={"host": of})


KEYS = [
    pytest.param(compound("all", *expects("a", "b", for_each=["host"])), id="labels of the children"),
    pytest.param(compound("all", *expects("a", "b"), for_each=["host"]), id="labels of the compound"),
    pytest.param(sequence({"expect": "a", "for_each": ["host"]}, {"expect": "b"}, for_each=["host"]), id="of some"),
]


@pytest.mark.parametrize("fields", KEYS)
def test_what_happened_to_different_resources_is_not_brought_together(fields: Fields) -> None:
    told = drive(fields).tell_all([host("a", 1, 1, "one"), host("b", 2, 2, "two")])
    assert told.mets == []
    told.tell_all([host("b", 3, 3, "one")])
    assert [(key, seconds(met.at)) for key, met in told.mets] == [(("one",), 3)]


def test_stateless_triggers_with_labels_of_different_number_share_one_key() -> None:
    told = drive(compound("all", {"expect": "a", "for_each": ["host"]}, {"expect": "b"}))
    assert [key for key, _ in told.tell_all([host("a", 1, 1, "one"), event("b", 2, 2)]).mets] == [()]


ARRIVALS = [
    pytest.param(["a2", "a1", "b3"], [3], (2, 3), id="an older firing does not replace the latest"),
    pytest.param(["b3", "a1"], [3], (1, 3), id="the first of two comes last"),
    pytest.param(["a1", "b2", "a0"], [2], (1, 2), id="what comes late for a firing counts no more"),
    pytest.param(["a1", "b3", "a2", "b4"], [3], (1, 3), id="nor does it meet what comes later"),
    pytest.param(["a1", "a20", "b2"], [], None, id="only the latest counts, and it is too far away"),
]


@pytest.mark.parametrize(("order", "fired", "parts"), ARRIVALS)
def test_the_latest_firing_in_event_time_counts(
    order: list[str], fired: list[float], parts: tuple[float, ...] | None
) -> None:
    told = drive(compound("all", *expects("a", "b"), within=10))
    for number, one in enumerate(order):
        told.tell(event(one[0], int(one[1:]), number), received=30)
    assert told.fired == fired
    if parts:
        assert tuple(seconds(part.at) for part in told.mets[0][1].children) == parts


FOLLOWERS = [
    pytest.param("buy5 mix4<1 bake6", [6], id="a step that follows the one before, on a clock that is behind"),
    pytest.param("mix4<2 buy5 bake6", [6], id="the same, arriving before it"),
    pytest.param("bake1<2 mix4<3 buy5", [5], id="a chain, arriving backwards"),
    pytest.param("mix4<2 buy5 mix4<2 bake6", [6], id="the follower twice"),
    pytest.param("buy5 mix4<9 bake6", [], id="its leader is not known"),
    pytest.param("buy5 mix4<1 bake6 mix4<1 bake7", [6], id="what was used up comes again"),
]


@pytest.mark.parametrize(("story", "fired"), FOLLOWERS)
def test_a_step_that_follows_another_did_not_happen_before_it(story: str, fired: list[float]) -> None:
    told = drive(BAKER)
    words = story.split()
    for word in words:
        what, _, leader = word.partition("<")
        follows = UUID(int=int(leader)) if leader else None
        told.tell(event(what[:-1], int(what[-1]), words.index(word) + 1, follows=follows), received=9)
    assert told.fired == fired


def test_a_firing_says_that_something_newer_was_known() -> None:
    told = drive(compound("all", *expects("a", "b"), within=10))
    told.tell(event("b", 3, 1), received=3).tell(event("a", 1, 2), received=4)
    told.tell(event("a", 20, 3), received=20).tell(event("b", 21, 4), received=21)
    assert [met.late for _, met in told.mets] == [True, False]


HEARTBEAT = {"expect": "beat", "posture": "Proactive", "within": 60}


def test_an_absence_and_an_event_make_a_compound_fire() -> None:
    told = drive(compound("all", HEARTBEAT, {"expect": "full"}, within=300))
    told.tell_all([event("beat", 10, 1), event("full", 40, 2)]).until(69)
    assert told.mets == []
    ((_, met),) = told.until(70).mets
    assert (seconds(met.at), met.event, met.cause) == (70, None, f"due:{met.at}/0")
    assert met.witness is not None


def test_a_metric_and_an_event_make_a_compound_fire() -> None:
    metric = {"metric": {"value": "payload.n", "operator": ">", "threshold": 5, "range": 10, "firing_for": 3}}
    told = drive(compound("all", {**metric, "expect": "load"}, {"expect": "full"}, within=60))
    told.tell_all([event("load", 1, 1, payload={"n": 9}), event("full", 2, 2)]).until(300)
    ((_, met),) = told.mets
    assert ([seconds(part.at) for part in met.children], met.cause) == ([4, 2], f"due:{met.at}/0")
    assert met.witness is not None
    assert met.witness.event == "load"


def test_an_absence_that_waits_from_the_beginning_is_armed_in_a_compound() -> None:
    told = drive(compound("all", HEARTBEAT, compound("any", {**HEARTBEAT, "expect": "pulse"}, {"expect": "full"})))
    ((_, met),) = told.until(100).mets
    assert (seconds(met.at), [seconds(part.at) for part in met.children]) == (60, [60, 60])


def test_an_absence_counts_by_the_key_of_the_compound() -> None:
    told = drive(compound("all", HEARTBEAT, {"expect": "full"}, for_each=["host"]))
    told.tell_all([host("beat", 0, 1, "one"), host("full", 5, 2, "one"), host("full", 6, 3, "two")]).until(1_000)
    assert [(key, seconds(met.at)) for key, met in told.mets] == [(("one",), 60)]


def test_what_is_remembered_goes_with_time() -> None:
    told = drive(compound("all", *expects("a", "b"), within=10)).tell(event("a", 1, 1))
    assert told.until(20).states
    assert not told.until(21).states
    assert told.verdicts[-1].outcome == "lapsed"


def test_without_within_a_compound_waits_for_good_and_then_forgets() -> None:
    told = drive(compound("all", *expects("a", "b"))).tell(event("a", 1, 1)).until(10_000_000)
    assert told.tell(event("b", 10_000_000, 2)).fired == [10_000_000]
    assert not told.until(11_000_000).states


def test_any_of_stateless_triggers_remembers_nothing() -> None:
    told = drive(compound("any", *expects("a", "b"))).tell_all([event("a", 1, 1), event("b", 2, 2)])
    assert told.fired == [1, 2]
    assert not told.states


def test_an_event_that_meets_two_of_an_any_fires_once() -> None:
    ((_, met),) = drive(compound("any", *expects("a", "*"))).tell(event("a", 1, 1)).mets
    assert (met.count, [part.trigger for part in met.children]) == (2, [0, 1])


VERDICTS = [
    pytest.param(["a1"], "counted", 1, id="counted"),
    pytest.param(["a1", "a1"], "repeated", 1, id="repeated"),
    pytest.param(["a2", "a1"], "late", 1, id="late"),
    pytest.param(["a1", "b2"], "fired", 2, id="fired"),
    pytest.param(["a1", "b2", "a3"], "cooldown", 0, id="cooldown"),
]


@pytest.mark.parametrize(("order", "outcome", "count"), VERDICTS)
def test_a_verdict_tells_how_many_have_fired(order: list[str], outcome: str, count: int) -> None:
    told = drive(compound("all", *expects("a", "b"), within=10, cooldown=5))
    told.tell_all(event(one[0], int(one[1:]), int(one[1:])) for one in order)
    verdict = told.verdicts[-1]
    assert (verdict.outcome, verdict.count, verdict.threshold) == (outcome, count, 2)
    assert [child.trigger for child in verdict.children] == [0 if order[-1][0] == "a" else 1]

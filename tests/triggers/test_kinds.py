"""The kinds of trigger: which one a definition means, what is refused, what is written is read again."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tocsin.triggers import CompoundTrigger, EventTrigger, MetricTrigger, SequenceTrigger
from tocsin.triggers.kinds import DEPTH, LEAVES, Trigger

TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
Fields = dict[str, Any]  # Any: a definition as a document holds it

A, B = {"expect": "a"}, {"expect": "b"}
METRIC = {"name": "duration", "operator": ">", "threshold": 60}

KINDS = [
    pytest.param({"expect": "a"}, EventTrigger, id="an event"),
    pytest.param({"match": {"a": "b"}, "posture": "Proactive"}, EventTrigger, id="an absence"),
    pytest.param({"triggers": [A, B], "require": "any"}, CompoundTrigger, id="triggers and require"),
    pytest.param({"triggers": [A, B]}, SequenceTrigger, id="triggers alone"),
    pytest.param({"type": "compound", "triggers": [A, B]}, CompoundTrigger, id="by name: all, if nothing is said"),
    pytest.param({"metric": METRIC}, MetricTrigger, id="a metric"),
    pytest.param({"posture": "Metric", "metric": METRIC, "match": {}}, MetricTrigger, id="by posture"),
]


@pytest.mark.parametrize(("fields", "kind"), KINDS)
def test_the_kind_is_known_by_the_fields(fields: Fields, kind: type[Any]) -> None:
    trigger = TRIGGER.validate_python(fields)
    assert type(trigger) is kind
    assert TRIGGER.validate_json(TRIGGER.dump_json(trigger)) == trigger
    assert TRIGGER.validate_python(trigger) is trigger


def test_kinds_are_nested_freely() -> None:
    fields = {
        "require": 2,
        "triggers": [A, {"triggers": [B, {"metric": METRIC}], "within": 60}, {**A, "after": ["b"], "within": 5}],
    }
    trigger = TRIGGER.validate_python(fields)
    assert isinstance(trigger, CompoundTrigger)
    assert [child.type for child in trigger.triggers] == ["event", "sequence", "event"]
    assert TRIGGER.validate_json(TRIGGER.dump_json(trigger)) == trigger


def test_they_are_written_in_python() -> None:
    trigger = CompoundTrigger(triggers=[EventTrigger(expect={"a"}), EventTrigger(expect={"b"})], require="any")
    assert trigger == TRIGGER.validate_python({"triggers": [A, B], "require": "any"})


def nested(levels: int) -> Fields:
    trigger: Fields = A
    for _ in range(levels):
        trigger = {"triggers": [trigger]}
    return trigger


KEYED, TWICE = {"expect": "a", "for_each": ["x"]}, {"expect": "a", "threshold": 2, "within": 5}
MIXED = {"require": "any", "triggers": [KEYED, TWICE]}

REFUSED = [
    pytest.param({"type": "chord", "triggers": [A]}, "'event', 'compound', 'sequence', 'metric'", id="an unknown type"),
    pytest.param({"type": ["event"]}, "'event', 'compound', 'sequence', 'metric'", id="a list for a type"),
    pytest.param("a", "valid dictionary", id="a text"),
    pytest.param({"triggers": []}, "at least 1 item", id="no triggers"),
    pytest.param({"triggers": None}, "instance of Sequence", id="nothing for triggers"),
    pytest.param({"triggers": [A], "require": 0}, "greater than or equal to 1", id="require 0"),
    pytest.param({"triggers": [A], "require": True}, "'any' or 'all'", id="require true"),
    pytest.param({"triggers": [A], "require": "some"}, "'any' or 'all'", id="require some"),
    pytest.param({"triggers": [A, B], "require": 3}, "require 3 of 2 triggers", id="more than there are"),
    pytest.param({"triggers": [A, B], "within": 0}, "leave it out for no limit", id="within 0"),
    pytest.param({"triggers": [A, B], "within": -1}, "greater than or equal", id="within below 0"),
    pytest.param({"triggers": [A, B], "threshold": 2}, "Extra inputs", id="an unknown field"),
    pytest.param({"triggers": [A, {"expect": "b", "posture": "Sometimes"}]}, "triggers.1.event.posture", id="a child"),
    pytest.param({"triggers": [A, B], "for_each": ["related:x"]}, "related:<role>:<label>", id="half a related label"),
    pytest.param({"triggers": [A, {}]}, r"triggers\.1\.event\s.*empty trigger", id="an empty child"),
    pytest.param({"triggers": [A, {"within": 5}], "within": 5}, "empty trigger", id="an empty child, within"),
    pytest.param({"triggers": [{}], "cooldown": 5}, "empty trigger", id="an empty child of one that is silent"),
    pytest.param(nested(DEPTH + 1), "nested more than 8 deep", id="too deep"),
    pytest.param(nested(5_000), "nested more than 8 deep", id="much too deep"),
    pytest.param({"triggers": [{"triggers": [A] * 60}, {"triggers": [A] * 60}]}, "more than 100", id="too many"),
    pytest.param({"triggers": [*[A] * 60, {"triggers": [A] * 41}]}, "more than 100", id="too many, on two levels"),
    pytest.param({"triggers": [KEYED, TWICE]}, "give it for_each", id="keys of different labels"),
    pytest.param({"triggers": [MIXED, KEYED]}, "of a compound in it some", id="mixed, together"),
    pytest.param(
        {"require": 1, "triggers": [MIXED], "for_each": ["y"]}, "of a compound in it some", id="a key and none"
    ),
    pytest.param({"triggers": [KEYED, B], "for_each": ["x", "y"]}, "for_each names 2 labels", id="another number"),
    pytest.param({"triggers": [{"triggers": [KEYED, TWICE]}, A]}, "give it for_each", id="so inside"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_makes_no_sense_is_refused(fields: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TRIGGER.validate_python(fields)


def test_as_deep_and_as_many_as_allowed_are_read() -> None:
    assert TRIGGER.validate_python(nested(DEPTH)).type == "sequence"
    assert TRIGGER.validate_python({"triggers": [A] * LEAVES}).type == "sequence"


@pytest.mark.parametrize("child", [{"threshold": 5, "within": 60}, {"posture": "Proactive", "within": 60}])
def test_a_child_may_mean_any_event_if_it_does_not_fire_on_each(child: Fields) -> None:
    trigger = TRIGGER.validate_python({"triggers": [A, child], "within": 60})
    assert TRIGGER.validate_json(TRIGGER.dump_json(trigger)) == trigger


def test_a_compound_of_prefect_is_read() -> None:
    event: Fields = {"type": "event", "id": "1", "match": {}, "match_related": {}, "after": [], "expect": ["prefect.x"]}
    event |= {"for_each": [], "posture": "Reactive", "threshold": 1, "within": 0}
    trigger = TRIGGER.validate_python(
        {"type": "compound", "id": "0", "triggers": [event, event], "within": 300, "require": "all"}
    )
    assert isinstance(trigger, CompoundTrigger)
    names = [child.expect for child in trigger.triggers if isinstance(child, EventTrigger)]
    assert names == [("prefect.x", "tocsin.x")] * 2

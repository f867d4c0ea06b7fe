"""Event triggers: what they cover, their keys, what is refused, what is read as what."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger, covers, key_of

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def an_event(name: str = "a.b", number: int = 0, at: float = 0, **more: Any) -> Event:
    resource = {"tocsin.resource.id": "tocsin.flow-run.1", "region": "eu", **more.pop("resource", {})}
    return Event(
        id=UUID(int=number), event=name, occurred=START + timedelta(seconds=at), resource=resource, related=RELATED
    )


RELATED = [
    {"tocsin.resource.id": "tocsin.flow.etl", "tocsin.resource.role": "flow", "team": "data"},
    {"tocsin.resource.id": "tocsin.tag.prod", "tocsin.resource.role": "tag"},
]

COVERED = [
    pytest.param({"expect": "a.b"}, True, id="exact name"),
    pytest.param({"expect": ["x", "a.*"]}, True, id="one of several, with a star"),
    pytest.param({"expect": ["a.b.*"]}, False, id="a star is one character or more"),
    pytest.param({"expect": ["a"]}, False, id="no prefix without a star"),
    pytest.param({"match": {"region": "e*"}}, True, id="label by glob, any name"),
    pytest.param({"match": {"region": ["us", "eu"]}}, True, id="any of a list"),
    pytest.param({"match": {"region": "!us"}}, True, id="negation"),
    pytest.param({"match": {"zone": "!us"}}, False, id="an absent label fails even a negation"),
    pytest.param({"match": {"region": "eu", "zone": "*"}}, False, id="all labels must match"),
    pytest.param({"match_related": {"tocsin.resource.role": "flow", "team": "data"}}, True, id="one related resource"),
    pytest.param({"match_related": {"tocsin.resource.role": "tag", "team": "data"}}, False, id="not spread over two"),
    pytest.param(
        {"match_related": [{"team": "data"}, {"tocsin.resource.id": "tocsin.tag.prod"}]}, True, id="each of a list"
    ),
    pytest.param({"match_related": [{"team": "data"}, {"team": "ops"}]}, False, id="one of a list is not met"),
    pytest.param({"match": {"prefect.resource.id": "prefect.flow-run.*"}}, True, id="Prefect's labels and ids"),
    pytest.param({"match": {"prefect.resource.id": ["!prefect.flow-run.*"]}}, False, id="Prefect's ids, negated"),
]


@pytest.mark.parametrize(("fields", "expected"), COVERED)
def test_a_trigger_covers_the_events_it_describes(fields: dict[str, Any], expected: bool) -> None:
    assert covers(EventTrigger.model_validate(fields), an_event()) is expected


def test_expected_names_of_prefect_read_as_ours() -> None:
    trigger = EventTrigger(expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"})
    assert trigger.expect == ("tocsin.flow-run.Crashed", "tocsin.flow-run.Failed")


KEYS = [
    pytest.param((), (), id="no labels, one key"),
    pytest.param(("region",), ("eu",), id="a label"),
    pytest.param(("prefect.resource.id", "region"), ("tocsin.flow-run.1", "eu"), id="in their order"),
    pytest.param(("zone",), ("",), id="an absent label is empty"),
    pytest.param(("related:flow:tocsin.resource.id",), ("tocsin.flow.etl",), id="of a related resource"),
    pytest.param(("related:deployment:name",), ("",), id="of a role nobody has"),
]


@pytest.mark.parametrize(("labels", "key"), KEYS)
def test_the_key_is_made_of_labels(labels: tuple[str, ...], key: tuple[str, ...]) -> None:
    assert key_of(EventTrigger(expect=("a",), for_each=labels), an_event()) == key


REFUSED = [
    pytest.param({}, "empty trigger", id="empty"),
    pytest.param({"match": {}, "match_related": [{}]}, "empty trigger", id="empty in other words"),
    pytest.param({"expect": ["a?"]}, "exact or holds", id="? in a name"),
    pytest.param({"expect": ["[ab]"]}, "exact or holds", id="[ in a name"),
    pytest.param({"expect": ["!a"]}, "exact or holds", id="! in a name"),
    pytest.param({"expect": ["a"], "threshold": 2}, "needs within", id="threshold without within"),
    pytest.param({"expect": ["a"], "within": -1}, "greater than or equal", id="within below 0"),
    pytest.param({"expect": ["a"], "for_each": ["related:flow"]}, "related:<role>:<label>", id="half a related label"),
    pytest.param({"expect": ["a"], "when": "x"}, "Extra inputs", id="an unknown field"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        EventTrigger.model_validate(fields)


def test_numbers_are_seconds_and_durations_are_read() -> None:
    seconds, iso = ({"expect": "a", "threshold": 2, "within": within} for within in (90, "PT90S"))
    assert EventTrigger.model_validate(seconds) == EventTrigger.model_validate(iso)


def test_the_fields_of_an_exported_prefect_trigger_are_accepted() -> None:
    exported: dict[str, Any] = {
        "type": "event",
        "id": "0",
        "match": {},
        "match_related": {},
        "after": [],
        "expect": ["prefect.x"],
    }
    exported |= {"for_each": ["prefect.resource.id"], "posture": "Reactive", "threshold": 1, "within": 0.0}
    trigger = EventTrigger.model_validate(exported)
    assert trigger == EventTrigger.model_validate(json.loads(trigger.model_dump_json()))

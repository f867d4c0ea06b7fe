"""Checks: why an event does or does not match."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tocsin.events.model import Event
from tocsin.triggers.checks import checks
from tocsin.triggers.event import EventTrigger, covers
from tocsin.triggers.metric import MetricTrigger

EVENT = Event(
    id=UUID(int=1),
    event="orders.failed",
    resource={"tocsin.resource.id": "orders", "region": "eu"},
    related=[
        {"tocsin.resource.id": "tocsin.tag.prod", "tocsin.resource.role": "tag"},
        {"tocsin.resource.id": "tocsin.flow.etl", "tocsin.resource.role": "flow", "team": "data"},
    ],
    payload={"n": 3},
)

SEEN = [
    pytest.param({"expect": ["orders.*"]}, ("expect", "orders.*", "orders.failed", True), id="the name"),
    pytest.param({"expect": ["a", "b"]}, ("expect", "a or b", "orders.failed", False), id="another name"),
    pytest.param({"match": {"region": "eu"}}, ("match region", "eu", "eu", True), id="a label"),
    pytest.param({"match": {"zone": "!x"}}, ("match zone", "!x", "absent", False), id="an absent label"),
    pytest.param({"match": {"region": ["us", "me"]}}, ("match region", "us or me", "eu", False), id="none of a list"),
    pytest.param(
        {"match_related": {"tocsin.resource.role": "flow", "team": "ops"}},
        (
            "match_related[0]",
            "tocsin.resource.role = flow, team = ops",
            "tocsin.resource.role = flow, tocsin.resource.id = tocsin.flow.etl, team = data",
            False,
        ),
        id="the nearest related resource",
    ),
    pytest.param({"where": "payload.n > `2`"}, ("where", "payload.n > `2`", "true", True), id="a condition"),
    pytest.param({"where": "payload.n > `3`"}, ("where", "payload.n > `3`", "false", False), id="a condition not met"),
]


@pytest.mark.parametrize(("fields", "expected"), SEEN)
def test_a_check_says_what_was_wanted_and_seen(fields: dict[str, Any], expected: tuple[str, str, str, bool]) -> None:
    about, wanted, saw, held = expected
    (check,) = [check for check in checks(EventTrigger.model_validate(fields), EVENT) if check.about == about]
    assert (check.wanted, check.saw, check.held) == (wanted, saw, held)


def test_a_condition_that_fails_is_shown_with_its_error() -> None:
    trigger = EventTrigger(expect=("orders.*",), where="length(payload.n) > `0`")
    assert checks(trigger, EVENT)[-1].saw.startswith("error: ")
    assert not checks(trigger, EVENT)[-1].held
    assert not covers(trigger, EVENT)


def test_no_related_resources_are_said_to_be_none() -> None:
    trigger = EventTrigger(match_related={"team": "data"})
    alone = Event(event="a", resource={"tocsin.resource.id": "x"})
    assert checks(trigger, alone)[-1].saw == "no related resources"


def test_what_it_begins_after_is_told_beside_what_it_expects() -> None:
    trigger = EventTrigger(expect=("orders.loaded",), after=("orders.failed",), within=timedelta(seconds=10))
    assert [(one.about, one.held) for one in checks(trigger, EVENT)] == [("expect", False), ("after", True)]


def test_a_metric_is_checked_by_what_it_measures() -> None:
    metric = {"name": "successes", "operator": "<", "threshold": 0.5}
    found = checks(MetricTrigger.model_validate({"metric": metric}), EVENT)
    assert [(one.about, one.held) for one in found] == [("expect", False), ("match tocsin.state-type", False)]

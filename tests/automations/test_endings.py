"""What ends an episode: one event, several, or that something stays away; and the opposite of a trigger."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.automations.parts import START, happened, rule
from tocsin.automations import simulate
from tocsin.automations.model import Automation

BAD = {"expect": ["bad"], "for_each": ["tocsin.resource.id"]}
HOUR = START + timedelta(hours=1)

Tale = list[tuple[str, float]]


def told(automation: Automation, tale: Tale) -> list[tuple[str, float]]:
    """`T` and `R` with the second at which it fired or was over, an hour on."""
    events = [happened(name, number=place + 1, at=at) for place, (name, at) in enumerate(tale)]
    firings = simulate([automation], events, until=HOUR)
    return [(one.state[0], (one.at - START).total_seconds()) for one in firings]


TALES = [
    pytest.param(
        rule(trigger={**BAD, "within": 60}, resolve_on="opposite"),
        [("bad", 0), ("bad", 50), ("other", 55)],
        [("T", 0), ("T", 50), ("R", 110)],
        id="what comes stays away for as long",
    ),
    pytest.param(
        rule(trigger={**BAD, "within": 60}, resolve_on="opposite"),
        [("bad", 0), ("bad", 200), ("bad", 210)],
        [("T", 0), ("R", 60), ("T", 200), ("T", 210), ("R", 270)],
        id="each episode waits for itself",
    ),
    pytest.param(
        rule(trigger={**BAD, "threshold": 3, "within": 60}, resolve_on="opposite"),
        [("bad", 0), ("bad", 1), ("bad", 2), ("bad", 30), ("bad", 31), ("bad", 32)],
        [("T", 2), ("T", 32), ("R", 90)],
        id="fewer than three within a minute",
    ),
    pytest.param(
        rule(
            trigger={"posture": "Proactive", "expect": ["beat"], "within": 60, "for_each": ["tocsin.resource.id"]},
            resolve_on="opposite",
        ),
        [("beat", 0), ("beat", 30), ("beat", 200)],
        [("T", 90), ("R", 200), ("T", 260)],
        id="what was missed has come",
    ),
    pytest.param(
        rule(
            trigger={**BAD, "posture": "Proactive", "after": ["begun"], "expect": ["done"], "within": 10},
            resolve_on="opposite",
        ),
        [("begun", 0), ("done", 25)],
        [("T", 10), ("R", 25)],
        id="what should have followed has come late",
    ),
    pytest.param(
        rule(trigger=BAD, resolve_on={"expect": ["good"], "threshold": 2, "within": 10}),
        [("good", -1), ("bad", 0), ("good", 1), ("good", 30), ("good", 35)],
        [("T", 0), ("R", 35)],
        id="two good ones in a row of ten seconds",
    ),
    pytest.param(
        rule(trigger=BAD, resolve_on={"expect": ["worse"], "posture": "Proactive", "within": 20}),
        [("bad", 0), ("worse", 5), ("worse", 15)],
        [("T", 0), ("R", 35)],
        id="something else stays away",
    ),
]


@pytest.mark.parametrize(("automation", "tale", "firings"), TALES)
def test_what_ends_an_episode(automation: Automation, tale: Tale, firings: list[tuple[str, float]]) -> None:
    assert told(automation, tale) == firings


@given(st.lists(st.integers(0, 600), unique=True, max_size=12), st.integers(1, 90))
def test_the_opposite_of_an_event_is_that_it_stays_away(seconds: list[int], within: int) -> None:
    automation = rule(trigger={**BAD, "within": within}, resolve_on="opposite")
    expected: list[tuple[str, float]] = []
    for second, then in zip(sorted(seconds), [*sorted(seconds)[1:], 10_000], strict=False):
        expected.append(("T", second))
        if then > second + within:
            expected.append(("R", second + within))
    assert told(automation, [("bad", second) for second in sorted(seconds)]) == expected


REFUSED: list[Any] = [
    pytest.param({"trigger": BAD}, "give within", id="an event that is not waited for"),
    pytest.param({"trigger": {**BAD, "after": ["a"], "within": 5}}, "leave after out", id="an event after another"),
    pytest.param(
        {"trigger": {"require": "any", "triggers": [BAD]}}, "only an event trigger has an opposite", id="a composite"
    ),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_has_no_opposite_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Automation.model_validate({"name": "rule", "resolve_on": "opposite", **fields})


def test_an_edit_of_what_is_counted_ends_what_is_open() -> None:
    waits = rule(trigger={**BAD, "within": 60}, resolve_on="opposite")
    longer = rule(trigger={**BAD, "within": 90}, resolve_on="opposite")
    assert waits.closes
    assert waits.closes != longer.closes
    assert not rule(trigger=BAD, resolve_on={"expect": ["good"]}).closes

"""`simulate` answers what would have fired, without touching anything."""

from datetime import timedelta

import pytest

from tests.automations.parts import RUN, START, a_run, happened, quiet, rule
from tocsin.automations import simulate
from tocsin.automations.documents import automation_from


def test_a_simulation_tells_each_firing() -> None:
    automation = rule("late", resolve_on={"expect": ["tocsin.flow-run.Completed"]})
    events = [a_run("Failed", number=1), a_run("Running", at=1, number=2), a_run("Completed", at=2, number=3)]
    assert [one.to_json() for one in simulate([automation], events)] == [
        {
            "automation": "late",
            "state": state,
            "at": at,
            "event_id": f"00000000-0000-0000-0000-00000000000{number}",
            "labels": {"tocsin.resource.id": RUN},
            "count": 1,
            "children": [],
        }
        for state, at, number in (
            ("Triggered", "2026-03-02T09:00:00+00:00", 1),
            ("Resolved", "2026-03-02T09:00:02+00:00", 3),
        )
    ]


def test_nothing_after_until_is_looked_at() -> None:
    events = [happened("x", at=at) for at in range(5)]
    told = simulate([quiet("a", "x")], events, until=START + timedelta(seconds=2))
    assert [one.at for one in told] == [START + timedelta(seconds=second) for second in range(3)]


@pytest.mark.parametrize(
    "trigger",
    [
        pytest.param({"expect": ["x"]}, id="one event"),
        pytest.param({"expect": ["x"], "threshold": 2, "within": 60}, id="several events"),
        pytest.param(
            {"require": "any", "triggers": [{"expect": ["x"]}, {"expect": ["x"], "cooldown": 9}]}, id="any of two"
        ),
        pytest.param({"require": "all", "triggers": [{"expect": ["x"]}, {"expect": ["x"]}]}, id="all of two"),
    ],
)
def test_a_repeated_event_changes_nothing(trigger: dict[str, object]) -> None:
    automation = automation_from({"name": "a", "trigger": trigger})
    events = [(happened("x", at=at), START + timedelta(seconds=at)) for at in (0, 1, 20)]
    again = [(event, received + timedelta(seconds=after)) for after in (0, 5) for event, received in events]
    assert simulate([automation], [*events, *again]) == simulate([automation], events) != []

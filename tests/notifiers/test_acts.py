"""What people do about incidents, and storms: passed on to whoever was told, once."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from tests.notifiers.office import Office
from tocsin.events.clock import ManualClock
from tocsin.events.errors import NotFound
from tocsin.notifiers.act import Acknowledge, Resolve, Silence, Unacknowledge
from tocsin.notifiers.blocks import SlackWebhook
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.route import Route
from tocsin.notifiers.words import CALLS
from tocsin.store.engine import Store

ONCALL = Route(
    name="oncall",
    receivers=("slack", "pager", "hook"),
    group_by=("alertname",),
    group_wait=timedelta(0),
    group_interval=timedelta(seconds=60),
    repeat_interval="never",
    resolve_wait=timedelta(0),
)
EVERYBODY = ("slack", "pager", "hook")


@pytest.fixture
def office(store: Store, clock: ManualClock) -> Office:
    office = Office(store, clock)
    office.furnish(ONCALL)
    return office


def opened(office: Office, *names: str) -> UUID:
    [[incident], *_] = office.fire(*names)
    office.tell()
    return incident.id


@pytest.mark.parametrize(
    ("via", "said"),
    [
        pytest.param("", (["trigger", "acknowledge"], ["trigger", "acknowledge"], ["trigger"]), id="by hand"),
        pytest.param(
            "slack", (["trigger", "acknowledge"], ["trigger", "acknowledge"], ["trigger"]), id="slack's button"
        ),
        pytest.param("pager", (["trigger", "acknowledge"], ["trigger"], ["trigger"]), id="the pager knows already"),
    ],
)
def test_an_acknowledgement_is_passed_on(office: Office, via: str, said: tuple[list[str], ...]) -> None:
    incident = opened(office, "etl")
    for _ in range(2):
        row = office.act(incident, Acknowledge(by="ann", via=via))
    assert (row.state, row.acked_by) == ("acknowledged", "ann")
    assert tuple(office.said(name) for name in EVERYBODY) == said
    view = office.views("slack")[-1]
    assert (view.state, view.acked_by) == ("acknowledged", "ann")
    assert office.names() == ["opened", "acknowledged"]


def test_given_back_the_pager_is_called_again(office: Office) -> None:
    incident = opened(office, "etl")
    office.act(incident, Acknowledge(by="ann"))
    office.tell()
    office.act(incident, Unacknowledge(by="ann"))
    assert [office.said(name) for name in EVERYBODY] == [
        ["trigger", "acknowledge", "update"],
        ["trigger", "acknowledge", "repeat"],
        ["trigger"],
    ]


def test_acknowledged_before_the_pager_could_be_told(office: Office) -> None:
    """The call is still on its way: the pager hears both in order, and nothing takes the place of either."""
    [[incident]] = office.fire("etl")
    office.act(incident.id, Acknowledge(by="ann"))
    office.pass_time(60)
    office.take(office.alert("etl", severity="critical", subject="worse"))
    assert office.said("pager") == ["trigger", "acknowledge"]
    assert office.said("slack") == ["trigger superseded", "trigger superseded", "trigger"]
    office.over("etl")
    assert office.said("pager") == ["trigger superseded", "acknowledge superseded", "resolve superseded"]


def test_resolved_by_hand(office: Office) -> None:
    incident = opened(office, "etl")
    for _ in range(2):
        row = office.act(incident, Resolve(by="ann", via="pager"))
    assert (row.state, row.closed_by, row.firing, office.firing(incident)) == ("resolved", "ann", 0, 0)
    assert [office.said(name) for name in EVERYBODY] == [["trigger", "resolve"]] * 3
    assert office.events()[-1].payload["by"] == "ann"


def test_silenced_from_a_message(office: Office) -> None:
    incident = opened(office, "etl")
    for _ in range(2):
        office.act(incident, Silence(by="ann", span=timedelta(hours=2)))
    office.pass_time(120)
    office.take(office.alert("etl", subject="worse"))
    office.pass_time(120)
    assert office.said("slack") == ["trigger"]
    [row] = office.incidents()
    assert row.suppressed is not None
    assert "silenced by ann" in row.suppressed
    office.pass_time(7200)
    assert office.said("slack") == ["trigger", "update"]
    assert len(office.events("tocsin.silence.added")) == 1


def test_what_is_silenced_is_not_listed_and_its_end_is_told(office: Office) -> None:
    incident = opened(office, "etl")
    office.act(incident, Silence(by="ann", span=timedelta(hours=2)))
    office.over("etl")
    assert office.said("pager") == ["trigger", "resolve"]
    office.fire("etl", source="etl/2")
    assert office.said("pager") == ["trigger", "resolve"]
    office.over("etl", source="etl/2")
    assert [row.state for row in office.incidents()] == ["resolved", "resolved"]
    assert office.said("pager") == ["trigger", "resolve"]


def test_an_incident_that_is_over_or_unknown(office: Office) -> None:
    incident = opened(office, "etl")
    office.over("etl")
    before = office.said("slack")
    assert office.act(incident, Acknowledge(by="ann")).state == "resolved"
    assert office.said("slack") == before
    with pytest.raises(NotFound, match="no incident has the id"):
        office.act(uuid4(), Acknowledge(by="ann"))


def test_a_storm_is_told_as_one(office: Office) -> None:
    names = [f"etl{number:03}" for number in range(100)]
    for start in range(0, 100, 10):
        office.fire(*names[start : start + 10], to="@pager")
        office.pass_time(1)
    office.pass_time(5)
    told = [row for row in office.deliveries("pager") if row.state == "pending"]
    assert len(told) == CALLS + 1
    storm = next(row for row in office.incidents() if row.route == "storm")
    assert (storm.state, storm.firing, storm.severity) == ("open", 80, "error")
    view = next(view for view in office.views("pager") if view.incident == storm.id)
    assert view.subject.endswith("incidents for pager")
    office.tell()
    office.pass_time(60)
    office.over(*names, to="@pager")
    office.pass_time(120)
    assert {row.state for row in office.incidents()} == {"resolved"}
    ends = [row for row in office.deliveries("pager") if row.action == "resolve" and row.state == "pending"]
    assert len(ends) == CALLS + 1


@pytest.mark.parametrize(("most", "told"), [(None, 60), (5, 6)])
def test_how_many_are_a_storm_is_the_notifiers_own(office: Office, most: int | None, told: int) -> None:
    with office.store.begin() as session:
        put_notifier(
            session, SlackWebhook(name="hook", url=SecretStr("https://hooks.example/services/T/B/x"), storm=most)
        )
    office.fire(*[f"a{number}" for number in range(60)], to="@hook")
    office.pass_time(10)
    assert office.said("hook").count("trigger") == told


def test_a_storm_of_one_receiver_is_not_that_of_another(office: Office) -> None:
    office.fire(*[f"a{number}" for number in range(CALLS + 5)], to="@pager")
    office.fire("b", to="@slack")
    assert office.said("slack") == ["trigger"]
    office.pass_time(3600)
    office.over(*[f"a{number}" for number in range(CALLS + 5)], to="@pager")
    office.pass_time(3600)
    office.fire("c", to="@pager")
    assert office.said("pager")[-1] == "trigger"


@pytest.mark.parametrize("key", ["storm/", "storm/slack", "storm/slack/x", f"storm/slack/{UUID(int=7)}"])
def test_a_key_that_looks_like_that_of_a_storm_is_a_key(office: Office, key: str) -> None:
    office.fire(key, to="@slack")
    assert [(row.key, row.route, row.state) for row in office.incidents()] == [(key, "", "open")]
    office.over(key, to="@slack")
    assert office.said("slack") == ["trigger superseded", "resolve superseded"]

"""Incidents and deliveries as people on call ask for them: lists, what people do, and why somebody was told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from tocsin.events.clock import ManualClock
from tocsin.events.errors import Conflict, Invalid, NotFound
from tocsin.notifiers.act import Acknowledge, Resolve, Silence
from tocsin.notifiers.alert import Alert, ToNotifier, ToRoute
from tocsin.notifiers.blocks import SlackWebhook
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.route import Route
from tocsin.notifiers.routes import put_route, remove_route
from tocsin.notifiers.standins import Fail, SlackStandIn
from tocsin.notifiers.take import take
from tocsin.server import oncall, oncall_acts, oncall_explain
from tocsin.store.engine import Store

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
Cli = Callable[..., str]
ROUTE = {
    "name": "oncall",
    "receivers": ["slack"],
    "group_by": ["team"],
    "group_wait": "0s",
    "escalation": [{"after": "5m", "receivers": ["boss"]}],
    "routes": [{"name": "db", "matchers": ['team=~"db.*"'], "group_wait": "30s"}],
}


def alert(subject: str, route: str = "", at: datetime = NOW, **more: Any) -> Alert:
    to = ToRoute(route) if route else ToNotifier("slack")
    known: dict[str, Any] = {"source": f"{subject}/1", "identity": subject, "subject": subject, "labels": {}}
    return Alert(**{**known, "event_id": uuid4(), "at": at, "to": to, "body": "12 % bad rows", **more})


def fill(store: Store) -> dict[str, UUID]:
    """A direct incident, and two by a route: one told at once, one that waits for its group. Ids by subject."""
    with store.begin() as session:
        for name in ("slack", "boss"):
            put_notifier(
                session, SlackWebhook(name=name, url=SecretStr("https://hooks.slack.com/services/T/B/secret1"))
            )
        put_route(session, Route.model_validate(ROUTE), NOW)
        alerts = [
            alert("direct", labels={"flow": "etl"}),
            alert("web down", "oncall", labels={"team": "web", "host": "a"}),
            alert("web slow", "oncall", at=NOW + timedelta(seconds=1), labels={"team": "web", "host": "b"}),
            alert("db down", "oncall", labels={"team": "db1"}),
        ]
        taken = take(session, alerts, NOW)
    return {one.subject: incidents[0].id for one, incidents in zip(alerts, taken, strict=True)}


@pytest.fixture
def ids(store: Store) -> dict[str, UUID]:
    return fill(store)


# --- lists ---

LISTED: list[tuple[str, dict[str, Any], set[str]]] = [
    ("all", {}, {"direct", "web down", "db down"}),
    ("live", {"state": "live"}, {"direct", "web down", "db down"}),
    ("waiting", {"state": "waiting"}, {"db down"}),
    ("over", {"state": "resolved"}, set()),
    ("a route and its children", {"route": "oncall"}, {"web down", "db down"}),
    ("a child", {"route": "oncall/db"}, {"db down"}),
    ("no name of a route is a prefix of another", {"route": "onc"}, set()),
    ("a label of a group", {"labels": {"team": "web"}}, {"web down"}),
    ("a label of one of several alerts", {"labels": {"host": "b"}}, {"web down"}),
    ("labels of different alerts", {"labels": {"host": "b", "team": "db1"}}, set()),
    ("a label of its only alert", {"labels": {"flow": "etl"}}, {"direct"}),
    ("every label", {"labels": {"team": "web", "flow": "etl"}}, set()),
]


def test_incidents_are_listed_by_filter(store: Store, ids: dict[str, UUID]) -> None:
    with store.read() as session:
        for name, filters, subjects in LISTED:
            found = {one.id for one in oncall.incidents(session, **filters)}
            assert found == {ids[subject] for subject in subjects}, name


def test_an_incident_is_found_by_the_first_letters_of_its_id(store: Store, ids: dict[str, UUID]) -> None:
    wanted = ids["direct"]
    with store.read() as session:
        assert oncall.incident_named(session, str(wanted)) == wanted
        assert oncall.incident_named(session, str(wanted)[:8].upper()) == wanted
        assert oncall.incident_named(session, str(wanted)[-12:]) == wanted, "what a message in Slack shows"
        with pytest.raises(NotFound, match="no incident has an id that begins or ends with 'zzzzzzzz'"):
            oncall.incident_named(session, "zzzzzzzz")
        with pytest.raises(Invalid, match=f"'{str(wanted)[:3]}' is too short for an id; give 4 letters"):
            oncall.incident_named(session, str(wanted)[:3])


def test_an_incident_is_shown_with_its_story_and_what_comes_next(store: Store, ids: dict[str, UUID]) -> None:
    with store.read() as session:
        web, db = (oncall.incident(session, ids[one], NOW) for one in ("web down", "db down"))
    assert (web.state, web.counts, [one.subject for one in web.alerts]) == (
        "open", {"firing": 2}, ["web slow", "web down"],
    )  # fmt: skip
    assert [one.what for one in web.timeline] == ["first alert: web down", "opened"]
    assert [one.told for one in web.people] == ["no", "no"]
    assert "slack: trigger, try 1" in [one.what for one in web.next]
    assert (NOW + timedelta(minutes=5), "escalation, step 1 of 1: boss, unless somebody is at it") in [
        (one.at, one.what) for one in web.next
    ]
    assert (db.state, db.answer) == ("waiting", "nobody is told yet: its group still waits for more")
    assert [(one.at, one.what) for one in db.next] == [
        (NOW + timedelta(seconds=30), "its first word, to slack, unless it is over by then")
    ]


async def test_attempts_are_told_in_the_story_and_of_the_delivery(store: Store) -> None:
    clock = ManualClock(NOW)
    dispatcher = Dispatcher(store, clock, jitter=lambda: 0.5)
    with SlackStandIn() as slack:
        with store.begin() as session:
            put_notifier(session, SlackWebhook(name="slack", url=SecretStr(slack.url)))
            [[row]] = take(session, [alert("direct")], NOW)
        slack.fail(Fail(500, "no"))
        for _ in range(2):
            await dispatcher.run_due()
            clock.advance(timedelta(seconds=1))
    await dispatcher.close()
    with store.read() as session:
        found = oncall.incident(session, row.id, clock.now())
        [listed] = oncall.deliveries(session, incident=row.id, state="delivered")
        delivery = oncall.delivery(session, oncall.delivery_named(session, str(listed.id)[:6]))
    told = [one.what.split(",")[0] for one in found.timeline]
    assert told == ["first alert: direct", "opened", "slack: trigger later", "slack: trigger delivered"]
    assert (found.answer, found.next) == ("told: slack", [])
    assert [(one.outcome, one.status) for one in delivery.attempts] == [("later", 500), ("delivered", 200)]


def test_a_member_of_a_storm_names_the_storm_and_the_storm_its_members(store: Store, ids: dict[str, UUID]) -> None:
    with store.begin() as session:
        taken = take(session, [alert(f"table {number}", labels={"n": str(number)}) for number in range(25)], NOW)
    with store.read() as session:
        member = oncall.incident(session, taken[-1][0].id, NOW)
        [(slack)] = [one for one in member.people if one.receiver == "slack"]
        assert slack.why.startswith("a storm speaks for it: incident ")
        storm = oncall.incident(session, UUID(slack.why.rpartition(" ")[2]), NOW)
        assert (storm.route, storm.grouped) == ("storm", {"receiver": "slack"})
        assert str(member.id) in {one.source for one in storm.alerts}
        [explained] = oncall_explain.of_incident(session, member.id, NOW).incidents
    assert explained.storms == {"slack": str(storm.id)}
    assert storm.notes == ["it is a storm: it speaks for other incidents, which are its alerts"]


# --- what people do ---


def test_what_is_done_is_done_once_and_not_after_the_end(store: Store, ids: dict[str, UUID]) -> None:
    web = ids["web down"]
    with store.begin() as session:
        for _ in range(2):
            acked = oncall_acts.do(session, web, Acknowledge("ann"), NOW)
            assert (acked.state, acked.acked_by) == ("acknowledged", "ann")
        made = oncall_acts.silence(session, web, Silence("ann", timedelta(hours=2), comment="fixing"), NOW)
        assert (made.author, made.ends, made.comment) == ("ann", NOW + timedelta(hours=2), "fixing")
        for _ in range(2):
            over = oncall_acts.do(session, web, Resolve("ann"), NOW)
            assert (over.state, over.closed_by, over.firing) == ("resolved", "ann", 0)
        with pytest.raises(Conflict, match="is resolved since 2026-03-02 03:00:00Z"):
            oncall_acts.do(session, web, Acknowledge("bob"), NOW)
    with store.read() as session:
        told = [one.what for one in oncall.incident(session, web, NOW).timeline]
    assert told[2:4] == ["acknowledged by ann", "resolved by ann; to be told: nobody"]


# --- why ---


def test_an_incident_is_explained_by_the_route_and_the_values_it_saw(store: Store, ids: dict[str, UUID]) -> None:
    with store.read() as session:
        found = oncall_explain.of_incident(session, ids["db down"], NOW)
    [incident] = found.incidents
    assert (found.answer, incident.route) == ("nobody is told yet: its group still waits for more", "oncall/db")
    [db] = [one for one in incident.alerts[0].route if one.path == "oncall/db"]
    assert [(one.matcher, one.saw, one.held) for one in db.asked] == [('team=~"db.*"', "db1", True)]
    with store.begin() as session:
        remove_route(session, "oncall")
    with store.read() as session:
        [incident] = oncall_explain.of_incident(session, ids["db down"], NOW).incidents
    assert incident.notes == ['the route "oncall" is no longer there; the incident goes on by the policy it had']


def test_a_silenced_incident_says_by_whom_and_until_when(store: Store, ids: dict[str, UUID]) -> None:
    with store.begin() as session:
        oncall_acts.silence(session, ids["db down"], Silence("ann", timedelta(hours=2), comment="fixing"), NOW)
    with store.read() as session:
        [incident] = oncall_explain.of_incident(session, ids["db down"], NOW).incidents
    assert incident.alerts[0].quiet == "silenced by ann until 2026-03-02 05:00:00Z: fixing"

"""From an event to who was told of it: explanations and previews, on the command line and over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlmodel import select

from tests.automations.parts import START, decided, define, happened
from tests.server.conftest import Api
from tocsin.automations.model import Automation
from tocsin.events.clock import ManualClock
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import Event
from tocsin.notifiers.blocks import PagerDuty, SlackWebhook
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.registry import put_notifier, remove_notifier
from tocsin.notifiers.route import Route
from tocsin.notifiers.routes import put_route
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.server import oncall_explain, oncall_preview
from tocsin.server.cli import main
from tocsin.store.engine import Store

Cli = Callable[..., str]
KEY = "0123456789abcdef0123456789abcdef"
CLOCK = ManualClock(START)

FAILED = happened("load.failed", "orders", number=1, labels={"team": "db"})
AGAIN = happened("load.failed", "orders", number=2, labels={"team": "db"}, at=60)
OTHER = happened("load.renamed", "orders", number=3)
SLOW = happened("load.slow", "orders", number=4)


def telling(name: str, expect: str, **more: Any) -> Automation:
    trigger = {"expect": [expect], "for_each": ["tocsin.resource.id"], **more.pop("trigger", {})}
    actions = [{"type": "send-notification", **more.pop("to", {"route": "oncall"})}]
    return Automation.model_validate({"name": name, "trigger": trigger, "actions": actions, **more})


def furnish(store: Store) -> None:
    """Notifiers, a route, and automations: one fires at once, one on the third, one tells a notifier directly."""
    with store.begin() as session:
        put_notifier(session, SlackWebhook(name="hook", url=SecretStr("https://hooks.slack.com/services/T/B/secret1")))
        put_notifier(session, PagerDuty(name="pager", routing_key=SecretStr(KEY)))
        night = {"name": "night", "match": {"severity": "critical"}, "receivers": ["pager"]}
        route = {
            "name": "oncall",
            "receivers": ["hook"],
            "group_by": ["alertname"],
            "group_wait": "0s",
            "routes": [night],
        }
        put_route(session, Route.model_validate(route), START)
    define(
        store,
        telling("late", "load.failed", severity="critical", resolve_on={"expect": ["load.done"]}),
        telling("often", "load.slow", trigger={"threshold": 3, "within": "PT1H"}),
        telling("direct", "load.lost", to={"notifier": "hook"}),
    )
    asyncio.run(decided(store, CLOCK, FAILED, OTHER, SLOW))


@pytest.fixture
def furnished(store: Store) -> Store:
    furnish(store)
    return store


def paged(store: Store, event: Event) -> oncall_explain.Paged:
    with store.read() as session:
        return oncall_explain.of_event(session, event.id, START)


# --- why ---


def test_an_event_is_followed_to_its_incident_and_deliveries(furnished: Store) -> None:
    found = paged(furnished, FAILED)
    assert found.answer == "nobody was told: pager: trigger waits for a dispatcher since 2026-03-02 09:00:00Z"
    assert [one.automation for one in found.automations] == ["late"]
    [incident] = found.incidents
    assert (incident.route, incident.state) == ("oncall/night", "open")
    assert [(one.receiver, one.action, one.state) for one in incident.deliveries] == [("pager", "trigger", "pending")]
    assert [one.path for one in incident.alerts[0].route if one.came_of_it == "takes it"] == ["oncall/night"]
    assert found.event is not None
    assert (found.event.id, found.event.event) == (FAILED.id, "load.failed")
    with furnished.read() as session:
        by_incident = oncall_explain.of_incident(session, incident.incident, START)
        by_labels = oncall_explain.of_alerts(session, read_matchers('alertname="late"'), START)
    assert by_incident == found
    assert by_labels.incidents == found.incidents


def test_an_event_that_fired_nothing_is_handed_over_to_the_automations(furnished: Store) -> None:
    counted = paged(furnished, SLOW)
    assert counted.answer == "nobody was told: no automation that tells people fired on it"
    assert [(one.automation, one.answer) for one in counted.automations] == [
        ("often", "did not fire: counted 1 of 3, until 2026-03-02 10:00:00Z")
    ]
    missed = paged(furnished, OTHER)
    assert (missed.automations, missed.incidents) == ([], [])
    assert [one.automation for one in missed.unmatched] == ["direct", "late", "often"]
    assert missed.unmatched[1].why == "no match: expect: wanted load.failed, saw load.renamed"


def test_a_notification_that_could_not_be_put_down_is_the_answer(furnished: Store) -> None:
    with furnished.begin() as session:
        remove_notifier(session, "hook")
    lost = happened("load.lost", number=5)
    asyncio.run(decided(furnished, CLOCK, lost))
    found = paged(furnished, lost)
    assert (found.answer, found.incidents) == ("nobody was told: direct fired, its notification is due", [])


def test_an_event_of_an_incident_is_explained_by_that_incident(furnished: Store) -> None:
    [incident] = paged(furnished, FAILED).incidents
    with furnished.read() as session:
        row = session.exec(select(Delivery)).one()
        assert row.incident_id == incident.incident
    for resource in (f"tocsin.incident.{incident.incident}", f"tocsin.delivery.{row.id}"):
        about = happened("some.thing", resource)
        asyncio.run(decided(furnished, CLOCK, about))
        assert [one.incident for one in paged(furnished, about).incidents] == [incident.incident]
    nonsense = happened("some.thing", "tocsin.incident.of-mine")
    asyncio.run(decided(furnished, CLOCK, nonsense))
    assert paged(furnished, nonsense).incidents == []


def test_what_nobody_knows_is_said(furnished: Store) -> None:
    with furnished.read() as session:
        with pytest.raises(NotFound, match="no event in the log has the id"):
            oncall_explain.of_event(session, Event(event="x", resource={}).id, START)
        with pytest.raises(NotFound, match='no alert on record fits team="web"; `tocsin route test`'):
            oncall_explain.of_alerts(session, read_matchers('team="web"'), START)


# --- previews ---


async def preview(store: Store, name: str, event: Event, **more: Any) -> dict[str, Any]:
    [found] = await oncall_preview.of_event(store, name, event.id, CLOCK, **more)
    return {"automation": found.automation, "action": found.action, "route": found.route, "notes": found.notes}


async def test_a_preview_of_an_event_is_what_its_automation_says(store: Store) -> None:
    await asyncio.to_thread(furnish, store)
    known = {"automation": "late", "action": "trigger", "route": "oncall/night"}
    found = await preview(store, "pager", FAILED)
    assert {name: found[name] for name in known} == known
    assert "has an open incident" in found["notes"][0]
    counted = await preview(store, "hook", SLOW)
    assert (counted["automation"], counted["notes"]) == ("often", [oncall_preview.NOT_YET])
    with store.read() as session:
        [incident] = session.exec(select(Incident)).all()
        [delivery] = session.exec(select(Delivery)).all()
    [message] = await oncall_preview.of_event(store, "pager", FAILED.id, CLOCK)
    summary = message.body["payload"]["summary"]
    assert (summary, incident.subject) == (delivery.view["subject"], delivery.view["subject"])


REFUSED: list[tuple[str, str, Event, dict[str, Any], type[Exception], str]] = [
    ("nobody tells it of that", "hook", OTHER, {}, Invalid, "concerns no automation that tells hook: direct: no match"),
    ("it goes elsewhere", "hook", FAILED, {}, Invalid, "by its route it does not come to hook"),
    ("one that does not tell it", "pager", FAILED, {"automation": "direct"}, Invalid, "no automation tells pager"),
    ("an unknown automation", "hook", FAILED, {"automation": "nobody"}, NotFound, "nobody"),
    ("an unknown notifier", "slak", FAILED, {}, NotFound, 'unknown notifier "slak"; known: hook, pager'),
    ("an unknown event", "hook", happened("x", number=99), {}, NotFound, "no event in the log"),
]


async def test_why_there_is_no_preview(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    await asyncio.to_thread(furnish, store)
    for case, name, event, more, error, said in REFUSED:
        with pytest.raises(error) as refused:
            await preview(store, name, event, **more)
        assert said in str(refused.value), case
    store.close()


# --- on the command line ---


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one `tocsin` in this process and gives what it printed."""
    store = Store.open()
    furnish(store)
    store.close()

    def run(*words: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ending:
            main(words)
        printed = capsys.readouterr()
        assert ending.value.code == code, printed.err
        return printed.out + printed.err

    return run


def test_an_incident_goes_its_way_on_the_command_line(cli: Cli) -> None:
    [listed] = json.loads(cli("incident", "ls", "--state", "live", "--route", "oncall", "-o", "json"))
    short = listed["id"][:8]
    assert json.loads(cli("incident", "ls", "--label", "team=web", "-o", "json")) == []
    shown = cli("incident", "show", short)
    assert shown.startswith("critical: late: orders\n")
    assert "who knows\n  pager: no, trigger waits for a dispatcher since " in shown
    [acked] = json.loads(cli("incident", "ack", short, "--for", "2h", "--by", "ann", "-o", "json"))
    assert (acked["state"], acked["acked_by"]) == ("acknowledged", "ann")
    [unacked] = json.loads(cli("incident", "unack", short, "-o", "json"))
    assert (unacked["state"], unacked["acked_by"]) == ("open", "")
    silence = json.loads(cli("incident", "silence", short, "--for", "1d12h", "--comment", "asleep", "-o", "json"))
    assert silence["comment"] == "asleep"
    [resolved] = json.loads(cli("incident", "resolve", short, "--by", "ann", "-o", "json"))
    assert (resolved["state"], resolved["closed_by"]) == ("resolved", "ann")
    assert "is resolved since" in cli("incident", "ack", short, code=1)
    story = json.loads(cli("incident", "show", short, "-o", "json"))["timeline"]
    told = [one["what"].partition(" until")[0] for one in story]
    assert (told[2], "resolved by ann; to be told: nobody" in told) == ("acknowledged by ann", True)


USAGE: list[tuple[str, tuple[str, ...], str]] = [
    ("no incident", ("incident", "ack"), "which incident?"),
    ("an unknown one", ("incident", "ack", "zzzzzzzz"), "no incident has an id that begins or ends with 'zzzzzzzz'"),
    ("a bad span", ("incident", "ack", "zzzzzzzz", "--for", "soon"), "--for soon: a span is needed"),
    ("nothing to explain", ("incident", "explain"), "explain what?"),
    ("two to explain", ("incident", "explain", "abcd", "--alert", 'a="b"'), "explain what?"),
    ("nothing to preview", ("notifier", "preview", "hook"), "preview what?"),
    ("a file that is not there", ("notifier", "preview", "hook", "--alert", "nowhere.json"), "No such file"),
    ("no delivery", ("delivery", "redrive"), "which deliveries?"),
    ("both ways", ("delivery", "redrive", "abcd", "--dead"), "which deliveries?"),
]


def test_a_mistake_is_told_with_the_way_out(cli: Cli) -> None:
    for name, words, said in USAGE:
        assert said in cli(*words, code=1), name


def test_explanations_are_told_to_people_and_to_programs(cli: Cli) -> None:
    told = cli("incident", "explain", "--event", str(FAILED.id))
    assert "\n  late: fired, count 1\n" in told
    assert "\n      oncall/night takes it: ok severity=\"critical\" saw 'critical'\n" in told
    assert "\n  pager: trigger, revision 1, pending, delivery " in told
    missed = cli("incident", "explain", "--event", str(OTHER.id))
    assert "\n  late: no match: expect: wanted load.failed, saw load.renamed\n" in missed
    [incident] = json.loads(cli("incident", "explain", "--alert", 'alertname="late"', "-o", "json"))["incidents"]
    assert json.loads(cli("incident", "explain", incident["incident"], "-o", "json"))["incidents"] == [incident]


def test_deliveries_are_listed_shown_and_driven_again(cli: Cli) -> None:
    [listed] = json.loads(cli("delivery", "ls", "--receiver", "pager", "--state", "pending", "-o", "json"))
    shown = json.loads(cli("delivery", "show", listed["id"][:8], "-o", "json"))
    assert (shown["subject"], shown["attempts"], shown["view"]["route"]) == ("late: orders", [], "oncall/night")
    assert "receiver     pager\n" in cli("delivery", "show", listed["id"])
    [same] = json.loads(cli("delivery", "redrive", listed["id"], "-o", "json"))
    assert (same["put"], same["why"]) == (None, "its newest word (trigger) is on its way already")
    assert cli("delivery", "redrive", "--dead", "--receiver", "pager") == "no dead deliveries\n"
    assert json.loads(cli("delivery", "ls", "--incident", listed["incident_id"][:8], "-o", "json")) == [listed]


def test_a_preview_is_printed_without_the_key(cli: Cli, tmp_path: Path) -> None:
    [found] = json.loads(cli("notifier", "preview", "pager", "--event", str(FAILED.id), "--automation", "late"))
    assert (found["automation"], found["body"]["payload"]["summary"]) == ("late", "late: orders")
    file = tmp_path / "alert.json"
    file.write_text(json.dumps({"subject": f"the key is {KEY}", "route": "oncall", "labels": {"severity": "critical"}}))
    printed = cli("notifier", "preview", "pager", "--alert", str(file), "--minimal")
    assert (KEY in printed, json.loads(printed)[0]["minimal"]) == (False, True)


# --- over HTTP ---


async def test_people_on_call_are_served_over_http(api: Api, store: Store) -> None:
    await asyncio.to_thread(furnish, store)
    [listed] = (await api.get("/api/incidents?state=live&label=severity=critical&label=alertname=late")).json()
    at = f"/api/incidents/{listed['id']}"
    assert (await api.get(at)).json()["people"][0]["receiver"] == "pager"
    explained = (await api.get(f"{at}/explain")).json()
    assert explained == (await api.get(f"/api/incidents/explain?event={FAILED.id}")).json()
    labels = {"alert": 'alertname="late"'}
    assert (await api.get("/api/incidents/explain", params=labels)).json()["incidents"] == explained["incidents"]
    assert (await api.get("/api/incidents/explain")).status == 422
    acked = await api.post(f"{at}/acknowledge", json={"by": "ann", "for": "2h"})
    assert (acked.status, acked.json()["acked_by"]) == (200, "ann")
    assert (await api.post(f"{at}/acknowledge", json={"for": "2h", "until": START.isoformat()})).status == 422
    assert (await api.post(f"{at}/unacknowledge")).json()["state"] == "open"
    silenced = await api.post(f"{at}/silence", json={"by": "ann", "for": 3600})
    assert silenced.json()["author"] == "ann"
    assert (await api.post(f"{at}/resolve", json={"by": "ann"})).json()["closed_by"] == "ann"
    assert (await api.post(f"{at}/acknowledge", json={"by": "ann"})).status == 409
    assert (await api.get("/api/incidents/00000000-0000-0000-0000-000000000000")).status == 404
    assert (await api.get("/api/incidents?state=wrong")).status == 422


async def test_deliveries_and_previews_are_served_over_http(api: Api, store: Store) -> None:
    await asyncio.to_thread(furnish, store)
    [listed] = (await api.get("/api/deliveries?receiver=pager&state=pending")).json()
    shown = (await api.get(f"/api/deliveries/{listed['id']}")).json()
    assert (shown["subject"], shown["attempts"]) == ("late: orders", [])
    again = await api.post(f"/api/deliveries/{listed['id']}/redrive")
    assert (again.status, again.json()["put"]) == (200, None)
    assert (await api.post("/api/deliveries/redrive", json={"receiver": "pager"})).json() == []
    assert (await api.post("/api/deliveries/redrive", json={"since": "2026-01-01T00:00:00"})).status == 422
    [message] = (await api.get(f"/api/notifiers/pager/preview?event={FAILED.id}")).json()
    assert message["body"]["event_action"] == "trigger"
    own = await api.post("/api/notifiers/hook/preview?minimal=true", json={"subject": "x"})
    assert (own.json()["action"], own.json()["minimal"]) == ("trigger", True)
    assert (await api.post("/api/notifiers/hook/preview", json={"colour": "red"})).status == 422

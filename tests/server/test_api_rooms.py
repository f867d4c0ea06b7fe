"""Automations, deployments, runs, schedules, notifiers and incidents over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from tests.server.conftest import Api, serving
from tocsin.automations import CallWebhook
from tocsin.automations import store as stored
from tocsin.automations.secrets import reveal
from tocsin.events.clock import SystemClock
from tocsin.flows.deployments import Deployment
from tocsin.notifiers import SlackWebhook, put_notifier
from tocsin.notifiers.outbox import notify
from tocsin.notifiers.standins import SlackStandIn
from tocsin.server.settings import Settings
from tocsin.store.engine import Store
from tocsin.triggers.schedules import Interval
from tocsin.triggers.store import put_schedule

NOW = SystemClock().now
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
RULE: dict[str, Any] = {
    "trigger": {"expect": ["tocsin.flow-run.Failed"], "threshold": 1},
    "actions": [{"type": "do-nothing"}],
}


@dataclass(frozen=True)
class Place:
    """A server and its database."""

    api: Api
    store: Store


@pytest.fixture
async def place(sqlite_url: str) -> AsyncIterator[Place]:
    store = Store.open(sqlite_url)
    deployment = Deployment(name="etl", entrypoint="etl.py:etl", flow_name="etl", parameters={"day": "today"})
    deployment.apply(store, now=NOW())
    async with serving(store, Settings(port=0)) as api:
        yield Place(api, store)
    store.close()


async def test_an_automation_is_put_shown_switched_and_forgotten(place: Place) -> None:
    put = await place.api.ask("PUT", "/api/automations/late", json=RULE)
    assert (put.status, put.json()["name"], put.json()["enabled"]) == (200, "late", True)
    again = await place.api.ask("PUT", "/api/automations/late", json=put.json()["definition"])
    assert again.json()["updated"] == put.json()["updated"]
    assert [one["name"] for one in (await place.api.get("/api/automations")).json()] == ["late"]
    off = await place.api.ask("PATCH", "/api/automations/late", json={"enabled": False})
    assert off.json()["enabled"] is False
    assert (await place.api.ask("DELETE", "/api/automations/late")).status == 204
    gone = await place.api.get("/api/automations/late")
    assert (gone.status, "late" in gone.json()["detail"]) == (404, True)


BAD_RULES: list[tuple[str, Any, str]] = [
    ("no trigger", {"actions": []}, "trigger"),
    ("unknown field", {**RULE, "colour": "red"}, "colour"),
    ("another name", {**RULE, "name": "early"}, "early"),
    ("our own name", RULE, "tocsin"),
    ("not an object", [], "valid dictionary"),
]


@pytest.mark.parametrize(("rule", "said"), [row[1:] for row in BAD_RULES], ids=[row[0] for row in BAD_RULES])
async def test_a_bad_automation_is_refused_by_field(place: Place, rule: Any, said: str) -> None:
    name = "tocsin.schedules" if said == "tocsin" else "late"
    answer = await place.api.ask("PUT", f"/api/automations/{name}", json=rule)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert said in answer.json()["detail"]
    assert (await place.api.get("/api/automations")).json() == []


async def test_a_webhooks_secret_is_never_shown_and_its_mask_keeps_it(place: Place) -> None:
    action = {"type": "call-webhook", "url": "https://example.org/hook", "payload": {}, "secret": SECRET}
    put = await place.api.ask("PUT", "/api/automations/hook", json={**RULE, "actions": [action]})
    assert put.status == 200, put.body
    shown = await place.api.get("/api/automations/hook")
    assert SECRET not in put.body.decode() + shown.body.decode()
    definition = shown.json()["definition"]
    back = await place.api.ask("PUT", "/api/automations/hook", json={**definition, "severity": "info"})
    with place.store.read() as session:
        [kept] = stored.get(session, "hook").automation.actions
    assert isinstance(kept, CallWebhook)
    assert kept.secret is not None
    assert (back.status, reveal(kept.secret.get_secret_value())) == (200, SECRET)
    definition["actions"][0]["url"] = "https://evil.example/"
    moved = await place.api.ask("PUT", "/api/automations/hook", json=definition)
    assert (moved.status, "secret" in moved.json()["detail"]) == (422, True)


async def test_a_deployment_is_run_once_a_key(place: Place) -> None:
    path = "/api/deployments/etl/runs"
    first = await place.api.post(path, json={"parameters": {"n": 1}, "key": "k"})
    assert (first.status, first.json()["parameters"]) == (201, {"day": "today", "n": 1})
    assert (await place.api.post(path, json={"key": "k"})).json()["id"] == first.json()["id"]
    assert (await place.api.post(path)).json()["id"] != first.json()["id"]
    runs = (await place.api.get("/api/runs?deployment=etl&state=scheduled")).json()
    assert len(runs) == 2
    assert (await place.api.get("/api/runs?state=failed")).json() == []


async def test_an_unknown_deployment_is_named_with_those_there_are(place: Place) -> None:
    answer = await place.api.post("/api/deployments/elt/runs", json={})
    assert (answer.status, "etl" in answer.json()["detail"]) == (404, True)
    assert [row["name"] for row in (await place.api.get("/api/deployments")).json()] == ["etl"]
    assert (await place.api.get("/api/deployments/etl")).json()["parameters"] == {"day": "today"}
    assert [row["name"] for row in (await place.api.get("/api/work-pools")).json()] == ["default"]


async def test_a_run_is_shown_cancelled_and_not_tried_again(place: Place) -> None:
    run = (await place.api.post("/api/deployments/etl/runs")).json()["id"]
    shown = (await place.api.get(f"/api/runs/{run}")).json()
    assert (shown["state_name"], shown["tasks"]) == ("Scheduled", [])
    assert (await place.api.get(f"/api/runs/{run}/logs")).json() == []
    refused = await place.api.post(f"/api/runs/{run}/retry")
    assert (refused.status, "failed or crashed" in refused.json()["detail"]) == (409, True)
    assert (await place.api.post(f"/api/runs/{run}/cancel")).json()["state_name"] == "Cancelled"


@pytest.mark.parametrize("path", ["", "/logs"])
async def test_an_unknown_run_is_not_found(place: Place, path: str) -> None:
    answer = await place.api.get(f"/api/runs/{uuid.uuid4()}{path}")
    assert (answer.status, "tocsin run ls" in answer.json()["detail"]) == (404, True)


@pytest.mark.parametrize("verb", ["retry", "cancel"])
async def test_an_unknown_run_cannot_be_changed(place: Place, verb: str) -> None:
    assert (await place.api.post(f"/api/runs/{uuid.uuid4()}/{verb}")).status == 404


async def test_a_time_without_a_zone_is_refused(place: Place) -> None:
    answer = await place.api.post("/api/deployments/etl/runs", json={"scheduled": "2026-03-02T09:00:00"})
    assert (answer.status, "time zone" in answer.json()["detail"]) == (422, True)


async def test_a_schedule_is_listed_and_previewed(place: Place) -> None:
    with place.store.begin() as session:
        put_schedule(session, "hourly", Interval(timedelta(hours=1)), deployment="etl", now=NOW())
    assert [row["slug"] for row in (await place.api.get("/api/schedules?deployment=etl")).json()] == ["hourly"]
    assert len((await place.api.get("/api/schedules/hourly/preview?count=3")).json()) == 3
    assert (await place.api.get("/api/schedules/hourly/preview?count=0")).status == 422
    assert (await place.api.get("/api/schedules/none/preview")).status == 404


async def test_a_notifier_is_listed_without_its_secret_and_tested(place: Place) -> None:
    with SlackStandIn() as slack:
        with place.store.begin() as session:
            put_notifier(session, SlackWebhook(name="team", url=SecretStr(slack.url)))
        listed = await place.api.get("/api/notifiers")
        assert [row["name"] for row in listed.json()] == ["team"]
        assert slack.url not in listed.body.decode()
        tried = await place.api.post("/api/notifiers/team/test")
        assert (tried.status, tried.json()["outcome"], len(slack.messages)) == (200, "delivered", 1)
    unknown = await place.api.post("/api/notifiers/taem/test")
    assert (unknown.status, "team" in unknown.json()["detail"]) == (404, True)


async def test_incidents_and_deliveries_are_listed(place: Place) -> None:
    with place.store.begin() as session:
        put_notifier(session, SlackWebhook(name="team", url=SecretStr("https://hooks.slack.com/services/T/B/c")))
        notify(
            session,
            notifier="team",
            incident_key="etl",
            action="trigger",
            subject="etl failed",
            body="",
            severity="error",
            labels={},
            event_id=uuid.uuid4(),
            now=NOW(),
        )
    (incident,) = (await place.api.get("/api/incidents?state=open")).json()
    assert (incident["subject"], incident["state"]) == ("etl failed", "open")
    (delivery,) = (await place.api.get(f"/api/deliveries?incident={incident['id']}")).json()
    assert (delivery["receiver"], delivery["state"]) == ("team", "pending")
    assert (await place.api.get("/api/incidents?state=resolved")).json() == []
    assert (await place.api.get("/api/deliveries?state=dead")).json() == []


async def test_nothing_has_fired_yet(place: Place) -> None:
    assert (await place.api.get("/api/firings")).json() == []
    assert (await place.api.get("/api/invocations?state=due")).json() == []


async def test_health_and_readiness(place: Place) -> None:
    health = (await place.api.get("/api/health")).json()
    assert health["status"] == "ok"
    assert (await place.api.get("/api/ready")).json() == {"status": "ready"}


async def test_what_is_not_ready_is_said(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    async with serving(store, Settings(port=0)) as api:
        store.engine.dispose()
        store.engine = _Broken()  # type: ignore[assignment]
        answer = await api.get("/api/ready")
        assert (answer.status, list(answer.json()["not_ready"])) == (503, ["database"])


class _Broken:
    def connect(self) -> None:
        raise ConnectionError("secret reason")


async def test_the_description_names_every_route_and_its_problem(place: Place) -> None:
    document = (await place.api.get("/api/openapi.json")).json()
    assert {"/api/events", "/api/events/tail", "/api/runs/{run_id}/retry"} <= set(document["paths"])
    told = [
        document["paths"][path][verb]["responses"] for path, verb in (("/api/runs", "get"), ("/api/events", "post"))
    ]
    assert all("4XX" in responses for responses in told)
    assert "HTTPValidationError" not in str(document)
    untold = [
        f"{verb} {path}"
        for path, verbs in document["paths"].items()
        for verb, route in verbs.items()
        if not route.get("summary")
    ]
    assert untold == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/nothing", 404), ("POST", "/api/health", 405), ("GET", "/", 404), ("GET", "/api/runs/7", 422)],
)
async def test_every_error_is_a_problem_with_a_way_out(place: Place, method: str, path: str, status: int) -> None:
    answer = await place.api.ask(method, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["detail"]

"""Routes, mute windows, inhibitions and silences over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import yaml
from pydantic import SecretStr

from tests.server.conftest import Api, serving
from tocsin.events.clock import SystemClock
from tocsin.notifiers import PagerDuty, SlackWebhook, put_notifier
from tocsin.server.settings import Settings
from tocsin.store.engine import Store

ONCALL = {"receiver": "slack", "routes": [{"match": {"team": "db"}, "receiver": "pager", "mute": ["always"]}]}


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    store = Store.open(sqlite_url)
    with store.begin() as session:
        put_notifier(session, SlackWebhook(name="slack", url=SecretStr("http://127.0.0.1:1/x")))
        put_notifier(session, PagerDuty(name="pager", routing_key=SecretStr("k" * 32)), SystemClock().now())
    async with serving(store, Settings(port=0)) as api:
        yield api
    store.close()


async def test_routing_is_put_tested_exported_and_forgotten(api: Api) -> None:
    window = await api.ask("PUT", "/api/mute-windows/always", json={"months": ["1:12"]})
    assert (window.status, window.json()) == (200, {"kind": "mute window", "name": "always", "change": "created"})
    for change in ("created", "unchanged"):
        put = await api.ask("PUT", "/api/routes/oncall", json=ONCALL)
        assert (put.status, put.json()["change"]) == (200, change)
    rule = {"source": "alertname=NodeDown", "target": "severity=warning"}
    assert (await api.ask("PUT", "/api/inhibitions/node", json=rule)).json()["change"] == "created"
    assert [one["name"] for one in (await api.get("/api/routes")).json()] == ["always", "oncall", "node"]

    [way] = (await api.ask("POST", "/api/routes/test", json={"labels": {"team": "db"}})).json()
    assert (way["path"], way["receivers"]) == ("oncall/team-db", ["pager"])
    assert way["quiet"].startswith("muted by always until ")
    exported = await api.get("/api/routes/export")
    assert yaml.safe_load(exported.body)["route"]["receiver"] == "slack"

    refused = await api.ask("DELETE", "/api/mute-windows/always")
    assert (refused.status, "goes by it" in refused.json()["detail"]) == (422, True)
    for path in ("/api/routes/oncall", "/api/mute-windows/always", "/api/inhibitions/node"):
        assert (await api.ask("DELETE", path)).status == 204
        assert (await api.ask("DELETE", path)).status == 404
    assert (await api.get("/api/routes")).json() == []


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("/api/routes/a", {"receiver": "slak"}, "did you mean slack?"),
        (
            "/api/routes/a",
            {"receiver": "slack", "group_wiat": "5s"},
            "group_wiat: unknown field; did you mean group_wait?",
        ),
        ("/api/routes/a", {"name": "b", "receiver": "slack"}, "the address says 'a', the document 'b'"),
        ("/api/mute-windows/a", {"times": ["22:00-06:00"]}, "write two: 22:00-24:00 and 00:00-06:00"),
        ("/api/inhibitions/a", {"source": "a~b", "target": "c=d"}, "column 2"),
    ],
)
async def test_a_mistake_is_told_with_its_field(api: Api, path: str, body: dict[str, object], why: str) -> None:
    refused = await api.ask("PUT", path, json=body)
    assert refused.status == 422
    assert why in refused.json()["detail"]


async def test_a_silence_is_added_listed_and_ended(api: Api) -> None:
    wanted = {"matchers": 'team="db"', "for": "2h", "author": "ana", "comment": "deploy"}
    preview = await api.ask("POST", "/api/silences/preview", json={"matchers": ['team="db"']})
    assert (preview.status, preview.json()["firing"]) == (200, 0)
    made = await api.ask("POST", "/api/silences", json=wanted)
    assert (made.status, made.json()["state"], made.json()["author"]) == (201, "active", "ana")
    assert [one["id"] for one in (await api.get("/api/silences?state=active")).json()] == [made.json()["id"]]
    ended = await api.ask("DELETE", f"/api/silences/{made.json()['id']}?by=bo")
    assert (ended.status, ended.json()["state"]) == (200, "expired")
    assert (await api.get("/api/silences?state=active")).json() == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"matchers": "team=db"}, "how long?"),
        ({"matchers": "team=db", "ends": "2030-01-01T00:00:00"}, "no time zone"),
        ({"matchers": "team!=db", "for": 60}, "without such labels"),
        ({"matchers": "team=db", "for": "soon"}, "a span is needed"),
        ({"matchers": "team=db", "for": "1h", "until": "x"}, "until"),
    ],
)
async def test_a_silence_that_makes_no_sense_is_refused(api: Api, body: dict[str, object], why: str) -> None:
    refused = await api.ask("POST", "/api/silences", json=body)
    assert refused.status == 422
    assert why in refused.body.decode()

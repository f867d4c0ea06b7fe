"""Sources and hooks over HTTP: put, shown, forgotten; as the command line does it, and no secret comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from tests.server.conftest import Api, serving
from tocsin.events.errors import TocsinError
from tocsin.server.settings import Settings
from tocsin.store.engine import Store
from tocsin.triggers.hook import MASK, hook_from
from tocsin.triggers.hook_tables import HookRow
from tocsin.triggers.hooks import get_hook
from tocsin.triggers.source import source_of

SECRET = "0123456789abcdef-of-the-shop"
MAPPING = {"event": "'orders.paid'", "resource": "body.order"}
SHOP: dict[str, Any] = {"mapping": MAPPING, "verify": {"kind": "github", "secret": SECRET}}
SOURCE: dict[str, Any] = {"topic": "shop.orders", "mapping": MAPPING}


async def test_a_source_is_put_shown_and_forgotten(api: Api, store: Store) -> None:
    made = await api.ask("PUT", "/api/sources/shop", json=SOURCE)
    shown = made.json()
    assert made.status == 200
    assert (shown["name"], shown["topic"], shown["format"], shown["handled"]) == ("shop", "shop.orders", "json", 0)
    assert (await api.get("/api/sources")).json() == [shown]
    again = await api.ask("PUT", "/api/sources/shop", json=shown["config"])
    assert (await api.get("/api/sources/shop")).json() == again.json() == shown
    changed = await api.ask("PUT", "/api/sources/shop", json={**SOURCE, "since": "2026-03-01T00:00:00Z"})
    assert changed.json()["config"]["since"] == "2026-03-01T00:00:00Z"
    assert (await api.ask("DELETE", "/api/sources/shop")).status == 204
    gone = await api.ask("DELETE", "/api/sources/shop")
    assert (gone.status, gone.json()["detail"]) == (404, "source 'shop' is not known; known: none")


async def test_a_hook_is_put_shown_and_forgotten_and_its_secret_stays_with_us(api: Api, store: Store) -> None:
    made = await api.ask("PUT", "/api/hooks/shop", json=SHOP)
    assert (made.status, made.json()["verified_by"]) == (200, "github")
    assert made.json()["config"]["verify"]["secret"] == [MASK]
    again = await api.ask("PUT", "/api/hooks/shop", json={**made.json()["config"], "per_minute": 7})
    listed, shown = await api.get("/api/hooks"), await api.get("/api/hooks/shop")
    assert listed.json() == [shown.json()] == [again.json()]
    assert all(SECRET.encode() not in answer.body for answer in (made, again, listed, shown))
    with store.read() as session:
        stored, row = get_hook(session, "shop"), session.get(HookRow, "shop")
        assert row is not None
        assert SECRET not in json.dumps(row.config) + row.secrets
    assert stored.verify is not None
    assert (stored.verify.secrets, stored.per_minute) == ((SECRET,), 7)
    assert (await api.ask("DELETE", "/api/hooks/shop")).status == 204
    gone = await api.ask("DELETE", "/api/hooks/shop")
    assert (gone.status, gone.json()["detail"]) == (404, 'unknown hook "shop"; known: none')


async def test_what_is_put_takes_posts_at_once(sqlite_api: Api) -> None:
    await sqlite_api.ask("PUT", "/api/hooks/open", json={"mapping": MAPPING, "insecure": True})
    assert (await sqlite_api.post("/api/hooks/open", json={"order": "A-7"})).json()["id"]
    await sqlite_api.ask("DELETE", "/api/hooks/open")
    assert (await sqlite_api.post("/api/hooks/open", json={"order": "A-7"})).status == 401


BAD: list[tuple[str, str, Any, str]] = [
    ("no mapping", "sources", {"topic": "shop.orders"}, "format json needs a mapping"),
    ("an expression that cannot be meant", "sources", {**SOURCE, "mapping": {**MAPPING, "event": "paid"}}, "'paid'"),
    ("our own topic", "sources", {**SOURCE, "topic": "tocsin.events"}, "tocsin's own topic"),
    ("another name than the address", "sources", {**SOURCE, "name": "other"}, "the address says 'shop'"),
    ("no object", "sources", [SOURCE], "body"),
    ("neither verified nor insecure", "hooks", {"mapping": MAPPING}, "insecure: true"),
    ("a short secret", "hooks", {**SHOP, "verify": {"kind": "github", "secret": "hush-hush"}}, "16 characters"),
    ("a mask with nothing behind it", "hooks", {**SHOP, "verify": {"kind": "github", "secret": MASK}}, "give it"),
    (
        "a secret out of the server's environment",
        "hooks",
        {**SHOP, "verify": {"kind": "github", "secret": {"env": "TOCSIN_SECRET_KEY"}}},
        "verify.github.secret",
    ),
    ("another name than the address", "hooks", {**SHOP, "name": "other"}, "the address says 'shop'"),
    ("a name that we keep", "hooks/tocsin.x", SHOP, "kept for tocsin itself"),
]


@pytest.mark.parametrize(("kind", "document", "said"), [row[1:] for row in BAD], ids=[" ".join(row[:2]) for row in BAD])
async def test_what_cannot_be_meant_is_refused_with_the_field(
    sqlite_api: Api, kind: str, document: Any, said: str
) -> None:
    address = kind if "/" in kind else f"{kind}/shop"
    answer = await sqlite_api.ask("PUT", f"/api/{address}", json=document)
    assert answer.status == 422
    assert said in answer.json()["detail"]
    assert b"hush-hush" not in answer.body
    assert (await sqlite_api.get(f"/api/{kind.partition('/')[0]}")).json() == []


@pytest.mark.parametrize(
    ("kind", "reader", "document"),
    [("sources", source_of, {**SOURCE, "format": "openlineage"}), ("hooks", hook_from, {**SHOP, "insecure": True})],
)
async def test_the_reasons_are_those_of_the_command_line(
    sqlite_api: Api, kind: str, reader: Callable[[Any], object], document: dict[str, Any]
) -> None:
    with pytest.raises(TocsinError) as refused:
        reader({"name": "shop", **document})
    said = (await sqlite_api.ask("PUT", f"/api/{kind}/shop", json=document)).json()["detail"]
    assert said == str(refused.value)


async def test_only_posts_to_a_hook_need_no_key(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    async with serving(store, Settings(port=0, api_key=SecretStr("api-key-0123456789"))) as keyed:
        asked = [
            await keyed.ask(method, path, json=SHOP)
            for path in ("/api/hooks/shop", "/api/sources/shop")
            for method in ("GET", "PUT", "DELETE")
        ]
        assert [answer.status for answer in asked] == [401] * 6
        key = {"authorization": "Bearer api-key-0123456789"}
        assert (await keyed.ask("PUT", "/api/hooks/shop", json=SHOP, headers=key)).status == 200
    store.close()

"""Hooks over HTTP: who is let in, what is stored, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr
from slack_sdk.signature import SignatureVerifier
from sqlmodel import select
from standardwebhooks import Webhook
from yarl import URL

from tests.server.conftest import Api, serving
from tocsin.events.bus import DeadLetter
from tocsin.events.codec import decode
from tocsin.events.model import Event
from tocsin.events.topics import DEAD_LETTERS, EXTERNAL
from tocsin.server.settings import Settings
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers.hook import hook_from
from tocsin.triggers.hook_tables import HookRow
from tocsin.triggers.hooks import get_hook, list_hooks, put_hook, remove_hook

KEY = "api-key-0123456789"
SECRET = "0123456789abcdef0123456789abcdef"
WHSEC = "whsec_" + base64.b64encode(b"k" * 24).decode()
MAPPING = {"event": "'orders.paid'", "resource": "body.order"}
KINDS = ("standard-webhooks", "slack", "pagerduty", "github", "shared-secret")
BODY = b'{"order": "A-7"}'


def secret(kind: str) -> str:
    return WHSEC if kind == "standard-webhooks" else SECRET


def put(store: Store, name: str, kind: str | None = None, **more: Any) -> None:
    way: dict[str, Any] = {"verify": {"kind": kind, "secret": secret(kind)}} if kind else {"insecure": True}
    with store.begin() as session:
        put_hook(session, hook_from({"name": name, "mapping": MAPPING, **way, **more}), datetime.now(UTC))


def signed(kind: str, body: bytes = BODY, key: str | None = None, at: int | None = None) -> dict[str, str]:
    key, at = key or secret(kind), at or int(time.time())
    mac = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "slack": {
            "x-slack-request-timestamp": str(at),
            "x-slack-signature": str(SignatureVerifier(key).generate_signature(timestamp=str(at), body=body)),
        },
        "pagerduty": {"x-pagerduty-signature": f"v1={mac}"},
        "github": {"x-hub-signature-256": f"sha256={mac}"},
        "shared-secret": {"authorization": f"Bearer {key}"},
    }
    if kind == "standard-webhooks":
        signature = Webhook(key).sign("msg_1", datetime.fromtimestamp(at, UTC), body.decode())
        own = {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}
    else:
        own = headers[kind]
    return {"content-type": "application/json", **own}


def kept(store: Store, topic: str = EXTERNAL) -> list[LogEntry]:
    with store.read() as session:
        return list(session.exec(select(LogEntry).where(LogEntry.topic == topic).order_by(LogEntry.seq)))  # type: ignore[arg-type]


def events(store: Store) -> list[Event]:
    return [decode(entry.body) for entry in kept(store)]


def letters(store: Store) -> list[DeadLetter]:
    return [msgspec.json.decode(entry.body, type=DeadLetter) for entry in kept(store, DEAD_LETTERS)]


@pytest.fixture
async def keyed(sqlite_url: str) -> AsyncIterator[tuple[Api, Store]]:
    """A server with an API key, on SQLite, with a hook of each kind."""
    store = Store.open(sqlite_url)
    for kind in KINDS:
        put(store, kind, kind)
    put(store, "open")
    async with serving(store, Settings(port=0, api_key=SecretStr(KEY))) as running:
        yield running, store
    store.close()


# --- rows ---


def test_a_hook_on_record_is_sealed_and_shown_without_its_secret(store: Store) -> None:
    put(store, "shop", "github")
    with store.read() as session:
        row = session.get(HookRow, "shop")
        assert row is not None
        assert SECRET not in json.dumps(row.config) + row.secrets
        found, listed = get_hook(session, "shop"), list_hooks(session)
    assert found.verify is not None
    assert found.verify.secrets == (SECRET,)
    assert [(one.name, one.verified_by) for one in listed] == [("shop", "github")]
    assert SECRET not in repr(listed)


def test_what_is_shown_can_be_applied_again(store: Store) -> None:
    from tocsin.events.errors import Invalid, NotFound

    put(store, "shop", "github")
    now = datetime.now(UTC)
    with store.begin() as session:
        shown = list_hooks(session)[0].config
        assert put_hook(session, hook_from(shown), now) == "unchanged"
        assert put_hook(session, hook_from({**shown, "per_minute": 5}), now) == "updated"
        found = get_hook(session, "shop")
        assert found.verify is not None
        assert found.verify.secrets == (SECRET,)
        with pytest.raises(Invalid, match="only shown"):
            put_hook(session, hook_from({**shown, "name": "new"}), now)
        with pytest.raises(Invalid, match="only shown"):
            put_hook(session, hook_from({**shown, "verify": {**shown["verify"], "kind": "pagerduty"}}), now)
    with store.begin() as session:
        remove_hook(session, "shop")
    with store.read() as session, pytest.raises(NotFound, match="known: none"):
        get_hook(session, "shop")


# --- in ---


@pytest.mark.parametrize("kind", KINDS)
async def test_a_signed_post_becomes_one_event_without_the_api_key(keyed: tuple[Api, Store], kind: str) -> None:
    api, store = keyed
    headers = {**signed(kind), "idempotency-key": "1"}
    first = await api.post(f"/api/hooks/{kind}", data=BODY, headers=headers)
    again = await api.post(f"/api/hooks/{kind}", data=BODY, headers=headers)
    assert (first.status, again.status) == (200, 200)
    assert first.json() == again.json()
    (event,) = events(store)
    assert (str(event.id), event.event, event.resource_id) == (first.json()["id"], "orders.paid", "A-7")
    assert event.payload == {"order": "A-7"}


async def test_repeats_that_come_together_are_one_event(store: Store) -> None:
    put(store, "ci", "github")
    async with serving(store, Settings(port=0)) as api:
        posts = [api.post("/api/hooks/ci", data=BODY, headers=signed("github")) for _ in range(20)]
        answers = await asyncio.gather(*posts)
    assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
    assert len(events(store)) == 1


async def test_the_same_body_is_one_event_for_as_long_as_asked(store: Store) -> None:
    put(store, "beat", same_body_s=86_400)
    put(store, "each")
    async with serving(store, Settings(port=0)) as api:
        for name in ("beat", "beat", "each", "each"):
            assert (await api.post(f"/api/hooks/{name}", json={"order": name})).status == 200
    assert [event.resource_id for event in events(store)] == ["beat", "each", "each"]


async def test_a_body_stored_before_the_turn_of_the_stretch_is_a_repeat(sqlite_url: str) -> None:
    from tocsin.events.clock import ManualClock
    from tocsin.server.hooking import Hooks
    from tocsin.server.intake import Intake
    from tocsin.store.log import append
    from tocsin.triggers.hook_posts import Meant, Post, read

    store = Store.open(sqlite_url)
    begin = datetime(2026, 3, 2, 8, 59, 50, tzinfo=UTC)
    clock = ManualClock(begin)
    intake = Intake(store)
    hooks, of = (
        Hooks(store, clock, intake),
        hook_from({"name": "b", "mapping": MAPPING, "insecure": True, "same_body_s": 60}),
    )
    post = Post((("content-type", "application/json"),), {}, BODY)
    first = read(of, post, begin)
    assert isinstance(first, Meant)
    with store.begin() as session:
        append(session, [first.event], EXTERNAL, begin)
    serve = asyncio.create_task(intake.serve())
    found = []
    for at in (20, 59, 61):
        clock.set(begin.fromtimestamp(begin.timestamp() + at, UTC))
        meant = read(of, post, clock.now())
        assert isinstance(meant, Meant)
        found.append(await hooks.keep(meant, of, len(BODY)))
    intake.close()
    await serve
    assert found[:2] == [first.event.id, first.event.id]
    assert found[2] != first.event.id
    assert len(events(store)) == 2
    store.close()


async def test_a_greeting_is_answered_and_nothing_is_kept(keyed: tuple[Api, Store]) -> None:
    api, store = keyed
    body = b'{"type": "url_verification", "challenge": "3eZbrw1aB"}'
    answer = await api.post("/api/hooks/slack", data=body, headers=signed("slack", body))
    assert (answer.status, answer.json()) == (200, {"challenge": "3eZbrw1aB"})
    unsigned = await api.post("/api/hooks/slack", data=body, headers={"content-type": "application/json"})
    assert unsigned.status == 401
    ping = await api.post("/api/hooks/github", data=BODY, headers={**signed("github"), "x-github-event": "ping"})
    assert (ping.status, ping.json()) == (200, {"pong": True})
    assert events(store) == []


# --- attacks ---

NOBODY = "/api/hooks/nobody"
OLD = int(time.time()) - 3600
JSON = {"content-type": "application/json"}
REFUSED: list[tuple[str, str, bytes, dict[str, str], int]] = [
    ("a name nobody has", NOBODY, BODY, JSON, 401),
    ("a name nobody has, signed", NOBODY, BODY, signed("github"), 401),
    ("wrong secret", "/api/hooks/github", BODY, signed("github", key=SECRET[::-1]), 401),
    ("signed for another hook", "/api/hooks/github", BODY, signed("slack"), 401),
    ("cut off", "/api/hooks/github", BODY[:-3], signed("github"), 401),
    ("unsigned", "/api/hooks/github", BODY, JSON, 401),
    ("the API key instead", "/api/hooks/github", BODY, {**JSON, "authorization": f"Bearer {KEY}"}, 401),
    ("the secret in the address", "/api/hooks/shared-secret?secret=" + SECRET, BODY, JSON, 401),
    ("an old one, signed", "/api/hooks/slack", BODY, signed("slack", at=OLD), 400),
    ("an older one", "/api/hooks/standard-webhooks", BODY, signed("standard-webhooks", at=OLD), 400),
    ("a huge body", "/api/hooks/open", b"x" * 1_000_001, JSON, 413),
    ("a huge body for nobody", NOBODY, b"x" * 1_000_001, JSON, 413),
    ("plain text", "/api/hooks/open", BODY, {"content-type": "text/plain"}, 415),
    ("what the mapping needs is not there", "/api/hooks/open", b"{}", JSON, 422),
    ("NUL in a text", "/api/hooks/open", b'{"order": "a\\u0000"}', JSON, 422),
    ("a page of elsewhere", "/api/hooks/open", BODY, {**JSON, "origin": "http://evil.test"}, 403),
    ("a name of ours", "/api/hooks/tocsin.x", BODY, JSON, 401),
    ("NUL in the name", "/api/hooks/%00", BODY, JSON, 401),
    ("up", "/api/hooks/..", BODY, JSON, 401),
    ("up and down", "/api/hooks/..%2fevents", BODY, JSON, 401),
    ("further up and down", "/api/hooks/open/..%2f..%2fevents", BODY, JSON, 401),
    ("a name without end", "/api/hooks/" + "x" * 5000, BODY, JSON, 401),
    ("a space", "/api/hooks/open%20", BODY, JSON, 401),
]


async def test_an_attack_is_answered_with_a_problem_and_nothing_is_stored(keyed: tuple[Api, Store]) -> None:
    api, store = keyed
    lost = 0
    for attack, path, body, headers, status in REFUSED:
        async with api.http.post(URL(api.url + path, encoded=True), data=body, headers=headers) as answer:
            said = await answer.read()
            assert (attack, answer.status) == (attack, status), said
            assert answer.headers["content-type"] == "application/problem+json", attack
        assert SECRET.encode() not in said, attack
        lost += status in (415, 422)
        assert len(letters(store)) == lost, attack
    assert events(store) == []


async def test_a_name_that_no_database_takes_is_nobody(store: Store) -> None:
    async with serving(store, Settings(port=0)) as api:
        for name in ("%00", "a%00", "%F0%9F%94%94", "A"):
            async with api.http.post(
                URL(f"{api.url}/api/hooks/{name}", encoded=True), data=BODY, headers=JSON
            ) as answer:
                assert answer.status == 401, name


async def test_nothing_tells_an_unknown_name_from_a_wrong_signature(keyed: tuple[Api, Store]) -> None:
    api, _ = keyed
    answers = [
        await api.post(path, data=BODY, headers=signed("github", key="x" * 20))
        for path in (NOBODY, "/api/hooks/github", "/api/hooks/slack", "/api/hooks/tocsin.x")
    ]
    assert len({(answer.status, answer.body, answer.headers["www-authenticate"]) for answer in answers}) == 1


async def test_a_header_that_stands_there_twice_proves_nothing(keyed: tuple[Api, Store]) -> None:
    api, store = keyed
    right = signed("github")["x-hub-signature-256"]
    headers = [
        ("content-type", "application/json"),
        ("x-hub-signature-256", right),
        ("X-Hub-Signature-256", "sha256=0"),
    ]
    async with api.http.post(api.url + "/api/hooks/github", data=BODY, headers=headers) as answer:
        assert answer.status == 401
    assert events(store) == []


async def test_what_cannot_be_mapped_is_among_the_dead_letters_once(store: Store) -> None:
    put(store, "shop")
    async with serving(store, Settings(port=0)) as api:
        answers = [await api.post("/api/hooks/shop", json={"other": 1}) for _ in range(3)]
    assert [answer.status for answer in answers] == [422] * 3
    assert "resource" in answers[0].json()["detail"]
    assert "dead letters" in answers[0].json()["detail"]
    (letter,) = letters(store)
    assert (letter.group, letter.topic, letter.body) == ("hooks", "hook/shop", b'{"other": 1}')
    assert "resource" in letter.reason


async def test_what_where_leaves_out_is_answered_and_not_kept(store: Store) -> None:
    put(store, "shop", mapping={**MAPPING, "where": "body.order == 'A-7'"})
    async with serving(store, Settings(port=0)) as api:
        answer = await api.post("/api/hooks/shop", json={"order": "A-8"})
    assert (answer.status, answer.json()) == (200, {"id": None})
    assert events(store) == []
    assert letters(store) == []


async def test_a_hook_takes_so_many_a_minute_and_a_forger_uses_up_none(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    put(store, "slow", "shared-secret", per_minute=2)
    put(store, "other", "shared-secret", per_minute=2)
    async with serving(store, Settings(port=0)) as api:
        for _ in range(5):
            assert (await api.post("/api/hooks/slow", data=BODY, headers=JSON)).status == 401
        answers = [await api.post("/api/hooks/slow", data=BODY, headers=signed("shared-secret")) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert 1 <= int(answers[2].headers["retry-after"]) <= 30
        assert (await api.post("/api/hooks/other", data=BODY, headers=signed("shared-secret"))).status == 200
    store.close()


async def test_a_change_of_a_hook_holds_at_once(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    put(store, "shop")
    async with serving(store, Settings(port=0)) as api:
        assert (await api.post("/api/hooks/shop", data=BODY, headers=JSON)).status == 200
        put(store, "shop", "github")
        assert (await api.post("/api/hooks/shop", data=BODY, headers=JSON)).status == 401
        assert (await api.post("/api/hooks/shop", data=BODY, headers=signed("github"))).status == 200
        with store.begin() as session:
            remove_hook(session, "shop")
        assert (await api.post("/api/hooks/shop", data=BODY, headers=signed("github"))).status == 401
    store.close()


async def test_a_secret_that_no_key_opens_is_our_fault(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.fernet import Fernet

    store = Store.open(sqlite_url)
    put(store, "shop", "github")
    monkeypatch.setenv("TOCSIN_SECRET_KEY", Fernet.generate_key().decode())
    async with serving(store, Settings(port=0)) as api:
        answer = await api.post("/api/hooks/shop", data=BODY, headers=signed("github"))
    assert answer.status == 503
    store.close()


async def test_hooks_are_shown_to_holders_of_the_key_only(keyed: tuple[Api, Store]) -> None:
    api, _ = keyed
    bearer = {"authorization": f"Bearer {KEY}"}
    for path in ("/api/hooks", "/api/hooks/github"):
        assert (await api.get(path)).status == 401
        shown = await api.get(path, headers=bearer)
        assert shown.status == 200
        assert SECRET.encode() not in shown.body
        assert (await api.get(path + "?x=1", headers=bearer)).status == 422
    listed = {one["name"]: one["verified_by"] for one in (await api.get("/api/hooks", headers=bearer)).json()}
    assert listed == {**{kind: kind for kind in KINDS}, "open": "insecure"}
    missing = await api.get("/api/hooks/nobody", headers=bearer)
    assert missing.status == 404
    assert "known:" in missing.json()["detail"]


async def test_an_insecure_hook_is_said_out_loud_at_the_start(
    sqlite_url: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.open(sqlite_url)
    put(store, "open")
    put(store, "shut", "github")
    async with serving(store, Settings(port=0)):
        pass
    said = "".join((*capsys.readouterr(), caplog.text))  # where it goes depends on who set logging up before
    assert "insecure" in said
    assert "open" in said
    assert "shut" not in said
    store.close()

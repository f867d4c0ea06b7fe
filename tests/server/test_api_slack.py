"""Presses of buttons by HTTP: signed, bounded, stored before the answer, done once."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from tests.server.conftest import Api, serving
from tests.server.pressing import block, by_http, by_socket, deliver, state_of, tell
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.standins import SlackMessage, SlackStandIn
from tocsin.notifiers.standins.slack_press import form, signed
from tocsin.server.settings import Settings
from tocsin.store import engine
from tocsin.store.engine import Store

PATH = "/api/slack/interactivity/oncall"


@pytest.fixture
async def api(sqlite_store: Store) -> AsyncIterator[Api]:
    """With an API key, which Slack does not have."""
    async with serving(sqlite_store, Settings(port=0, api_key=SecretStr("k" * 20))) as running:
        yield running


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    store = Store.open(sqlite_url, create=True)
    yield store
    store.close()


async def post(api: Api, slack: SlackStandIn, payload: Any, path: str = PATH) -> int:
    body = form(payload)
    answer = await api.post(path, data=body, headers=signed(body, slack.signing_secret))
    return answer.status


async def press(api: Api, slack: SlackStandIn, message: SlackMessage, action: str, **more: Any) -> int:
    return await asyncio.to_thread(slack.press, message, f"tocsin.{action}", url=api.url + PATH, **more)


async def answered(slack: SlackStandIn, count: int) -> list[str]:
    assert await asyncio.to_thread(slack.wait, lambda: len(slack.responses) >= count, 30)
    assert all(one["response_type"] == "ephemeral" and not one["replace_original"] for one in slack.responses)
    return [one["text"] for one in slack.responses]


async def test_an_incident_is_acknowledged_and_resolved_from_slack(
    api: Api, slack: SlackStandIn, sqlite_store: Store
) -> None:
    message = await tell(sqlite_store, slack, block(slack, **by_http(slack)))
    assert await press(api, slack, message, "acknowledge") == 200
    assert state_of(sqlite_store, message) == "acknowledged"
    await deliver(sqlite_store)
    assert message.text == "👀 Acknowledged: etl failed"
    assert message.buttons == ["tocsin.unacknowledge", "tocsin.resolve", "tocsin.silence"]
    assert await press(api, slack, message, "unacknowledge") == 200
    assert state_of(sqlite_store, message) == "open"
    await deliver(sqlite_store)
    assert await press(api, slack, message, "resolve") == 200
    assert state_of(sqlite_store, message) == "resolved"
    await deliver(sqlite_store)
    assert message.buttons == []
    told = [reply.text for reply in slack.thread(message)]
    assert told[:2] == ["👀 Acknowledged by ann", "Not acknowledged any more"]
    assert told[2].startswith("✅ Resolved after ")
    assert slack.violations == []
    assert slack.responses == []


async def test_a_silence_is_made_and_confirmed(api: Api, slack: SlackStandIn, sqlite_store: Store) -> None:
    message = await tell(sqlite_store, slack, block(slack, **by_http(slack)))
    assert await press(api, slack, message, "silence", value="4 hours") == 200
    assert (await answered(slack, 1))[0].startswith("Silenced for 4 h.")


async def test_a_double_click_changes_nothing(api: Api, slack: SlackStandIn, sqlite_store: Store) -> None:
    message = await tell(sqlite_store, slack, block(slack, **by_http(slack)))
    payload = slack.payload(message, "tocsin.acknowledge")
    answers = await asyncio.gather(*(post(api, slack, payload) for _ in range(3)))
    assert await press(api, slack, message, "acknowledge") == 200
    await deliver(sqlite_store)
    assert answers == [200] * 3
    assert [reply.text for reply in slack.thread(message)] == ["👀 Acknowledged by ann"]


async def test_an_incident_that_is_not_known_is_said_to_whoever_pressed(
    api: Api, slack: SlackStandIn, sqlite_store: Store
) -> None:
    message = await tell(sqlite_store, slack, block(slack, **by_http(slack)))
    payload = slack.payload(message, "tocsin.acknowledge")
    payload["actions"][0]["value"] = str(uuid4())
    assert await post(api, slack, payload) == 200
    assert "knows no such incident" in (await answered(slack, 1))[0]


async def test_a_button_of_another_app_is_none_of_ours(api: Api, slack: SlackStandIn, sqlite_store: Store) -> None:
    other = block(slack, "other", signing_secret=SecretStr("another-app-entirely"))
    message = await tell(sqlite_store, slack, other)
    with sqlite_store.begin() as session:
        put_notifier(session, block(slack, **by_http(slack)))
    assert await press(api, slack, message, "acknowledge") == 200
    assert "not from a message of this tocsin" in (await answered(slack, 1))[0]
    assert state_of(sqlite_store, message) == "open"


async def test_notifiers_of_one_app_share_its_address(api: Api, slack: SlackStandIn, sqlite_store: Store) -> None:
    with sqlite_store.begin() as session:
        put_notifier(session, block(slack, **by_http(slack)))
    message = await tell(sqlite_store, slack, block(slack, "second", **by_http(slack)))
    assert await press(api, slack, message, "acknowledge") == 200
    assert state_of(sqlite_store, message) == "acknowledged"


async def test_a_button_that_cannot_be_read_is_answered(api: Api, slack: SlackStandIn, sqlite_store: Store) -> None:
    message = await tell(sqlite_store, slack, block(slack, **by_http(slack)))
    payload = slack.payload(message, "tocsin.acknowledge")
    payload["actions"][0]["value"] = "nonsense"
    assert await post(api, slack, payload) == 200
    assert "names no incident" in (await answered(slack, 1))[0]


async def test_an_answer_goes_to_slack_and_nowhere_else(api: Api, slack: SlackStandIn, sqlite_store: Store) -> None:
    message = await tell(sqlite_store, slack, block(slack, **by_http(slack)))
    with SlackStandIn() as elsewhere:
        payload = {**slack.payload(message, "tocsin.acknowledge"), "response_url": f"{elsewhere.address}/actions/x"}
        payload["actions"][0]["value"] = "nonsense"
        assert await post(api, slack, payload) == 200
        assert elsewhere.requests == 0


@pytest.mark.parametrize("payload", [{"type": "view_submission", "user": {"id": "U1"}}, [], None, "x"])
async def test_what_is_not_a_press_is_taken_and_left(
    api: Api, slack: SlackStandIn, sqlite_store: Store, payload: Any
) -> None:
    with sqlite_store.begin() as session:
        put_notifier(session, block(slack, **by_http(slack)))
    assert await post(api, slack, payload) == 200


@pytest.mark.parametrize("body", [b"", b"payload=%7B", b"\xff\xfe", b"other=1", b"payload=" + b"%5B" * 50_000])
async def test_a_signed_body_that_cannot_be_read_harms_nobody(
    api: Api, slack: SlackStandIn, sqlite_store: Store, body: bytes
) -> None:
    with sqlite_store.begin() as session:
        put_notifier(session, block(slack, **by_http(slack)))
    answer = await api.post(PATH, data=body, headers=signed(body, slack.signing_secret))
    assert answer.status in (200, 401)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        pytest.param(PATH, {"X-Slack-Signature": "v0=" + "0" * 64}, id="wrong signature"),
        pytest.param(PATH, {"X-Slack-Signature": ""}, id="no signature"),
        pytest.param(PATH, None, id="stale"),
        pytest.param("/api/slack/interactivity/nobody", {}, id="no such notifier"),
        pytest.param("/api/slack/interactivity/quiet", {}, id="a notifier without a signing secret"),
        pytest.param("/api/slack/interactivity/socket", {}, id="a notifier with Socket Mode only"),
    ],
)
async def test_whoever_cannot_prove_to_be_slack_is_told_nothing(
    api: Api, slack: SlackStandIn, sqlite_store: Store, path: str, headers: dict[str, str] | None
) -> None:
    message = await tell(sqlite_store, slack, block(slack, **by_http(slack)))
    with sqlite_store.begin() as session:
        put_notifier(session, block(slack, "quiet"))
        put_notifier(session, block(slack, "socket", **by_socket(slack)))
    body = form(slack.payload(message, "tocsin.acknowledge"))
    at = time.time() - 301 if headers is None else None
    answer = await api.post(path, data=body, headers={**signed(body, slack.signing_secret, at), **(headers or {})})
    assert answer.status == 401
    assert "no such notifier with a signing secret" in answer.json()["detail"]
    assert state_of(sqlite_store, message) == "open"


async def test_a_body_is_bounded(api: Api, slack: SlackStandIn, sqlite_store: Store) -> None:
    with sqlite_store.begin() as session:
        put_notifier(session, block(slack, **by_http(slack)))
    body = b"payload=" + b"x" * 1_000_001
    answer = await api.post(PATH, data=body, headers=signed(body, slack.signing_secret))
    assert answer.status == 413


async def test_an_incident_that_is_over_says_so(api: Api, slack: SlackStandIn, sqlite_store: Store) -> None:
    message = await tell(sqlite_store, slack, block(slack, **by_http(slack)))
    stale = slack.payload(message, "tocsin.acknowledge")
    assert await press(api, slack, message, "resolve") == 200
    assert await post(api, slack, stale) == 200
    assert await answered(slack, 1) == ["This incident is over. Nothing was done."]
    assert state_of(sqlite_store, message) == "resolved"


@contextmanager
def held(store_url: str) -> Iterator[None]:
    """Somebody else writes to the database, and takes his time."""
    holder = sqlite3.connect(store_url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


async def test_slack_is_answered_in_time_and_the_press_is_stored_later(
    api: Api, slack: SlackStandIn, sqlite_store: Store, sqlite_url: str
) -> None:
    message = await tell(sqlite_store, slack, block(slack, **by_http(slack)))
    with held(sqlite_url):
        assert await press(api, slack, message, "silence", value="1 hour") == 200
        assert slack.responses == []
    assert (await answered(slack, 1))[0].startswith("Silenced for 1 h.")


async def test_a_press_that_cannot_be_stored_is_not_taken(
    api: Api, slack: SlackStandIn, sqlite_store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 0.02)
    impatient = Store.open(sqlite_url)
    message = await tell(sqlite_store, slack, block(slack, **by_http(slack)))
    async with serving(impatient, Settings(port=0)) as other:
        with held(sqlite_url):
            assert await press(other, slack, message, "acknowledge") == 503
        assert state_of(sqlite_store, message) == "open"
        assert await press(other, slack, message, "acknowledge") == 200
    assert state_of(sqlite_store, message) == "acknowledged"
    impatient.close()

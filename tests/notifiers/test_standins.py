"""The stand-ins refuse what the real services refuse: a test that passes against them means something."""

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from tocsin.notifiers.standins import Error, Fail, Hang, PagerDutyStandIn, RateLimited, Reset, SlackStandIn

# Any: JSON both ways.
Json = dict[str, Any]


def call(url: str, body: Json | bytes, **headers: str) -> tuple[int, str, dict[str, str]]:
    """POST without any client's help."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    try:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", parts.path, payload, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def api(slack: SlackStandIn, method: str, body: Json) -> Json:
    _, text, _ = call(f"{slack.api_url}{method}", body, Authorization=f"Bearer {slack.token}")
    answer: Json = json.loads(text)
    return answer


def section(text: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        pytest.param({}, "no_text", id="nothing to show"),
        pytest.param({"text": "t" * 40_001}, "msg_too_long", id="text over 40,000"),
        pytest.param({"text": "t", "blocks": [section("x")] * 51}, "invalid_blocks", id="51 blocks"),
        pytest.param({"text": "t", "blocks": [section("x" * 3_001)]}, "invalid_blocks", id="section over 3,000"),
        pytest.param({"text": "t", "blocks": [section("")]}, "invalid_blocks", id="empty section"),
        pytest.param(
            {"text": "t", "blocks": [section("x" * 2_900)] * 5}, "msg_blocks_too_long", id="over 13,200 in all"
        ),
        pytest.param(
            {"text": "t", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "h" * 151}}]},
            "invalid_blocks",
            id="header over 150",
        ),
        pytest.param(
            {"text": "t", "blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "h"}}]},
            "invalid_blocks",
            id="header that is no plain text",
        ),
        pytest.param(
            {"text": "t", "blocks": [{"type": "section", "fields": [{"type": "mrkdwn", "text": "f"}] * 11}]},
            "invalid_blocks",
            id="11 fields",
        ),
        pytest.param(
            {"text": "t", "blocks": [{"type": "context", "elements": []}]}, "invalid_blocks", id="no elements"
        ),
        pytest.param({"text": "t", "blocks": [{"type": "blink"}]}, "invalid_blocks", id="unknown block"),
        pytest.param({"text": "hi <!channel>"}, "invalid_blocks", id="a mass mention"),
        pytest.param({"text": "a & b"}, "invalid_blocks", id="a raw ampersand"),
        pytest.param({"text": "t", "metadata": {"event_type": "x"}}, "invalid_metadata_format", id="half a metadata"),
    ],
)
def test_slack_refuses(slack: SlackStandIn, body: Json, word: str) -> None:
    answer = api(slack, "chat.postMessage", {"channel": slack.channel, **body})
    assert (answer["ok"], answer["error"]) == (False, word)
    status, text, _ = call(slack.url, body)
    assert (status, text) == (400, word)
    assert len(slack.violations) == 2
    assert slack.messages == []


def test_slack_keeps_changes_and_shows_messages(slack: SlackStandIn) -> None:
    metadata = {"event_type": "e", "event_payload": {"n": 1}}
    posted = api(slack, "chat.postMessage", {"channel": slack.channel, "text": "one", "metadata": metadata})
    address = {"channel": posted["channel"], "ts": posted["ts"]}
    assert api(slack, "chat.update", {**address, "text": "two"})["ok"]
    assert api(slack, "chat.update", {**address, "ts": "1.0", "text": "x"})["error"] == "message_not_found"
    assert api(slack, "chat.update", {**address, "text": "x" * 4_001})["error"] == "msg_too_long"
    assert call(slack.url, {"text": "three"})[:2] == (200, "ok")
    history = api(slack, "conversations.history", {"channel": slack.channel, "include_all_metadata": True})
    assert [message["text"] for message in history["messages"]] == ["three", "two"]
    assert history["messages"][1]["metadata"] == metadata
    first = api(slack, "conversations.history", {"channel": slack.channel, "limit": 1})
    rest = {"channel": slack.channel, "limit": 1, "cursor": first["response_metadata"]["next_cursor"]}
    assert [message["text"] for message in api(slack, "conversations.history", rest)["messages"]] == ["two"]
    assert (slack.messages[0].updates, slack.updates) == (1, 1)


def test_slack_knows_its_token_and_channel(slack: SlackStandIn) -> None:
    _, text, _ = call(
        f"{slack.api_url}chat.postMessage", {"channel": slack.channel, "text": "t"}, Authorization="Bearer x"
    )
    assert json.loads(text)["error"] == "invalid_auth"
    assert api(slack, "chat.postMessage", {"channel": "C9", "text": "t"})["error"] == "channel_not_found"
    assert call(f"{slack.address}/services/T/B/other", {"text": "t"})[0] == 404
    assert slack.violations == []


def event(**fields: Any) -> Json:
    payload = {"summary": "s", "source": "o", "severity": "error"}
    return {"routing_key": "x" * 32, "event_action": "trigger", "dedup_key": "k", "payload": payload, **fields}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(event(routing_key="short"), "32 characters", id="short routing key"),
        pytest.param(event(event_action="page"), "'event_action'", id="unknown action"),
        pytest.param(event(event_action="resolve", dedup_key=""), "'dedup_key' is required", id="resolve without key"),
        pytest.param(event(dedup_key="k" * 256), "at most 255", id="long dedup key"),
        pytest.param(event(payload=None), "'payload' is missing", id="trigger without payload"),
        pytest.param(
            event(payload={"summary": "s" * 1_025, "source": "o", "severity": "info"}), "1,024", id="long summary"
        ),
        pytest.param(event(payload={"summary": "s", "severity": "info"}), "'payload.source'", id="no source"),
        pytest.param(event(payload={"summary": "s", "source": "o", "severity": "BAD"}), "severity", id="bad severity"),
        pytest.param(
            event(payload={"summary": "s", "source": "o", "severity": "info", "timestamp": "now"}), "ISO", id="bad time"
        ),
        pytest.param(event(links={}), "'links' is a list", id="links that are no list"),
    ],
)
def test_pagerduty_refuses(pagerduty: PagerDutyStandIn, body: Json, says: str) -> None:
    status, text, _ = call(f"{pagerduty.url}/v2/enqueue", body)
    assert status == 400
    assert says in text
    assert pagerduty.violations
    assert pagerduty.calls == []


def test_pagerduty_refuses_half_a_megabyte(pagerduty: PagerDutyStandIn) -> None:
    assert call(f"{pagerduty.url}/v2/enqueue", event(client="c" * 600_000))[0] == 413
    assert pagerduty.violations


def test_pagerduty_keeps_alerts_by_key(pagerduty: PagerDutyStandIn) -> None:
    url, key = f"{pagerduty.url}/v2/enqueue", pagerduty.routing_key
    for action in ("resolve", "trigger", "trigger", "acknowledge", "resolve", "resolve", "trigger"):
        status, _, _ = call(url, event(routing_key=key, event_action=action))
        assert status == 202
    assert [(alert.state, alert.triggers) for alert in pagerduty.alerts] == [("resolved", 2), ("triggered", 1)]
    assert [dropped["event_action"] for dropped in pagerduty.dropped] == ["resolve", "resolve"]
    assert (pagerduty.count("trigger"), pagerduty.count("resolve")) == (3, 3)
    assert call(url, event())[0] == 400
    assert pagerduty.violations == []


def test_faults_come_one_a_request_in_their_order(slack: SlackStandIn) -> None:
    slack.fail(RateLimited(1.5), Fail(503, "busy"), Error("no_service"))
    status, _, headers = call(slack.url, {"text": "t"})
    assert (status, headers["Retry-After"]) == (429, "1.5")
    assert call(slack.url, {"text": "t"})[:2] == (503, "busy")
    assert call(slack.url, {"text": "t"})[:2] == (404, "no_service")
    assert call(slack.url, {"text": "t"})[:2] == (200, "ok")
    assert len(slack.messages) == 1


@pytest.mark.parametrize("accept", [False, True])
def test_a_reset_loses_the_answer_and_perhaps_the_message(slack: SlackStandIn, accept: bool) -> None:
    slack.fail(Reset(accept=accept))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        call(slack.url, {"text": "t"})
    assert len(slack.messages) == accept


def test_a_stand_in_closes_while_a_client_hangs() -> None:
    with ThreadPoolExecutor(1) as threads, SlackStandIn() as slack:
        slack.fail(Hang())
        hanging = threads.submit(call, slack.url, {"text": "t"})
        assert slack.wait(lambda: slack.requests == 1, 60)
        slack.close()
        assert isinstance(hanging.exception(60), ConnectionError | http.client.HTTPException)


def test_of_a_client_that_is_killed_in_the_middle_of_a_request_nothing_was_heard(pagerduty: PagerDutyStandIn) -> None:
    parts = urlsplit(pagerduty.url)
    with socket.create_connection((str(parts.hostname), parts.port), timeout=60) as client:
        client.sendall(b'POST /v2/enqueue HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"routing_key"')
        client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
    assert pagerduty.requests == 0
    assert pagerduty.violations == []

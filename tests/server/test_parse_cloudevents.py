"""CloudEvents posted to the events endpoint: three forms, and everything that is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import pytest
from starlette.datastructures import Headers

from tests.server.conftest import Api
from tocsin.events.cloudevents import to_batch, to_http
from tocsin.events.model import Event
from tocsin.server.api.events import parser
from tocsin.server.api.problems import Refused

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
ONE = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "orders.paid",
    "subject": "A-7",
    "data": {"cents": 5},
}
BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/shop",
    "ce-type": "orders.paid",
    "ce-subject": "A-7",
    "content-type": "application/json",
}
OURS = Event(
    event="orders.paid",
    occurred=NOW,
    resource={"tocsin.resource.id": "A-7", "region": "eu"},
    related=[{"tocsin.resource.id": "ann", "tocsin.resource.role": "owner"}],
    payload={"cents": 5},
)

Pairs = list[tuple[str, str]]


def read(headers: dict[str, str] | Pairs, body: bytes) -> list[Event]:
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    found = Headers(raw=[(name.lower().encode(), value.encode()) for name, value in pairs])
    return parser(found)(body, NOW)


FORMS: list[Any] = [
    pytest.param({"content-type": STRUCTURED}, ONE, id="structured"),
    pytest.param({"content-type": f"{STRUCTURED}; charset=utf-8"}, ONE, id="structured, with a charset"),
    pytest.param(BINARY, ONE["data"], id="binary"),
    pytest.param({"content-type": BATCH}, [ONE], id="a batch"),
]


@pytest.mark.parametrize(("headers", "body"), FORMS)
def test_each_form_says_the_same(headers: dict[str, str], body: Any) -> None:
    (event,) = read(headers, json.dumps(body).encode())
    (same,) = read({"content-type": STRUCTURED}, json.dumps(ONE).encode())
    assert event == same
    assert (event.event, event.resource_id, event.payload) == ("orders.paid", "/shop/A-7", {"cents": 5})


@pytest.mark.parametrize(
    "sent", [to_http(OURS), to_http(OURS, "binary"), to_batch([OURS])], ids=["one", "binary", "batch"]
)
def test_what_goes_out_comes_in_again(sent: tuple[dict[str, str], bytes]) -> None:
    assert read(*sent) == [OURS]


def doc(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**ONE, **changes}.items() if value is not ...}).encode()


def batch(*documents: Any) -> bytes:
    return json.dumps(documents).encode()


def binary(*without: str, **changes: str) -> dict[str, str]:
    return {name: value for name, value in {**BINARY, **changes}.items() if name not in without}


ONLY: dict[str, str] = {"content-type": STRUCTURED}
MANY: dict[str, str] = {"content-type": BATCH}
REFUSED: list[Any] = [
    pytest.param(ONLY, doc(id=...), 422, "'id' is missing", id="without an id"),
    pytest.param(ONLY, doc(specversion="2.0"), 422, "specversion", id="a version nobody knows"),
    pytest.param(ONLY, doc(type="tocsin.flow-run.Failed"), 422, "kept for tocsin", id="a name of ours"),
    pytest.param(ONLY, doc(time="2026-03-02T09:00:00"), 422, "time", id="a time without a zone"),
    pytest.param(ONLY, doc(data={"a": "\0"}), 422, "NUL", id="NUL in a text"),
    pytest.param(ONLY, doc(data_base64="!"), 422, "data", id="data twice, one of them broken"),
    pytest.param(ONLY, b"[]", 422, "object", id="a list, said to be one"),
    pytest.param(ONLY, b"", 422, "not JSON", id="an empty body"),
    pytest.param(ONLY, doc(data={"a": "x" * 1_000_000}), 413, "1,000,000", id="too large"),
    pytest.param(MANY, doc(), 422, "array", id="one, said to be a batch"),
    pytest.param(MANY, b"[]", 422, "at least one", id="an empty batch"),
    pytest.param(MANY, batch(ONE, {**ONE, "type": "tocsin.x"}), 422, "event 1 of 2", id="one bad event refuses all"),
    pytest.param(MANY, batch(ONE, {**ONE, "data": "x" * 1_000_000}), 422, "bytes", id="one too large refuses all"),
    pytest.param(MANY, batch(*[ONE] * 1001), 413, "1,000", id="too many"),
    pytest.param(MANY, batch(ONE, 7), 422, "object", id="a number among them"),
    pytest.param(binary("ce-id"), b"{}", 422, "'id' is missing", id="binary without an id"),
    pytest.param(binary(**{"ce-type": "tocsin.x"}), b"{}", 422, "kept for tocsin", id="binary, a name of ours"),
    pytest.param(binary(**{"ce-time": "yesterday"}), b"{}", 422, "CloudEvent", id="binary, a broken header"),
    pytest.param(binary(), b'{"a": NaN}', 422, "NaN", id="binary, broken data"),
    pytest.param([*BINARY.items(), ("Ce-Id", "2")], b"{}", 422, "twice", id="binary, an attribute twice"),
    pytest.param({"content-type": "application/cloudevents+avro"}, b"{}", 415, "avro", id="a format nobody reads"),
    pytest.param({"content-type": "text/plain"}, b"{}", 415, "text/plain", id="plain text"),
    pytest.param({}, b"{}", 415, "content type", id="no content type"),
]


@pytest.mark.parametrize(("headers", "body", "status", "said"), REFUSED)
def test_what_is_no_cloudevent_is_refused_whole(headers: Any, body: bytes, status: int, said: str) -> None:
    with pytest.raises(Refused) as refusal:
        read(headers, body)
    assert refusal.value.status == HTTPStatus(status)
    assert said in str(refusal.value)


async def test_a_cloudevent_is_stored_once_by_source_and_id(sqlite_api: Api) -> None:
    first = await sqlite_api.post("/api/events", data=doc(), headers=ONLY)
    again = await sqlite_api.post("/api/events", data=b'{"cents": 6}', headers=BINARY)
    other = await sqlite_api.post("/api/events", data=batch({**ONE, "source": "/other"}), headers=MANY)
    assert [answer.status for answer in (first, again, other)] == [201] * 3
    assert first.json() == again.json() != other.json()
    kept = (await sqlite_api.get("/api/events")).json()["events"]
    assert [(event["resource"]["cloudevents.source"], event["payload"]) for event in kept] == [
        ("/other", {"cents": 5}),
        ("/shop", {"cents": 5}),
    ]
    bad = await sqlite_api.post("/api/events", data=batch(ONE, {}), headers=MANY)
    assert (bad.status, bad.json()["errors"][0]["index"]) == (422, 1)

"""POST and GET /api/events on a real socket: what is answered is stored, what is bad is refused by name."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.server.conftest import ORDERS, Api

GOOD = {"event": "orders.loaded", "resource": ORDERS}


async def names(api: Api, query: str = "") -> list[str]:
    answer = await api.get(f"/api/events{query}")
    assert answer.status == 200, answer.body
    return [event["event"] for event in answer.json()["events"]]


async def test_one_event_is_stored_and_shown_as_it_came(api: Api) -> None:
    event = {
        **GOOD,
        "id": str(uuid4()),
        "occurred": "2026-03-02T10:00:00+01:00",
        "related": [{"tocsin.resource.id": "shop.1", "tocsin.resource.role": "shop"}],
        "payload": {"rows": [1, 2.5, None, "ü"]},
        "follows": str(uuid4()),
    }
    answer = await api.post("/api/events", json=event)
    assert (answer.status, answer.json()) == (201, {"ids": [event["id"]]})
    shown = (await api.get(f"/api/events/{event['id']}")).json()
    assert shown == {**event, "occurred": "2026-03-02T09:00:00Z"}


async def test_a_batch_answers_with_ids_in_its_order(api: Api) -> None:
    ids = [str(uuid4()) for _ in range(50)]
    answer = await api.post("/api/events", json=[{**GOOD, "id": one} for one in ids])
    assert (answer.status, answer.json()["ids"]) == (201, ids)
    found = (await api.get("/api/events")).json()["events"]
    assert [event["id"] for event in found] == ids[::-1]


async def test_a_known_id_is_accepted_and_not_stored_twice(api: Api) -> None:
    event = {**GOOD, "id": str(uuid4())}
    for body in (event, [event, event], {**event, "payload": {"other": True}}):
        assert (await api.post("/api/events", json=body)).status == 201
    found = (await api.get("/api/events")).json()["events"]
    assert [(one["id"], one["payload"]) for one in found] == [(event["id"], {})]


async def test_prefects_label_keys_are_read_as_ours(sqlite_api: Api) -> None:
    answer = await sqlite_api.post("/api/events", json={"event": "a", "resource": {"prefect.resource.id": "x"}})
    shown = (await sqlite_api.get(f"/api/events/{answer.json()['ids'][0]}")).json()
    assert shown["resource"] == {"tocsin.resource.id": "x"}


def deep(levels: int) -> str:
    return '{"event":"a","resource":{"tocsin.resource.id":"x"},"payload":{"a":' + "[" * levels + "]" * levels + "}}"


TOMORROW = (datetime.now(UTC) + timedelta(days=2)).isoformat()
BAD: list[tuple[str, str | bytes, int, str, str | None]] = [
    # id, body, status, what the detail says, the field
    ("empty body", b"", 422, "not JSON", None),
    ("not JSON", b"{", 422, "not JSON", None),
    ("bad UTF-8", b'{"event":"\xff"}', 422, "not UTF-8", None),
    ("lone surrogate", '{"event":"a","resource":{"tocsin.resource.id":"\\ud800"}}', 422, "surrogate", "resource"),
    ("NaN", '{"event":"a","resource":{"tocsin.resource.id":"x"},"payload":{"a":NaN}}', 422, "NaN", None),
    ("a number above every float", deep(1).replace("[]", "1e999"), 422, "not a JSON number", "payload"),
    ("an integer above 64 bits", deep(1).replace("[]", "1" * 30), 422, "64 bits", "payload"),
    ("100,000 deep", deep(100_000), 422, "nested deeper", None),
    ("100 deep", deep(100), 422, "nested deeper", "payload"),
    ("a key twice", '{"event":"a","event":"b","resource":{}}', 422, "twice", None),
    ("a list in a list", "[[]]", 422, "JSON object", None),
    ("empty batch", "[]", 422, "at least one", None),
    ("text", '"a"', 422, "send one event", None),
    ("no resource", '{"event":"a"}', 422, "resource", "resource"),
    ("no id", '{"event":"a","resource":{"name":"x"}}', 422, "tocsin.resource.id", "resource"),
    ("label not text", '{"event":"a","resource":{"tocsin.resource.id":1}}', 422, "resource", "resource[...]"),
    ("no role", '{"event":"a","resource":{"tocsin.resource.id":"x"},"related":[{"tocsin.resource.id":"y"}]}', 422,
     "tocsin.resource.role", "related[0]"),
    ("empty name", '{"event":"","resource":{"tocsin.resource.id":"x"}}', 422, "event name", "event"),
    ("name with a glob", '{"event":"a.*","resource":{"tocsin.resource.id":"x"}}', 422, "patterns", "event"),
    ("foreign tocsin. name", '{"event":"tocsin.flow-run.Failed","resource":{"tocsin.resource.id":"x"}}', 422,
     "kept for tocsin", "event"),
    ("NUL", '{"event":"a","resource":{"tocsin.resource.id":"x"},"payload":{"a":"\\u0000"}}', 422, "NUL", "payload"),
    ("right-to-left override in the name", '{"event":"a\\u202eb","resource":{"tocsin.resource.id":"x"}}', 422,
     "event name", "event"),
    ("unknown field", '{"event":"a","resource":{"tocsin.resource.id":"x"},"tags":[]}', 422, "tags", "tags"),
    ("bad id", '{"event":"a","resource":{"tocsin.resource.id":"x"},"id":"7"}', 422, "id", "id"),
    ("year 1", '{"event":"a","resource":{"tocsin.resource.id":"x"},"occurred":"0001-01-01T00:00:00Z"}', 422,
     "occurred", "occurred"),
    ("year 9999", '{"event":"a","resource":{"tocsin.resource.id":"x"},"occurred":"9999-12-31T23:59:59Z"}', 422,
     "occurred", "occurred"),
    ("two days ahead", f'{{"event":"a","resource":{{"tocsin.resource.id":"x"}},"occurred":"{TOMORROW}"}}', 422,
     "occurred", "occurred"),
    ("no zone", '{"event":"a","resource":{"tocsin.resource.id":"x"},"occurred":"2026-03-02T09:00:00"}', 422,
     "timezone", "occurred"),
    ("10,000 related", json.dumps({**GOOD, "related": [{**ORDERS, "tocsin.resource.role": "r"}] * 10_000}), 422,
     "related", "related"),
    ("1 MB and more", json.dumps({**GOOD, "payload": {"a": "x" * 1_000_000}}), 413, "1,000,000 bytes", None),
    ("1 MB in a batch", json.dumps([GOOD, {**GOOD, "payload": {"a": "x" * 1_000_000}}]), 422, "bytes", None),
    ("1,001 events", json.dumps([GOOD] * 1_001), 413, "1,000 events", None),
    ("10 MB and more", b"[" + b" " * 10_000_001, 413, "10,000,000 bytes", None),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "said", "field"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
async def test_a_bad_event_is_refused_by_name_and_nothing_is_stored(
    sqlite_api: Api, body: str | bytes, status: int, said: str, field: str | None
) -> None:
    raw = io.BytesIO(body if isinstance(body, bytes) else body.encode())
    answer = await sqlite_api.post("/api/events", data=raw, headers={"content-type": "application/json"})
    problem = answer.json()
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), problem
    assert said in problem["detail"]
    assert len(answer.body) < 4_000
    if field is not None:
        assert problem["errors"][0]["field"] == field
    assert await names(sqlite_api) == []


async def test_a_bad_event_refuses_its_batch_and_every_flaw_is_named(api: Api) -> None:
    batch: list[Any] = [GOOD, {"event": "a"}, GOOD, {**GOOD, "event": "tocsin.x"}]
    answer = await api.post("/api/events", json=batch)
    assert answer.status == 422
    assert [(flaw["index"], flaw["field"]) for flaw in answer.json()["errors"]] == [(1, "resource"), (3, "event")]
    assert await names(api) == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_only_json_is_read(sqlite_api: Api, kind: str) -> None:
    answer = await sqlite_api.post("/api/events", data=json.dumps(GOOD).encode(), headers={"content-type": kind})
    assert answer.status == 415
    assert "Content-Type: application/json" in answer.json()["detail"]


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\nx: " + b"a" * 200_000, b"\x16\x03\x01 no HTTP\r\n\r\n"])
async def test_what_is_no_request_harms_nobody(sqlite_api: Api, junk: bytes) -> None:
    port = int(sqlite_api.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(junk)
    assert b" 400 " in await reader.readline()
    writer.close()
    assert (await sqlite_api.post("/api/events", json=GOOD)).status == 201


async def test_a_client_that_goes_away_in_the_middle_harms_nobody(sqlite_api: Api) -> None:
    port = int(sqlite_api.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /api/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
    writer.write(b'content-length: 100\r\n\r\n{"event"')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await sqlite_api.post("/api/events", json=GOOD)).status == 201
    assert await names(sqlite_api) == ["orders.loaded"]


async def post_some(api: Api) -> None:
    related = {"tocsin.resource.id": "shop.1", "tocsin.resource.role": "shop"}
    batch = [
        {"event": "orders.loaded", "resource": ORDERS, "occurred": "2026-03-01T00:00:00Z", "related": [related]},
        {"event": "orders.failed", "resource": {"tocsin.resource.id": "orders_x"}, "occurred": "2026-03-02T00:00:00Z"},
        {"event": "Orders.loaded", "resource": {"tocsin.resource.id": "stock.1"}, "occurred": "2026-03-03T00:00:00Z"},
    ]
    assert (await api.post("/api/events", json=batch)).status == 201


FILTERS = [
    ("?name=orders.loaded", ["orders.loaded"]),
    ("?name=orders.*", ["orders.failed", "orders.loaded"]),
    ("?name=*", ["Orders.loaded", "orders.failed", "orders.loaded"]),
    ("?name=orders_*", []),
    ("?resource=orders", ["orders.loaded"]),
    ("?resource=orders*", ["orders.failed", "orders.loaded"]),
    ("?related=shop.1", ["orders.loaded"]),
    ("?related=shop*", ["orders.loaded"]),
    ("?related=shop.2", []),
    ("?since=2026-03-02T00:00:00Z", ["Orders.loaded", "orders.failed"]),
    ("?until=2026-03-02T00:00:00Z", ["orders.loaded"]),
    ("?since=2026-03-02T00:00:00Z&until=2026-03-02T00:00:00.001Z", ["orders.failed"]),
    ("?limit=1", ["Orders.loaded"]),
]


@pytest.mark.parametrize(("query", "expected"), FILTERS, ids=[query for query, _ in FILTERS])
async def test_a_filter_gives_what_it_says_newest_first(api: Api, query: str, expected: list[str]) -> None:
    await post_some(api)
    assert await names(api, query) == expected


REFUSED = ["?name=a*b", "?limit=0", "?limit=9999", "?page=x", "?since=yesterday", "?since=2026-03-02T00:00:00",
           "?since=2026-03-02T00:00:00Z&until=2026-03-01T00:00:00Z"]  # fmt: skip


@pytest.mark.parametrize("query", REFUSED)
async def test_a_filter_that_cannot_be_read_is_refused(sqlite_api: Api, query: str) -> None:
    answer = await sqlite_api.get(f"/api/events{query}")
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["detail"]


@pytest.mark.parametrize("query", ["limit=7", "limit=7&related=shop.1"])
async def test_pages_give_every_event_once(api: Api, query: str) -> None:
    related = [{"tocsin.resource.id": "shop.1", "tocsin.resource.role": "shop"}]
    batch = [{"event": f"e.{number}", "resource": ORDERS, "related": related} for number in range(20)]
    await api.post("/api/events", json=batch)
    found: list[str] = []
    page: str | None = ""
    while page is not None:
        answer = (await api.get(f"/api/events?{query}" + (f"&page={page}" if page else ""))).json()
        found += [event["event"] for event in answer["events"]]
        page = answer["next"]
    assert found == [f"e.{number}" for number in reversed(range(20))]


async def test_an_unknown_event_is_not_found(sqlite_api: Api) -> None:
    missing = uuid4()
    answer = await sqlite_api.get(f"/api/events/{missing}")
    assert (answer.status, str(missing) in answer.json()["detail"]) == (404, True)


@pytest.mark.parametrize(
    ("query", "words"),
    [("?nam=orders.*", "did you mean name?"), ("?%00=1", "known: limit, name"), ("?limit=1&x=y", "'x'")],
)
async def test_a_misspelt_filter_is_refused_instead_of_letting_everything_through(
    sqlite_api: Api, query: str, words: str
) -> None:
    answer = await sqlite_api.get(f"/api/events{query}")
    assert answer.status == 422
    assert words in answer.json()["detail"]

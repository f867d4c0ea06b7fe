"""Events answered as CloudEvents, read by the cloudevents package and by our own door."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import pytest
from cloudevents.core.bindings import http as library
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.server.conftest import Answer, Api

BATCH = {"accept": "application/cloudevents-batch+json"}
STRUCTURED = {"accept": "application/cloudevents+json"}
ONE: dict[str, Any] = {
    "event": "orders.loaded",
    "resource": {"tocsin.resource.id": "order.ü", "region": "eu"},
    "related": [{"tocsin.resource.id": "shop.1", "tocsin.resource.role": "shop"}],
    "payload": {"rows": [1, 2.5, None, "ü"]},
    "occurred": "2026-03-02T09:00:00Z",
}


async def stored(api: Api, **changes: Any) -> str:
    event_id = str(uuid4())
    assert (await api.post("/api/events", json={**ONE, "id": event_id, **changes})).status == 201
    return event_id


def told(answer: Answer) -> dict[str, str]:
    return {name: text for name, text in answer.headers.items() if name == "content-type" or name.startswith("ce-")}


@pytest.mark.parametrize(
    ("query", "headers"),
    [("", STRUCTURED), ("?cloudevent=structured", {}), ("?cloudevent=binary", {}), ("?cloudevent=binary", STRUCTURED)],
)
async def test_one_event_reads_as_a_cloudevent(sqlite_api: Api, query: str, headers: dict[str, str]) -> None:
    event_id = await stored(sqlite_api)
    answer = await sqlite_api.get(f"/api/events/{event_id}{query}", headers=headers)
    assert answer.status == 200
    found = library.from_http(library.HTTPMessage(told(answer), answer.body), JSONFormat(), CloudEvent)
    assert (found.get_id(), found.get_source(), found.get_type()) == (event_id, "/tocsin", "orders.loaded")
    assert (found.get_subject(), found.get_data()) == ("order.ü", ONE["payload"])
    assert ("ce-id" in answer.headers) == ("binary" in query)


async def test_without_being_asked_the_answer_is_in_our_own_form(sqlite_api: Api) -> None:
    event_id = await stored(sqlite_api)
    for accept in ("*/*", "application/json", "application/cloudevents+json;q=0, */*"):
        answer = await sqlite_api.get(f"/api/events/{event_id}", headers={"accept": accept})
        assert (answer.headers["content-type"], answer.json()["event"]) == ("application/json", "orders.loaded")
        listed = await sqlite_api.get("/api/events", headers={"accept": accept})
        assert [one["id"] for one in listed.json()["events"]] == [event_id]


async def test_pages_come_as_batches_and_name_the_next(sqlite_api: Api) -> None:
    ids = [await stored(sqlite_api) for _ in range(5)]
    found, path = [], "/api/events?name=orders.*&limit=2"
    while path:
        answer = await sqlite_api.get(path, headers={"accept": "text/html, application/cloudevents-batch+json;q=0.9"})
        assert answer.headers["content-type"] == "application/cloudevents-batch+json"
        found += [JSONFormat().read(CloudEvent, json.dumps(one)) for one in answer.json()]
        link = re.fullmatch(r'<(.*)>; rel="next"', answer.headers.get("link", "<>"))
        path = link[1] if link else ""
    assert [one.get_id() for one in found] == ids[::-1]


async def test_what_goes_out_comes_in_as_the_same_event(sqlite_api: Api) -> None:
    ids = [await stored(sqlite_api) for _ in range(3)]
    answer = await sqlite_api.get("/api/events", headers=BATCH)
    again = await sqlite_api.post("/api/events", data=answer.body, headers=told(answer))
    assert (again.status, again.json()["ids"]) == (201, ids[::-1])
    binary = await sqlite_api.get(f"/api/events/{ids[0]}?cloudevent=binary")
    again = await sqlite_api.post("/api/events", data=binary.body, headers=told(binary))
    assert (again.status, again.json()["ids"]) == (201, ids[:1])
    assert len((await sqlite_api.get("/api/events")).json()["events"]) == 3, "each is known under its id"


async def test_labels_that_fit_no_header_are_refused_in_binary_form(sqlite_api: Api) -> None:
    event_id = await stored(sqlite_api, resource={"tocsin.resource.id": "a", "note": "x" * 20_000})
    answer = await sqlite_api.get(f"/api/events/{event_id}?cloudevent=binary")
    assert answer.status == 422
    assert "structured" in answer.json()["detail"]
    assert (await sqlite_api.get(f"/api/events/{event_id}", headers=STRUCTURED)).status == 200

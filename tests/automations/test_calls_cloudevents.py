"""Webhook calls that carry a CloudEvent: read by the package and by our own door, signed, what cannot be refused."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings import http as library
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import ValidationError
from standardwebhooks import Webhook as Verifier

from tests.automations.firings import firing
from tests.automations.parts import Outbox, decided, define, happened, invocations, on, rule
from tocsin.automations import CallWebhook, calls
from tocsin.automations.invocation import fired_id
from tocsin.automations.perform import Performer
from tocsin.automations.plan import plan
from tocsin.events import cloudevents
from tocsin.events.clock import ManualClock
from tocsin.events.model import Event
from tocsin.store.engine import Store

NOW = datetime.now(UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PICTURE = {"specversion": "1.0", "id": "1", "source": "/cam", "type": "x", "datacontenttype": "image/png"}
MODES: list[cloudevents.Mode] = ["structured", "binary"]


def sending(mode: str, **fields: Any) -> CallWebhook:
    return CallWebhook.model_validate({"url": "http://a.test/hook", "cloudevent": mode, **fields})


async def sent(store: Store, clock: ManualClock, event: Event, action: CallWebhook) -> tuple[bytes, dict[str, str]]:
    define(store, on("call", action))
    await decided(store, clock, event)
    outbox = Outbox()
    await Performer(store, clock, outbox, source="/tocsin/eu").settle()
    [(_, body, headers)] = outbox.sent
    return body, headers


@pytest.mark.parametrize("mode", MODES)
async def test_the_event_itself_is_sent_and_signed(store: Store, mode: cloudevents.Mode) -> None:
    clock, event = ManualClock(NOW), happened("x", payload={"n": 7, "ü": [None]})
    body, headers = await sent(store, clock, event, sending(mode, secret=SECRET, headers={"Authorization": "hush"}))
    Verifier(SECRET).verify(body.decode(), headers)
    [row] = invocations(store)
    assert (headers["authorization"], headers["webhook-id"]) == ("hush", str(row.id))
    found = library.from_http(library.HTTPMessage(headers, body), JSONFormat(), CloudEvent)
    assert (found.get_source(), found.get_id(), found.get_data()) == ("/tocsin/eu", str(event.id), event.payload)
    assert cloudevents.from_http(headers, body, NOW + timedelta(days=1)) == [event]
    assert ("ce-id" in headers) == (mode == "binary")


@pytest.mark.parametrize(
    "event",
    [
        cloudevents.from_document({**PICTURE, "data_base64": "/wA="}, NOW),
        happened("x", labels={"note": "x" * 20_000}),
    ],
    ids=["bytes that are no text", "labels that fit no header"],
)
async def test_what_the_binary_form_has_no_room_for_goes_structured(
    store: Store, clock: ManualClock, event: Event
) -> None:
    body, headers = await sent(store, clock, event, sending("binary", secret=SECRET))
    assert headers["content-type"] == cloudevents.STRUCTURED
    assert "ce-id" not in headers
    assert cloudevents.from_http(headers, body, NOW + timedelta(days=1)) == [event]


REFUSED = [
    pytest.param({"payload": {"n": 1}}, "give either payload or cloudevent", id="a payload of its own"),
    pytest.param({"headers": {"Content-Type": "a/b"}}, "the CloudEvent's own", id="another type"),
    pytest.param({"headers": {"CE-Id": "1"}}, "the CloudEvent's own", id="another id"),
    pytest.param({"cloudevent": "batch"}, "'structured' or 'binary'", id="an unknown form"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(reason)):
        CallWebhook.model_validate({"url": "http://a.test", "cloudevent": "binary", **fields})


@pytest.mark.parametrize("mode", MODES)
def test_a_deadline_sends_the_event_that_tells_of_the_firing(mode: cloudevents.Mode, store: Store) -> None:
    automation = rule("quiet", sending(mode).model_dump())
    silence = firing(None, labels={"host": "db1"})
    [invocation] = plan(automation, silence)
    with store.read() as session:
        call = calls.prepare(session, invocation, 1)
    assert isinstance(call, calls.Call)
    found = library.from_http(library.HTTPMessage(call.headers, call.body), JSONFormat(), CloudEvent)
    assert (found.get_type(), found.get_id()) == ("tocsin.automation.triggered", str(fired_id(silence.id)))
    assert found.get_source() == "/tocsin"

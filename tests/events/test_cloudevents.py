"""Events as CloudEvents 1.0: in, out, and back."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events import cloudevents
from tocsin.events.cloudevents import (
    BATCH,
    STRUCTURED,
    from_batch,
    from_document,
    from_http,
    from_kafka,
    is_one,
    to_batch,
    to_http,
    to_kafka,
)
from tocsin.events.codec import strict_json
from tocsin.events.errors import BadEvent
from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
OWN = UUID("0197c1f2-8a34-7cc1-9f6e-4f3f7c1d2a10")

# As in the specification's own examples (spec.md, "Example"; http-protocol-binding.md; kafka-protocol-binding.md).
DOCUMENT: dict[str, Any] = {
    "specversion": "1.0",
    "type": "com.github.pull_request.opened",
    "source": "https://github.com/cloudevents/spec/pull",
    "subject": "123",
    "id": "A234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
    "datacontenttype": "application/json",
    "data": {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True},
}
EXPECTED = Event(
    id=derive("cloudevent", "https://github.com/cloudevents/spec/pull", "A234-1234-1234"),
    event="com.github.pull_request.opened",
    occurred=datetime(2018, 4, 5, 17, 31, tzinfo=UTC),
    resource={
        "tocsin.resource.id": "https://github.com/cloudevents/spec/pull/123",
        "cloudevents.source": "https://github.com/cloudevents/spec/pull",
        "cloudevents.subject": "123",
        "cloudevents.id": "A234-1234-1234",
        "cloudevents.comexampleextension1": "value",
        "cloudevents.comexampleothervalue": "5",
    },
    payload={"appinfoA": "abc", "appinfoB": 123, "appinfoC": True},
)
TEXTS = {name: str(value) for name, value in DOCUMENT.items() if name not in ("data", "datacontenttype")}
BODY = json.dumps(DOCUMENT["data"]).encode()


def document(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**DOCUMENT, **changes}.items() if value is not ...}


def read(**changes: Any) -> Event:
    return from_document(document(**changes), NOW)


def test_http_structured() -> None:
    headers = {"content-type": "application/cloudevents+json; charset=UTF-8"}
    assert is_one(headers)
    assert from_http(headers, json.dumps(DOCUMENT).encode(), NOW) == [EXPECTED]


def test_http_binary() -> None:
    headers = {"content-type": "application/json", **{f"ce-{name}": text for name, text in TEXTS.items()}}
    assert is_one(headers)
    assert from_http(headers, BODY, NOW) == [EXPECTED]


def test_http_binary_decodes_what_is_encoded_by_percent() -> None:
    headers = {f"ce-{name}": text for name, text in TEXTS.items()} | {"ce-subject": "Euro%20%E2%82%AC"}
    assert from_http(headers, BODY, NOW)[0].resource["cloudevents.subject"] == "Euro €"


def test_http_batch() -> None:
    assert from_http({"content-type": BATCH}, json.dumps([DOCUMENT, DOCUMENT]).encode(), NOW) == [EXPECTED, EXPECTED]


def test_kafka_structured() -> None:
    headers = [("content-type", STRUCTURED.encode())]
    assert from_kafka(headers, json.dumps(DOCUMENT).encode(), NOW) == EXPECTED


def test_kafka_binary() -> None:
    headers = [("content-type", b"application/json"), *((f"ce_{name}", text.encode()) for name, text in TEXTS.items())]
    assert from_kafka(headers, BODY, NOW) == EXPECTED


def test_what_is_no_cloudevent_is_not_taken_for_one() -> None:
    assert not is_one({"content-type": "application/json"})


READ = [
    pytest.param({"id": str(OWN), "source": "/tocsin"}, "id", OWN, id="a tocsin's id stays"),
    pytest.param({"id": str(OWN), "source": "/tocsin/eu"}, "id", OWN, id="another tocsin's id stays"),
    pytest.param(
        {"id": str(OWN), "source": "/tocsins"},
        "id",
        derive("cloudevent", "/tocsins", str(OWN)),
        id="a UUID of anybody else is unique within its source only",
    ),
    pytest.param({"subject": ...}, "resource_id", DOCUMENT["source"], id="no subject: the source is the resource"),
    pytest.param({"time": ...}, "occurred", NOW, id="without a time it is now"),
    pytest.param({"time": None}, "occurred", NOW, id="null is not there"),
    pytest.param({"data": ...}, "payload", {}, id="without data"),
    pytest.param({"data": [1, 2]}, "payload", {"value": [1, 2]}, id="data that is no object"),
    pytest.param({"data": "<a/>", "datacontenttype": "text/xml"}, "payload", {"value": "<a/>"}, id="XML"),
    pytest.param({"data": ..., "data_base64": "/wA="}, "payload", {"data_base64": "/wA="}, id="bytes"),
    pytest.param({"data": ..., "data_base64": "eyJhIjoxfQ=="}, "payload", {"a": 1}, id="JSON as base64"),
]


@pytest.mark.parametrize(("changes", "field", "value"), READ)
def test_a_field_is_read(changes: dict[str, Any], field: str, value: Any) -> None:
    if "data_base64" in changes and field == "payload" and "data_base64" in value:
        changes = {**changes, "datacontenttype": "application/octet-stream"}
    assert getattr(read(**changes), field) == value


@pytest.mark.parametrize("number", ["A-1", str(OWN)])
def test_an_id_is_the_events_own_only_together_with_its_source(number: str) -> None:
    assert read(source="/a", id=number).id != read(source="/b", id=number).id
    assert read(source="/a", id=number).id == read(source="/a", id=number, data={"another": "body"}).id


REFUSED = [
    pytest.param({"id": ...}, "'id' is missing", id="no id"),
    pytest.param({"id": ""}, "id", id="an empty id"),
    pytest.param({"id": 7}, "id", id="an id that is a number"),
    pytest.param({"source": ...}, "'source' is missing", id="no source"),
    pytest.param({"specversion": ...}, "'specversion' is missing", id="no version"),
    pytest.param({"specversion": "0.3"}, "specversion", id="an old version"),
    pytest.param({"specversion": "2.0"}, "not a CloudEvent: specversion: ", id="an unknown version"),
    pytest.param({"type": "tocsin.flow-run.Failed"}, "kept for tocsin", id="our names"),
    pytest.param({"time": "yesterday"}, "time: 'yesterday' is no time such as", id="words for a time"),
    pytest.param({"time": "2026-03-02T09:00:00"}, "timezone aware", id="a time without a zone"),
    pytest.param({"time": 5}, "time: '5' is no time such as", id="a number for a time"),
    pytest.param({"Upper": "x"}, "lowercase", id="an extension's name in capitals"),
    pytest.param({"nested": {"a": 1}}, "an attribute of a CloudEvent", id="an extension that is an object"),
    pytest.param({"data_base64": "AA=="}, "not both", id="data twice"),
    pytest.param({"data": ..., "data_base64": "###"}, "not a CloudEvent", id="no base64"),
    pytest.param({"tocsinrelated": "[1]"}, "tocsinrelated", id="broken extension of ours"),
    pytest.param({"tocsinfollows": "x"}, "no UUID", id="follows nobody"),
    pytest.param({"data": {"a": "\0"}}, "NUL", id="NUL in the data"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_what_is_wrong_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadEvent, match=reason):
        read(**changes)


BROKEN_HTTP = [
    pytest.param({"content-type": STRUCTURED}, b"[]", "JSON object", id="structured: a list"),
    pytest.param({"content-type": STRUCTURED}, b"", "not JSON", id="structured: empty"),
    pytest.param({"content-type": STRUCTURED}, b'{"id":"a","id":"b"}', "twice", id="structured: a key twice"),
    pytest.param({"content-type": BATCH}, b"{}", "JSON array", id="batch: no array"),
    pytest.param({"content-type": "application/cloudevents+avro"}, b"", "content type", id="another format"),
    pytest.param({"ce-specversion": "1.0"}, b"", "'id' is missing", id="binary: hardly a header"),
    pytest.param(
        {**{f"ce-{name}": text for name, text in TEXTS.items()}, "ce-time": "x"}, b"", "not a CloudEvent", id="bad time"
    ),
    pytest.param(
        {**{f"ce-{name}": text for name, text in TEXTS.items()}, "content-type": "application/json"},
        b"{NaN",
        "not JSON",
        id="binary: data that is not what its type says",
    ),
]


@pytest.mark.parametrize(("headers", "body", "reason"), BROKEN_HTTP)
def test_a_broken_request_is_refused_with_the_reason(headers: dict[str, str], body: bytes, reason: str) -> None:
    with pytest.raises(BadEvent, match=reason):
        from_http(headers, body, NOW)


def test_a_bad_one_in_a_batch_is_named_by_its_place() -> None:
    with pytest.raises(BadEvent, match=r"event 2 of 2: .*'id' is missing"):
        from_batch([DOCUMENT, document(id=...)], NOW)


def test_a_binary_one_without_a_version_is_told_so() -> None:
    headers = {"ce-type": "a", "ce-source": "/s", "ce-id": "1", "content-type": "application/json"}
    assert is_one(headers)
    with pytest.raises(BadEvent, match="'specversion' is missing"):
        from_http(headers, b"{}", NOW)


@pytest.mark.parametrize("value", [b"\xff", b"x\xff"])
def test_a_broken_kafka_header_is_refused(value: bytes) -> None:
    headers = [(f"ce_{name}", text.encode()) for name, text in TEXTS.items() if name != "subject"]
    with pytest.raises(BadEvent, match="not a CloudEvent"):
        from_kafka([*headers, ("ce_subject", value)], BODY, NOW)
    with pytest.raises(BadEvent, match=r"'ce_[a-z]+' stands there twice"):
        from_kafka([*headers, headers[0]], BODY, NOW)


def test_headers_that_are_none_of_its_own_may_stand_twice() -> None:
    headers = [(f"ce_{name}", text.encode()) for name, text in TEXTS.items() if name != "subject"]
    assert from_kafka([*headers, ("hop", b"a"), ("hop", b"b")], BODY, NOW) == from_kafka(headers, BODY, NOW)


def test_labels_that_fit_no_header_are_sent_structured() -> None:
    large = Event(event="a", resource={RESOURCE_ID: "a", "note": "x" * 20_000})
    with pytest.raises(BadEvent, match="send it structured"):
        to_http(large, "binary")
    assert from_http(*to_http(large), datetime.now(UTC)) == [large]


def test_one_of_somebody_else_goes_out_as_it_came() -> None:
    assert json.loads(to_http(EXPECTED)[1]) == {**DOCUMENT, "comexampleothervalue": "5"}


def test_one_of_ours_goes_out_with_its_payload_as_data() -> None:
    ours = Event(
        id=OWN, event="tocsin.flow-run.Failed", occurred=NOW, resource={RESOURCE_ID: "run.1"}, payload={"n": 1}
    )
    assert json.loads(to_http(ours)[1]) == {
        "specversion": "1.0",
        "id": str(OWN),
        "source": "/tocsin",
        "subject": "run.1",
        "type": "tocsin.flow-run.Failed",
        "time": "2026-03-02T09:00:00Z",
        "tocsinresource": '{"tocsin.resource.id":"run.1"}',
        "datacontenttype": "application/json",
        "data": {"n": 1},
    }


# --- there and back ---

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
NAMES = st.from_regex(r"[a-z]{1,8}(\.[a-zé]{1,8}){0,2}", fullmatch=True).filter(
    lambda name: not name.startswith("tocsin.")
)
LABELS = st.dictionaries(TEXT, TEXT, max_size=3)
RESOURCES = st.builds(lambda labels, own: {**labels, RESOURCE_ID: own}, LABELS, TEXT.filter(bool))
RELATED = st.builds(lambda labels, role: {**labels, RESOURCE_ROLE: role}, RESOURCES, TEXT.filter(bool))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PAYLOADS = (
    st.dictionaries(TEXT, JSON, max_size=3) | st.fixed_dictionaries({"value": TEXT}) | st.just({"data_base64": "/wA="})
)
FOREIGN = st.fixed_dictionaries(
    {"cloudevents.source": TEXT, "cloudevents.id": TEXT, RESOURCE_ID: TEXT.filter(bool)},
    optional={
        "cloudevents.subject": TEXT,
        "cloudevents.datacontenttype": st.sampled_from(
            ["text/xml", "application/json", "a\r\nb", "", "application/a+json"]
        ),
        "cloudevents.data": TEXT,
        "cloudevents.type": TEXT,
        "cloudevents.other": TEXT,
    },
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    resource = draw(RESOURCES | FOREIGN)
    known = derive("cloudevent", resource.get("cloudevents.source", ""), resource.get("cloudevents.id", ""))
    return Event(
        id=draw(st.sampled_from([OWN, known])),
        event=draw(NAMES),
        occurred=NOW - timedelta(microseconds=draw(st.integers(0, 10**15 // 2))),
        resource=resource,
        related=draw(st.lists(RELATED, max_size=2)),
        payload=draw(PAYLOADS),
        follows=draw(st.none() | st.uuids()),
    )


@given(events(), st.sampled_from(["structured", "binary"]))
def test_an_event_comes_back_over_http(event: Event, mode: cloudevents.Mode) -> None:
    assert from_http(*to_http(event, mode), NOW) == [event]


@given(st.lists(events(), max_size=3))
def test_a_batch_comes_back(batch: list[Event]) -> None:
    assert from_http(*to_batch(batch), NOW) == batch


@given(events(), st.sampled_from(["structured", "binary"]))
def test_an_event_comes_back_over_kafka(event: Event, mode: cloudevents.Mode) -> None:
    headers, key, value = to_kafka(event, mode)
    assert key == event.resource_id.encode()
    assert from_kafka(headers, value, NOW) == event


@given(st.dictionaries(st.sampled_from([*DOCUMENT, "data_base64", "tocsinresource"]), JSON), st.binary(max_size=30))
def test_nothing_that_comes_in_breaks_more_than_itself(attributes: dict[str, Any], raw: bytes) -> None:
    changed = {**DOCUMENT, **attributes}
    headers = [(f"ce_{name}", str(value).encode()) for name, value in changed.items()]
    for call in (
        lambda: from_document(changed, NOW),
        lambda: from_kafka(headers, raw, NOW),
        lambda: from_http({f"ce-{name}": str(value) for name, value in changed.items()}, raw, NOW),
        lambda: from_document(strict_json(raw), NOW),
    ):
        try:
            call()
        except BadEvent:
            continue

"""Events as CloudEvents 1.0, on HTTP and on Kafka; the only door to the cloudevents package.

```text
type          event                       subject, source   resource id: source/subject, or the source alone
id, source    id: derived from both       data              payload
time          occurred                    others            labels of the resource: cloudevents.<name>
```

Where ours has more to say it says so in extension attributes (`tocsinresource`, `tocsinrelated`, `tocsinfollows`), so
that an event of ours comes back as it went out. One of somebody else goes out under the id and source it came with.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from cloudevents.core.base import BaseCloudEvent, EventFactory
from cloudevents.core.bindings import http, kafka
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from dateutil.parser import isoparse

from tocsin.events import codec
from tocsin.events.errors import BadEvent
from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID, Event

# Any, in this file: attributes and data of any JSON type.

SOURCE: Final = "/tocsin"
"""The source under which our own events go out; an installation may add a path, such as `/tocsin/eu`."""

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
MAX_HEADERS: Final = 16_000
"""Bytes that the attributes may take in HTTP headers; servers refuse more."""

Mode = Literal["structured", "binary"]

_PREFIX: Final = "cloudevents."
_RESOURCE, _RELATED, _FOLLOWS = "tocsinresource", "tocsinrelated", "tocsinfollows"
_OWN: Final = frozenset({_RESOURCE, _RELATED, _FOLLOWS})
_UNLABELLED: Final = frozenset({"type", "time", "specversion"}) | _OWN
_NAME: Final = re.compile(r"[a-z0-9]+", re.ASCII)
_BYTES: Final = "data_base64"
_TELLING: Final = frozenset({"ce-specversion", "ce-type"})
_PREFACE: Final = "Failed to create CloudEvent due to the validation errors:: "
_PLAIN_JSON: Final = "application/json"
_HEADER: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]*")
_NAMED: Final = frozenset({"specversion", "id", "source", "type"})
_FAILURES: Final = (BaseCloudEventException, ValueError, TypeError, AttributeError, OverflowError)


class _Strict(JSONFormat):
    """The package's JSON, read by the letter."""

    def read(self, event_factory: EventFactory | None, data: str | bytes) -> BaseCloudEvent:
        """The CloudEvent of a JSON object."""
        return _made_of(codec.strict_json(data))

    def read_data(self, body: bytes, datacontenttype: str | None) -> Any:
        """JSON as its value, other text as text, anything else as bytes."""
        if not body:
            return None
        if _is_json(datacontenttype):
            return codec.strict_json(body)
        try:
            return body.decode()
        except UnicodeDecodeError:
            return body


_FORMAT: Final = _Strict()


def is_one(headers: Mapping[str, str]) -> bool:
    """Whether an HTTP request with these headers (names in lower case) brings CloudEvents."""
    return _media_type(headers).startswith("application/cloudevents") or bool(_TELLING & headers.keys())


def from_http(headers: Mapping[str, str], body: bytes, now: datetime) -> list[Event]:
    """The events of a request: structured, binary, or a batch. Raises `BadEvent` with the reason.

    `headers`: names in lower case; `now` stands for a missing time.
    """
    kind = _media_type(headers)
    if kind == BATCH:
        return from_batch(codec.strict_json(body), now)
    if kind.startswith("application/cloudevents"):
        return [from_document(_one(kind, body), now)]
    message = http.HTTPMessage(dict(headers), body)
    return [_admitted(_checked(lambda: http.from_binary(message, _FORMAT, _present)), now, now)]


def from_kafka(
    headers: Sequence[tuple[str, bytes]], body: bytes, now: datetime, occurred: datetime | None = None
) -> Event:
    """The event of a record: binary when a header `ce_specversion` says so, else structured. Raises `BadEvent`.

    `occurred` stands for a missing time (default: `now`).
    """
    found = {name.lower(): value for name, value in headers}
    kind = found.get("content-type", b"").decode(errors="replace").partition(";")[0].strip().lower()
    if kind.startswith("application/cloudevents") or "ce_specversion" not in found:
        return from_document(_one(kind or STRUCTURED, body), now, occurred)
    mine = [name.lower() for name, _ in headers if named([(name, b"")])]
    if twice := [name for name in mine if mine.count(name) > 1]:
        raise BadEvent(f"the header {twice[0]!r} stands there twice; a CloudEvent has one value an attribute")
    message = kafka.KafkaMessage(found, None, body)
    return _admitted(_checked(lambda: kafka.from_binary(message, _FORMAT, _present)), now, occurred)


def named(headers: Sequence[tuple[str, bytes]]) -> bool:
    """Whether one of a record's headers belongs to a CloudEvent."""
    return any(name.lower() == "content-type" or name.lower().startswith("ce_") for name, _ in headers)


def from_document(document: Any, now: datetime, occurred: datetime | None = None) -> Event:
    """The event of a structured CloudEvent as parsed JSON (`codec.strict_json`). Raises `BadEvent`."""
    return _admitted(_checked(lambda: _made_of(document)), now, occurred)


def from_batch(documents: Any, now: datetime) -> list[Event]:
    """The events of a batch as parsed JSON. Raises `BadEvent`, with the place, when one is bad: all or none."""
    if not isinstance(documents, list):
        raise BadEvent("a batch of CloudEvents is a JSON array")
    events = []
    for place, document in enumerate(documents, 1):
        try:
            events.append(from_document(document, now))
        except BadEvent as error:
            raise BadEvent(f"event {place} of {len(documents)}: {error}") from error
    return events


def to_http(event: Event, mode: Mode = "structured", source: str = SOURCE) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request that brings `event`. Raises `BadEvent` when its labels do not fit into headers."""
    made = _outgoing(event, source)
    if mode == "structured":
        message = http.to_structured(made, _FORMAT)
        return message.headers, message.body
    message = http.to_binary(made, _FORMAT)
    size = sum(len(name) + len(value) for name, value in message.headers.items())
    if size > MAX_HEADERS:
        raise BadEvent(f"event {event.event[:80]!r}: {size:,} bytes of headers; send it structured")
    return message.headers, message.body


def to_batch(events: Sequence[Event], source: str = SOURCE) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request that brings all `events`."""
    bodies = (_FORMAT.write(_outgoing(event, source)) for event in events)
    return {"content-type": BATCH}, b"[" + b",".join(bodies) + b"]"


def to_kafka(
    event: Event, mode: Mode = "structured", source: str = SOURCE
) -> tuple[list[tuple[str, bytes]], bytes, bytes]:
    """Headers, key and value of a record that brings `event`; the key is the resource id."""
    write = kafka.to_structured if mode == "structured" else kafka.to_binary
    message = write(_outgoing(event, source), _FORMAT, lambda _: event.resource_id)
    return list(message.headers.items()), event.resource_id.encode(), message.value


# --- in ---


def _one(kind: str, body: bytes) -> Any:
    if kind not in (STRUCTURED, "application/json"):
        raise BadEvent(f"content type {kind[:80]!r}: CloudEvents are read as {STRUCTURED}, or in binary mode")
    return codec.strict_json(body)


def _made_of(document: Any) -> BaseCloudEvent:
    """The CloudEvent of a JSON object; a member that is null is not there."""
    if not isinstance(document, dict):
        raise BadEvent("a CloudEvent is a JSON object")
    attributes = {name: value for name, value in document.items() if value is not None and name not in ("data", _BYTES)}
    if "time" in attributes:
        attributes["time"] = _time(attributes["time"])
    found = document.get("data")
    if (coded := document.get(_BYTES)) is not None:
        if found is not None:
            raise BadEvent(f"a CloudEvent has data or {_BYTES}, not both")
        found = b64decode(coded, validate=True)
        if "datacontenttype" in attributes:
            found = _FORMAT.read_data(found, attributes["datacontenttype"])
    return _present(attributes, found)


def _time(given: Any) -> datetime:
    try:
        return isoparse(given)
    except (TypeError, ValueError) as error:
        raise BadEvent(f"time: {str(given)[:40]!r} is no time such as 2026-03-02T09:00:00Z") from error


def _present(attributes: dict[str, Any], found: Any) -> BaseCloudEvent:
    """The package's CloudEvent; it would make up an id, a version and a time where they are missing."""
    if missing := sorted(_NAMED - attributes.keys()):
        raise BadEvent(f"a CloudEvent has {', '.join(sorted(_NAMED))}; {missing[0]!r} is missing")
    timed = "time" in attributes
    made = CloudEvent(attributes, found)
    if not timed:
        del attributes["time"]
    return made


def _checked(read: Any) -> BaseCloudEvent:
    try:
        made: BaseCloudEvent = read()
        return made
    except BadEvent:
        raise
    except _FAILURES as error:
        told = " ".join(str(error).split()).removeprefix(_PREFACE)
        raise BadEvent(f"not a CloudEvent: {told[:400]}") from error


def _admitted(made: BaseCloudEvent, now: datetime, occurred: datetime | None) -> Event:
    attributes = made.get_attributes()
    event = Event(
        id=_event_id(made.get_source(), made.get_id()),
        event=made.get_type(),
        occurred=made.get_time() or occurred or now,
        resource=_read_own(attributes, _RESOURCE, dict[str, str]) or _resource(attributes),
        related=_read_own(attributes, _RELATED, list[dict[str, str]]) or [],
        payload=_payload(made.get_data()),
        follows=_read_follows(attributes.get(_FOLLOWS)),
    )
    return codec.admit(event, now)


def _event_id(source: str, number: str) -> UUID:
    """An id is unique within its source only, so ours is derived from both; one of a tocsin's is the event's own."""
    try:
        found = UUID(number)
    except ValueError:
        return derive("cloudevent", source, number)
    own = source == SOURCE or source.startswith(f"{SOURCE}/")
    return found if own and str(found) == number else derive("cloudevent", source, number)


def _resource(attributes: Mapping[str, Any]) -> dict[str, str]:
    source, subject = attributes["source"], attributes.get("subject")
    labels = {RESOURCE_ID: f"{source.rstrip('/')}/{subject}" if subject else source}
    told = {name: _text(value) for name, value in attributes.items() if name not in _UNLABELLED}
    if told.get("datacontenttype") == _PLAIN_JSON:
        del told["datacontenttype"]
    return labels | {_PREFIX + name: text for name, text in told.items()}


def _payload(found: Any) -> dict[str, Any]:
    match found:
        case None:
            return {}
        case dict():
            return found
        case bytes():
            return {_BYTES: b64encode(found).decode()}
    return {"value": found}


def _read_own(attributes: Mapping[str, Any], name: str, kind: Any) -> Any:
    found = attributes.get(name)
    if found is None:
        return None
    try:
        return msgspec.json.decode(found, type=kind)
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        raise BadEvent(f"{name}: {error}") from error


def _read_follows(found: Any) -> UUID | None:
    try:
        return None if found is None else UUID(str(found))
    except ValueError as error:
        raise BadEvent(f"{_FOLLOWS}: {str(found)[:80]!r} is no UUID") from error


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool() | int():
            return str(value).lower()
    raise BadEvent(f"an attribute of a CloudEvent is a text, a whole number or a boolean, not {str(value)[:80]}")


# --- out ---


def _outgoing(event: Event, source: str) -> CloudEvent:
    codec.check(event)
    attributes = {"specversion": "1.0", **_origin(event, source), "type": event.event, "time": event.occurred}
    found = _sent(event.payload, attributes.get("datacontenttype"))
    if isinstance(found, dict) and not _is_json(attributes.get("datacontenttype", "")):
        attributes["datacontenttype"] = _PLAIN_JSON
    if _resource(attributes) != event.resource:
        attributes[_RESOURCE] = _json(event.resource)
    if event.related:
        attributes[_RELATED] = _json(event.related)
    if event.follows is not None:
        attributes[_FOLLOWS] = str(event.follows)
    return CloudEvent(attributes, found)


def _origin(event: Event, source: str) -> dict[str, Any]:
    """Where the event came from: its own attributes when it came as a CloudEvent, else ours."""
    kept = {label.removeprefix(_PREFIX): text for label, text in event.resource.items() if label.startswith(_PREFIX)}
    kept = {name: text for name, text in kept.items() if _NAME.fullmatch(name) and name not in (*_UNLABELLED, "data")}
    whole = {"id", "source"} <= kept.keys() and all(kept.values())
    whole = whole and _HEADER.fullmatch(kept.get("datacontenttype", _PLAIN_JSON)) is not None
    if whole and _event_id(kept["source"], kept["id"]) == event.id:
        return kept
    return {"id": str(event.id), "source": source, "subject": event.resource_id}


def _sent(payload: dict[str, Any], kind: str | None) -> Any:
    """The data that became this payload; a payload of ours is its own JSON."""
    if len(payload) == 1 and not _is_json(kind):
        match payload:
            case {"data_base64": str(coded)} if found := _coded(coded):
                return found
            case {"value": str(text)} if text:
                return text
    return payload or None


def _coded(text: str) -> bytes | None:
    """The bytes that would be shown as this text, if any would."""
    try:
        found = b64decode(text, validate=True)
    except ValueError:
        return None
    try:
        found.decode()
    except UnicodeDecodeError:
        return found if b64encode(found).decode() == text else None
    return None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _is_json(kind: str | None) -> bool:
    return kind is None or JSONFormat.JSON_CONTENT_TYPE_PATTERN.match(kind) is not None


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()

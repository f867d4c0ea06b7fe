"""Events as JSON: written in one form, read with every doubt.

`encode` and `decode` carry our own bytes; `read` and `admit` stand at the doors where others bring theirs. Limits
(source: Prefect's event schema, tightened where PostgreSQL or a reader would choke) are the constants below.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Final

import msgspec

from tocsin.events.errors import BadEvent
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 64
MAX_NAME: Final = 1_024
MAX_ID: Final = 2_048
MAX_LABELS: Final = 500
MAX_RELATED: Final = 100
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
FUTURE: Final = timedelta(days=1)
OURS: Final = "tocsin."

_FIELDS: Final = frozenset({*Event.__struct_fields__, "received"})
_BIGGEST: Final = 2**63
_JSON: Final = (dict, list, tuple, bool, type(None))
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """The event as JSON bytes. Raises `BadEvent` for what JSON or a limit forbids (NaN, depth, size, labels)."""
    check(event)
    return pack(event)


def pack(event: Event) -> bytes:
    """As `encode`, of an event that has been checked or admitted already: only its size is still looked at."""
    body = _encode(event)
    if len(body) > MAX_BYTES:
        raise BadEvent(
            f"event {event.event[:80]!r}: {len(body):,} bytes, at most {MAX_BYTES:,}; put a reference instead"
        )
    return body


def decode(body: bytes | str) -> Event:
    """The event in bytes that `encode` made. Raises `BadEvent` when they are not one."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(f"not an event: {error}") from error


def read(body: bytes | str, now: datetime) -> Event:
    """An event brought from outside as JSON: every limit checked, refused unless it is clean.

    `now` (aware) bounds `occurred`. A label key `prefect.resource.*` reads as `tocsin.resource.*`; `received` is left
    out, the log has its own. Raises `BadEvent` with the field and the reason.
    """
    size = len(body) if isinstance(body, bytes) else len(body.encode("utf-8", "replace"))
    if size > MAX_BYTES:
        raise BadEvent(f"{size:,} bytes, at most {MAX_BYTES:,}; put a reference into the payload instead")
    document = _parse(body)
    if not isinstance(document, dict):
        raise BadEvent(f"an event is a JSON object, not {_json_type(document)}")
    return from_document(document, now)


def from_document(document: dict[str, Any], now: datetime) -> Event:
    """An event brought from outside as parsed JSON (`strict_json`), checked like `read`."""
    if unknown := sorted(set(document) - _FIELDS):
        raise BadEvent(f"unknown field {unknown[0]!r}; an event has {', '.join(Event.__struct_fields__)}")
    try:
        event = msgspec.convert(document, Event)
    except msgspec.ValidationError as error:
        raise BadEvent(str(error)) from error
    return admit(event, now)


def admit(event: Event, now: datetime) -> Event:
    """The event of somebody else as we keep it (UTC, our label keys). Raises `BadEvent` when it may not come in."""
    if event.event.startswith(OURS):
        raise BadEvent(f"event name {event.event[:80]!r}: names that begin with {OURS!r} are kept for tocsin itself")
    if event.occurred.tzinfo is None:
        raise BadEvent(f"occurred {event.occurred.isoformat()}: no time zone; write Z or an offset")
    if not EARLIEST <= event.occurred <= now + FUTURE:
        raise BadEvent(
            f"occurred {event.occurred.isoformat()}: not between {EARLIEST:%Y-%m-%d} and a day from now; "
            "check the producer's clock"
        )
    admitted = msgspec.structs.replace(
        event,
        occurred=event.occurred.astimezone(UTC),
        resource=our_labels(event.resource),
        related=[our_labels(labels) for labels in event.related],
    )
    check(admitted)
    return admitted


def check(event: Event) -> None:
    """Raise `BadEvent` with the field and the reason unless every part of `event` can travel and be kept."""
    if not event.event or _unprintable(event.event) or _longer(event.event, MAX_NAME):
        raise BadEvent(
            f"event name {event.event[:80]!r}: 1 to {MAX_NAME:,} characters (bytes of UTF-8), "
            "none of them a control character"
        )
    if "*" in event.event:
        raise BadEvent(f"event name {event.event[:80]!r}: `*` is for patterns, not for names")
    if event.occurred.tzinfo is None:
        raise BadEvent(f"occurred {event.occurred.isoformat()}: no time zone; use an aware datetime")
    if len(event.related) > MAX_RELATED:
        raise BadEvent(f"related: {len(event.related):,} resources, at most {MAX_RELATED}")
    _check_labels("resource", event.resource, RESOURCE_ID)
    if _longer(event.resource_id, MAX_ID):
        raise BadEvent(f"resource: the id {event.resource_id[:80]!r} is too long, at most {MAX_ID:,} bytes")
    for index, labels in enumerate(event.related):
        _check_labels(f"related[{index}]", labels, RESOURCE_ID, RESOURCE_ROLE)
    if event.payload:
        _check_payload(event.payload)


def strict_json(body: bytes | str) -> Any:  # Any: JSON of any shape
    """JSON by the letter: no NaN, no duplicate keys, no lone surrogates, UTF-8. Raises `BadEvent`."""
    return _parse(body)


def _encode(event: Event) -> bytes:
    try:
        return _encoder.encode(event)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise BadEvent(f"event {event.event[:80]!r}: {error}") from error


def _parse(body: bytes | str) -> Any:  # Any: JSON of any shape
    try:
        text = body.decode("utf-8") if isinstance(body, bytes) else body
        text.encode("utf-8")
        return _STRICT.decode(text)
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise BadEvent(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise BadEvent(f"nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise BadEvent(f"not JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return members


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; use null or text")


_STRICT: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def our_labels(labels: dict[str, str]) -> dict[str, str]:
    """The labels with `prefect.resource.*` read as `tocsin.resource.*`."""
    if not any(key.startswith("prefect.resource.") for key in labels):
        return labels
    return {
        OURS + key.removeprefix("prefect.") if key.startswith("prefect.resource.") else key: value
        for key, value in labels.items()
    }


def _check_labels(field: str, labels: dict[str, str], *required: str) -> None:
    for key in required:
        if not labels.get(key):
            raise BadEvent(f"{field}: the label {key!r} is missing or empty")
    if len(labels) > MAX_LABELS:
        raise BadEvent(f"{field}: {len(labels):,} labels, at most {MAX_LABELS}")
    if _plain(labels):
        return
    for key, value in labels.items():
        if not isinstance(value, str) or not isinstance(key, str):
            raise BadEvent(f"{field}: label {key!r} is {_json_type(value)}; labels are text")
        if _unkeepable(key) or _unkeepable(value):
            raise BadEvent(f"{field}: label {key[:80]!r} holds a NUL or half a surrogate pair")


def _plain(labels: dict[str, str]) -> bool:
    """Whether nothing in them can be wrong: the short way; what is wrong is found by the long one."""
    try:
        text = "".join((*labels, *labels.values()))
    except TypeError:
        return False
    return text.isascii() and "\0" not in text


def _check_payload(payload: dict[str, Any]) -> None:
    if _fits(payload, 1):
        return
    for depth, value in _walk(payload):
        if depth > MAX_DEPTH:
            raise BadEvent(f"payload: nested deeper than {MAX_DEPTH} levels")
        if reason := _unfit(value):
            raise BadEvent(f"payload: {reason}")


def _fits(value: Any, depth: int) -> bool:  # Any: whatever the producer put in
    """Whether everything in `value` can be kept: the short way; why something cannot is found by the long one."""
    kind = type(value)
    if depth > MAX_DEPTH:
        return False
    if kind is str:
        return "\0" not in value and (value.isascii() or not _unkeepable(value))
    if kind is dict:
        for key, child in value.items():  # noqa: SIM110 - twice as quick as all(), and every event comes by here
            if not (_fits(key, depth + 1) and _fits(child, depth + 1)):
                return False
        return True
    if kind is list:
        return False not in [_fits(child, depth + 1) for child in value]
    if kind is int:
        fits: bool = -_BIGGEST <= value < 2 * _BIGGEST
        return fits
    return value is None or kind is bool or (kind is float and isfinite(value))


def _unfit(value: Any) -> str | None:  # Any: whatever the producer put in
    """Why a single value cannot be kept as JSON, or None."""
    kind = type(value)
    if kind is str:
        return f"the text {value[:40]!r} holds a NUL or half a surrogate pair" if _unkeepable(value) else None
    if kind is float:
        return None if isfinite(value) else f"{value} is not a JSON number; use null or text"
    if kind is int:
        fits = -_BIGGEST <= value < 2 * _BIGGEST
        return None if fits else f"{str(value)[:40]} does not fit 64 bits; write it as text"
    return None if kind in _JSON else f"{kind.__name__} is not JSON; write it as text, a number, a list or an object"


def _walk(payload: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """Every value and key below `payload` with its depth, without recursion."""
    rest: list[tuple[int, Any]] = [(1, payload)]
    while rest:
        depth, value = rest.pop()
        yield depth, value
        if depth > MAX_DEPTH:
            return
        if isinstance(value, dict):
            rest += ((depth + 1, child) for child in (*value, *value.values()))
        elif isinstance(value, list | tuple):
            rest += ((depth + 1, child) for child in value)


def _longer(text: str, limit: int) -> bool:
    """Whether it has more bytes than `limit`: databases count so, and index an entry of 2,700 at most."""
    return len(text) > limit or (not text.isascii() and len(text.encode()) > limit)


def _unprintable(text: str) -> bool:
    return not text.isprintable()


def _unkeepable(text: str) -> bool:
    return (not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)) or "\0" in text


def _json_type(value: Any) -> str:  # Any: whatever JSON held
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)

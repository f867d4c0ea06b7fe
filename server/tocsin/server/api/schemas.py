"""What the API's documentation says about events; their own codec reads them, so FastAPI cannot know."""

from typing import Any, Final

MAX_BATCH: Final = 1_000
MAX_BATCH_BYTES: Final = 10_000_000

# Any: members of JSON Schema and OpenAPI.
EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["event", "resource"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "format": "uuid", "description": "Make a repeat harmless; default: a new UUIDv7."},
        "occurred": {"type": "string", "format": "date-time", "description": "With a zone; default: now."},
        "event": {"type": "string", "description": "Dotted name; not beginning with `tocsin.`."},
        "resource": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Labels; `tocsin.resource.id` is required.",
        },
        "related": {
            "type": "array",
            "items": {"type": "object", "additionalProperties": {"type": "string"}},
            "description": "Labels each, with `tocsin.resource.id` and `tocsin.resource.role`.",
        },
        "payload": {"type": "object"},
        "follows": {"type": ["string", "null"], "format": "uuid", "description": "Id of the event that caused it."},
    },
    "example": {
        "event": "orders.repaired",
        "resource": {"tocsin.resource.id": "orders.2026-03-02"},
        "payload": {"rows": 1200},
    },
}
CLOUDEVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "description": "Unique within the source."},
        "source": {"type": "string", "format": "uri-reference"},
        "type": {"type": "string", "description": "Becomes the event's name; not beginning with `tocsin.`."},
        "subject": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"type": "string"},
        "data": {},
        "data_base64": {"type": "string"},
    },
}
BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [EVENT, {"type": "array", "items": EVENT, "maxItems": MAX_BATCH}]}
            },
            "application/cloudevents+json": {"schema": CLOUDEVENT},
            "application/cloudevents-batch+json": {
                "schema": {"type": "array", "items": CLOUDEVENT, "maxItems": MAX_BATCH}
            },
        },
    }
}

PAGE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"events": {"type": "array", "items": EVENT}, "next": {"type": ["string", "null"]}},
}

ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    201: {"description": 'Stored: `{"ids": [...]}`, in their order. A known id is not stored twice.'},
    413: {"description": "One event over 1 MB, or a batch over 10 MB or 1,000 events."},
    415: {"description": "Neither `application/json` nor CloudEvents in JSON."},
    422: {"description": "Nothing was stored; `errors` names index, field and reason of each bad event."},
    429: {"description": "Nothing was stored: too many events wait. Come back after `Retry-After` seconds."},
}

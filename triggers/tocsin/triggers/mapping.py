"""From somebody else's message to an event: one expression a field."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from tocsin.events import codec, templates
from tocsin.events.errors import BadEvent, Invalid, TocsinError
from tocsin.events.ids import derive, uuid7
from tocsin.events.jmes.expression import check_over
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event

# Any, in this file: JSON of any shape.

SCOPE: Final = ("body", "headers", "name", "key", "topic", "partition", "offset", "method", "query")
"""What an expression may begin with: the message itself, and how it came (null for what its way in does not have)."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
_UUID_LENGTH: Final = 36

Read = Callable[[dict[str, Any]], Any]


def _readable(text: str) -> str:
    try:
        _reader(text)
    except Invalid as error:
        raise ValueError(str(error)) from error
    return text


Text = Annotated[str, Field(min_length=1), AfterValidator(_readable)]
"""A JMESPath expression, or a Jinja template when it holds `{{` or `{%`."""

Labels = dict[str, Text]


class Mapping(BaseModel):
    """How the fields of an event are found in a message.

    Each is a JMESPath expression (`body.order.id`, `'orders.paid'`, `headers."x-kind"`) or a Jinja template
    (`order.{{ body.order.id }}`) over one object with the members `SCOPE`; `body` is the message as JSON.

    `resource`: labels, or one expression that gives the id or an object of labels. `related`: a list of labels, or one
    expression that gives such a list; one without an id is left out. `payload`: an object; anything else stands in it
    under `value`. `occurred`: ISO 8601 with a zone, or a number since 1970 in seconds, or in milli-, micro- or
    nanoseconds, as its size says. `id` and `follows`: a UUID, or any text from which one is derived. `where`: only
    messages of which it is true are taken. A label that is null is left out; numbers and booleans become text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: Text
    resource: Text | Labels
    related: Text | tuple[Labels, ...] = ()
    payload: Text | Labels = "body"
    occurred: Text | None = None
    id: Text | None = None
    follows: Text | None = None
    where: Text | None = None

    @field_validator("event")
    @classmethod
    def _not_ours(cls, event: str) -> str:
        if event.strip().removeprefix("'").startswith(codec.OURS):
            raise ValueError(f"{event[:80]}: names that begin with {codec.OURS!r} are kept for tocsin itself")
        return event

    @field_validator("resource", "related")
    @classmethod
    def _identified(cls, value: Any, info: ValidationInfo) -> Any:
        required = [RESOURCE_ID] if info.field_name == "resource" else [RESOURCE_ID, RESOURCE_ROLE]
        for labels in [value] if isinstance(value, dict) else value if isinstance(value, tuple) else ():
            if missing := [label for label in required if label not in labels]:
                raise ValueError(f"the label {missing[0]!r} is missing; give an expression for it")
        return value

    @cached_property
    def readers(self) -> dict[str, Read]:
        """For each field that is mapped, what finds its value in the scope."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: _read(value) for name, value in given.items() if value is not None}


def scope(body: Any, context: dict[str, Any]) -> dict[str, Any]:
    """What the expressions of a mapping are evaluated over."""
    return {"body": body, **context}


def wanted(mapping: Mapping, document: Any, context: dict[str, Any]) -> bool:
    """Whether the message is one that the mapping takes. Raises `BadEvent` when `where` fails on it."""
    return mapping.where is None or bool(_found(mapping, "where", scope(document, context)))


def mapped(
    mapping: Mapping,
    document: Any,
    context: dict[str, Any],
    now: datetime,
    *,
    origin: str,
    event_id: UUID | None = None,
    occurred: datetime | None = None,
) -> Event:
    """The event that a message means, admitted like any from outside (`codec.admit`).

    `document` is the message as parsed JSON, `context` what else is known of it (members of `SCOPE`). `origin` names
    the way in ("source:orders"): ids that are no UUIDs are derived within it. `event_id` and `occurred` hold where the
    mapping gives none (default: a new id, `now`). Raises `BadEvent` with the field and the reason.
    """
    seen = scope(document, context)
    given = {name: _found(mapping, name, seen) for name in mapping.readers if name != "where"}
    event = Event(
        id=_id(given.get("id"), origin) or event_id or uuid7(),
        event=_text("event", given["event"]),
        occurred=_instant(given.get("occurred")) or occurred or now,
        resource=_resource(given["resource"]),
        related=_related(given["related"]),
        payload=_object(given["payload"]),
        follows=_id(given.get("follows"), origin),
    )
    return codec.admit(event, now)


def _read(value: Any) -> Read:
    """What finds the value of a text, an object or a list of them."""
    match value:
        case str():
            return _reader(value)
        case dict():
            members = [(name, _read(item)) for name, item in value.items()]
            return lambda seen: {name: read(seen) for name, read in members}
        case _:
            items = [_read(item) for item in value]
            return lambda seen: [read(seen) for read in items]


def _reader(text: str) -> Read:
    if templates.is_template(text):
        templates.check(text)
        return lambda seen: templates.render_value(text, seen)
    return check_over(text, SCOPE).search


def _found(mapping: Mapping, field: str, seen: dict[str, Any]) -> Any:
    try:
        return mapping.readers[field](seen)
    except BadEvent:
        raise
    except TocsinError as error:
        raise BadEvent(f"{field}: {error}") from error


def _text(field: str, value: Any) -> str:
    """A text, or a number or boolean as JSON writes it."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    raise BadEvent(f"{field}: its expression gives {_kind(value)}, and not a text; a fixed text stands in 'quotes'")


def _labels(field: str, found: dict[str, Any]) -> dict[str, str]:
    return {name: _text(f"{field}: label {name!r}", value) for name, value in found.items() if value is not None}


def _resource(found: Any) -> dict[str, str]:
    return _labels("resource", found) if isinstance(found, dict) else {RESOURCE_ID: _text("resource", found)}


def _related(found: Any) -> list[dict[str, str]]:
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadEvent(f"related: its expression gives {_kind(found)}, and not a list of objects")
    every = (_labels("related", item) for item in found)
    return [labels for labels in every if labels.get(RESOURCE_ID)]


def _object(found: Any) -> dict[str, Any]:
    if isinstance(found, dict):
        return found
    return {} if found is None else {"value": found}


def _id(found: Any, origin: str) -> UUID | None:
    if found is None:
        return None
    text = _text("id", found)
    if len(text) == _UUID_LENGTH:
        try:
            return UUID(text)
        except ValueError:
            pass
    return derive("external", origin, text)


def _instant(found: Any) -> datetime | None:
    """The time that a text or a number says, or None for null."""
    if found is None:
        return None
    if isinstance(found, str):
        try:
            return datetime.fromisoformat(found)
        except ValueError as error:
            raise BadEvent(f"occurred: {found[:80]!r} is no time in ISO 8601") from error
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise BadEvent(f"occurred: its expression gives {_kind(found)}, and neither ISO 8601 nor a number since 1970")
    for limit, unit in _UNITS:
        if 0 <= found < limit:
            return _EPOCH + timedelta(microseconds=round(found * 1e6 / unit))
    raise BadEvent(f"occurred: {found} is no number of seconds, milli-, micro- or nanoseconds since 1970")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "a list"
    return "a number" if isinstance(value, int | float) else "a text"

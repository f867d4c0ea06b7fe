"""What a post to a hook means: a greeting to be answered, an event, or nothing that is wanted."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import parse_qsl
from uuid import UUID

from tocsin.events import codec
from tocsin.events.errors import BadEvent
from tocsin.events.ids import derive
from tocsin.events.model import Event
from tocsin.events.signatures import Headers, one
from tocsin.triggers.hook import (
    GitHubSignature,
    Hook,
    PagerDutySignature,
    SharedSecret,
    SlackSignature,
    StandardWebhook,
)
from tocsin.triggers.mapping import mapped, wanted

# Any, in this file: JSON of any shape.

MAX_FIELDS: Final = 1_000
"""Of a form."""

_HIDDEN: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
_SIGNATURES: Final = ("-signature", "-signature-256", "hub-signature")


@dataclass(frozen=True, slots=True)
class Post:
    """A request to a hook: headers as they came (names in lower case), parameters of the address, body."""

    headers: Headers
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Greeting:
    """A sender that tries whether we are there is answered with this; nothing has happened."""

    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The hook's `where` is not true of it."""


@dataclass(frozen=True, slots=True)
class Meant:
    """The event, and the id it would have had in the stretch of time before: stored under that one, it is a repeat."""

    event: Event
    earlier: UUID | None = None


def format_of(headers: Headers) -> Literal["json", "form"] | None:
    """How the body is written, by its content type; None: in a way that nobody reads here."""
    kinds = {value.partition(";")[0].strip().lower() for name, value in headers if name == "content-type"}
    match sorted(kinds):
        case ["application/x-www-form-urlencoded"]:
            return "form"
        case [kind] if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
            return "json"
    return None


def read(hook: Hook, post: Post, now: datetime) -> Greeting | Unwanted | Meant:
    """What a verified post means. Raises `BadEvent` with field and reason when it cannot be read or mapped."""
    document = _document(post)
    if (greeting := _greeting(hook, post, document)) is not None:
        return greeting
    context = {"name": hook.name, "headers": _shown(hook, post.headers), "query": dict(post.query), "method": "POST"}
    if not wanted(hook.mapping, document, context):
        return Unwanted()
    number, earlier = _ids(hook, post, document, now)
    event = mapped(hook.mapping, document, context, now, origin=f"hook:{hook.name}", event_id=number)
    codec.encode(event)  # sees to the size
    return Meant(event, earlier if event.id == number else None)


def _document(post: Post) -> Any:
    """The body as JSON. A form is an object of texts; one that holds only `payload` (Slack, GitHub) is what it says."""
    if format_of(post.headers) != "form":
        return codec.strict_json(post.body)
    try:
        text = post.body.decode()
        fields = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise BadEvent(f"not a form: {error}") from error
    found = dict(fields)
    if len(found) < len(fields):
        raise BadEvent("a field of the form stands there twice")
    return codec.strict_json(found["payload"]) if list(found) == ["payload"] else found


def _greeting(hook: Hook, post: Post, document: Any) -> Greeting | None:
    match hook.verify, document:
        case SlackSignature(), {"type": "url_verification", "challenge": str(challenge)}:
            return Greeting({"challenge": challenge})
        case PagerDutySignature(), {"event": {"event_type": "pagey.ping"}}:
            return Greeting({"pong": True})
        case GitHubSignature(), _ if ("x-github-event", "ping") in post.headers:
            return Greeting({"pong": True})
    return None


def _shown(hook: Hook, headers: Headers) -> dict[str, str]:
    """The headers a mapping may read: none that proves who the sender is."""
    secret = hook.verify.header.lower() if isinstance(hook.verify, SharedSecret) and hook.verify.header else None
    shown: dict[str, str] = {}
    for name, value in headers:
        if name not in _HIDDEN and name != secret and not name.endswith(_SIGNATURES):
            shown[name] = f"{shown[name]}, {value}" if name in shown else value
    return shown


def _ids(hook: Hook, post: Post, document: Any, now: datetime) -> tuple[UUID | None, UUID | None]:
    """The event's id, and the one of the stretch of time before; None: nothing tells a repeat."""
    delivery = _delivery(hook, post, document)
    if delivery is not None:
        return derive("hook", hook.name, delivery), None
    if not hook.same_body_s:
        return None, None
    stretch = int(now.timestamp()) // hook.same_body_s
    this, before = (derive("hook-body", hook.name, _digest(post.body), number) for number in (stretch, stretch - 1))
    return this, before


def _delivery(hook: Hook, post: Post, document: Any) -> str | None:
    """What every repeat of this delivery has in common and, where there is a signature, is covered by it."""
    match hook.verify, document:
        case StandardWebhook(), _:
            return one(post.headers, "webhook-id")
        case SlackSignature(), {"event_id": str(number)}:
            return f"event:{number}"
        case SlackSignature(), _:
            return f"{one(post.headers, 'x-slack-request-timestamp')}:{_digest(post.body)}"
        case PagerDutySignature(), {"event": {"id": str(number)}}:
            return f"event:{number}"
        case ((PagerDutySignature() | GitHubSignature()), _):
            return _digest(post.body)  # GitHub's X-GitHub-Delivery is not signed
    keys = [value for name, value in post.headers if name == "idempotency-key"]
    return keys[0] if len(keys) == 1 and keys[0] else None


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()

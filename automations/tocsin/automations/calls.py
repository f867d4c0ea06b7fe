"""Webhook calls: what is sent, and the sending of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from sqlmodel import Session
from standardwebhooks import Webhook as Signer

from tocsin.automations.attempt import Attempt, Failed
from tocsin.automations.attempts import of_answer
from tocsin.automations.invocation import Invocation
from tocsin.automations.secrets import reveal
from tocsin.events import cloudevents, codec
from tocsin.events.clock import Clock
from tocsin.events.cloudevents import SOURCE
from tocsin.events.errors import BadEvent, Invalid, NotFound
from tocsin.notifiers.blocks import Webhook
from tocsin.notifiers.http import Answer, Result
from tocsin.notifiers.redact import learn, redact
from tocsin.notifiers.registry import get_notifier

TIMEOUT: Final = timedelta(seconds=15)
PUBLIC: Final = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "content-language", "content-type", "user-agent"}
)
"""Headers whose values may be shown."""

_PLAIN: Final = {"content-type": "application/json"}


class Sender(Protocol):
    """The way out: `tocsin.notifiers.http.Door`, or a stand-in of it."""

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        allow: Sequence[str] = (),
        timeout: timedelta = TIMEOUT,
    ) -> Result:
        """POST once; the outcome is a value."""
        ...


@dataclass(frozen=True, repr=False)
class Call:
    """One request, ready but for its time and signature. `attempt` counts from 1. It holds secrets."""

    invocation: Invocation
    attempt: int
    url: str
    body: bytes
    headers: dict[str, str]
    secret: str | None
    allow: tuple[str, ...]

    @property
    def id(self) -> UUID:
        """The invocation's id, which the receiver sees as `webhook-id`."""
        return self.invocation.id


def prepare(session: Session, invocation: Invocation, attempt: int, source: str = SOURCE) -> Call | Failed:
    """The call that `invocation` asks for, or why it can never be made (an unknown notifier, a lost key).

    `source`: of the CloudEvents that go out.
    """
    arguments = invocation.arguments
    try:
        url, secret, allow = _address(session, arguments)
        headers = {name.lower(): reveal(value) for name, value in arguments["headers"].items()}
    except (NotFound, Invalid) as error:
        return Failed(str(error), {})
    learn(*_hidden(headers), *([secret] if secret else []))
    mode = arguments.get("cloudevent")
    told, body = _body(arguments["payload"]) if mode is None else _cloudevent(arguments["payload"], mode, source)
    return Call(invocation, attempt, url, body, {**told, **headers}, secret, allow)


async def make(call: Call, sender: Sender, clock: Clock) -> Attempt:
    """Send it, once, and say what came of it."""
    now = clock.now()
    try:
        headers = {**call.headers, **_signed(call, now)}
    except ValueError as error:
        return Failed(f"the signing secret cannot be used: {error}", {})
    result = await sender.post(call.url, call.body, headers, allow=call.allow, timeout=TIMEOUT)
    return of_answer(_masked(result), clock.now())


def _masked(result: Result) -> Result:
    """The result without the secrets that a receiver may echo; masked whole, for half a secret is not known again."""
    return replace(result, body=redact(result.body)) if isinstance(result, Answer) else result


def _hidden(headers: Mapping[str, str]) -> list[str]:
    """What must not be shown of headers: their values, and in `Bearer …` what stands behind the scheme.

    Those that everybody sends alike are no secrets: to hide them would hide words like `application/json` everywhere.
    """
    secret = [value for name, value in headers.items() if name not in PUBLIC]
    return [part for value in secret for part in (value, value.partition(" ")[2])]


def _signed(call: Call, now: datetime) -> dict[str, str]:
    """The headers of Standard Webhooks; the id is the same at every attempt."""
    headers = {"webhook-id": str(call.id), "webhook-timestamp": str(int(now.timestamp()))}
    if call.secret is None:
        return headers
    return {**headers, "webhook-signature": Signer(call.secret).sign(str(call.id), now, call.body.decode())}


def _address(session: Session, arguments: dict[str, Any]) -> tuple[str, str | None, tuple[str, ...]]:
    """URL, signing secret and allowed private addresses: the action's own, or those of the notifier it names."""
    if arguments["notifier"] is None:
        secret = reveal(arguments["secret"]) if arguments["secret"] else None
        return arguments["url"], secret, tuple(arguments["allow_private"])
    block = get_notifier(session, arguments["notifier"])
    if not isinstance(block, Webhook):
        raise Invalid(f'notifier "{block.name}" is a {block.kind}; call-webhook needs a webhook')
    return block.url.get_secret_value(), block.secret.get_secret_value(), block.allow_private


def _body(payload: Any) -> tuple[dict[str, str], bytes]:
    """Media type and bytes of the payload: a text that is JSON goes out as it is, any other value as its JSON."""
    if not isinstance(payload, str):
        return _PLAIN, json.dumps(payload, ensure_ascii=False).encode()
    try:
        json.loads(payload)
    except (ValueError, RecursionError):
        return {"content-type": "text/plain; charset=utf-8"}, payload.encode()
    return _PLAIN, payload.encode()


def _cloudevent(event: str, mode: cloudevents.Mode, source: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of an event of ours; structured where the other form has no room, or no text to be signed."""
    found = codec.decode(event)
    if mode == "binary":
        try:
            headers, body = cloudevents.to_http(found, mode, source)
            body.decode()
            return headers, body
        except (BadEvent, UnicodeDecodeError):
            pass
    return cloudevents.to_http(found, "structured", source)

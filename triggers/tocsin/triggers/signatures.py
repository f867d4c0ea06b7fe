"""Whether a post comes from who it says: one rule for each kind of sender."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from standardwebhooks import Webhook

from tocsin.triggers.hook import (
    AnyVerification,
    GitHubSignature,
    PagerDutySignature,
    SharedSecret,
    SlackSignature,
    StandardWebhook,
)

Headers = Sequence[tuple[str, str]]
"""Names in lower case, each as often as it came."""


@dataclass(frozen=True, slots=True)
class Proven:
    """The sender holds the secret (or none is asked for)."""


@dataclass(frozen=True, slots=True)
class Stale:
    """The sender held the secret when this was signed, which was not now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unproven:
    """Anybody may have sent this. The reason is for us; the sender is not told."""

    reason: str


Verdict = Proven | Stale | Unproven


def verify(how: AnyVerification | None, headers: Headers, body: bytes, now: datetime) -> Verdict:
    """Whether a post with these headers and this body is one of a holder of the secret, signed about `now` (aware)."""
    try:
        match how:
            case None:
                return Proven()
            case StandardWebhook():
                return _standard(how, headers, body, now)
            case SlackSignature():
                return _slack(how, headers, body, now)
            case PagerDutySignature():
                given = [part.strip() for part in one(headers, "x-pagerduty-signature").split(",")]
                return _judged(given, [f"v1={_hex(secret, body)}" for secret in how.secrets])
            case GitHubSignature():
                given = [one(headers, "x-hub-signature-256")]
                return _judged(given, [f"sha256={_hex(secret, body)}" for secret in how.secrets])
            case SharedSecret():
                return _judged([_shared(how, headers)], how.secrets)
    except LookupError as error:
        return Unproven(str(error.args[0]))
    assert_never(how)


def one(headers: Headers, name: str) -> str:
    """The value of a header. Raises `LookupError` when it is not there, or there twice."""
    match [value for known, value in headers if known == name]:
        case [value]:
            return value
        case []:
            raise LookupError(f"no header {name}")
    raise LookupError(f"the header {name} stands there more than once")


def _standard(how: StandardWebhook, headers: Headers, body: bytes, now: datetime) -> Verdict:
    number, sent = one(headers, "webhook-id"), _time(headers, "webhook-timestamp")
    given = one(headers, "webhook-signature").split(" ")
    try:
        text, at = body.decode(), datetime.fromtimestamp(sent, UTC)
    except (UnicodeDecodeError, ValueError, OverflowError, OSError):
        return Unproven("neither the body nor the time can be signed")
    if not number:
        return Unproven("webhook-id is empty")
    verdict = _judged(given, [Webhook(secret).sign(number, at, text) for secret in how.secrets])
    return _timely(verdict, sent, now, how.tolerance_s)


def _slack(how: SlackSignature, headers: Headers, body: bytes, now: datetime) -> Verdict:
    sent = _time(headers, "x-slack-request-timestamp")
    given = [one(headers, "x-slack-signature")]
    signed = b"v0:%b:%b" % (one(headers, "x-slack-request-timestamp").encode(), body)
    return _timely(_judged(given, [f"v0={_hex(secret, signed)}" for secret in how.secrets]), sent, now, how.tolerance_s)


def _shared(how: SharedSecret, headers: Headers) -> str:
    if how.header is not None:
        return one(headers, how.header.lower())
    scheme, _, given = one(headers, "authorization").partition(" ")
    if scheme.lower() != "bearer":
        raise LookupError("authorization is not `Bearer <secret>`")
    return given.strip()


def _time(headers: Headers, name: str) -> int:
    text = one(headers, name)
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise LookupError(f"{name} is no number of seconds")
    return int(text)


def _timely(verdict: Verdict, sent: int, now: datetime, tolerance_s: int) -> Verdict:
    """An old post is told so only when it was signed: whoever has no secret learns nothing."""
    away = now.timestamp() - sent
    if verdict == Proven() and abs(away) > tolerance_s:
        when = f"{abs(away):,.0f} s {'ago' if away > 0 else 'ahead of our clock'}"
        return Stale(f"signed {when}; at most {tolerance_s} s are allowed")
    return verdict


def _judged(given: Iterable[str], right: Iterable[str]) -> Verdict:
    """Whether one of those given is right. Each is compared with each, in a time that tells nothing."""
    pairs = [(one.encode("utf-8", "replace"), other.encode()) for one in given for other in right]
    equal = [hmac.compare_digest(one, other) for one, other in pairs]
    return Proven() if any(equal) else Unproven("the secret is another one, or the post was changed on its way")


def _hex(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

"""Whether a post comes from who it says: one rule for each kind of sender."""

from datetime import UTC, datetime
from typing import assert_never

from standardwebhooks import Webhook

from tocsin.events.signatures import Headers, Proven, Stale, Unproven, Verdict, hexdigest, judged, one, pagerduty
from tocsin.triggers.hook import (
    AnyVerification,
    GitHubSignature,
    PagerDutySignature,
    SharedSecret,
    SlackSignature,
    StandardWebhook,
)


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
                return pagerduty(headers, body, how.secrets)
            case GitHubSignature():
                given = [one(headers, "x-hub-signature-256")]
                return judged(given, [f"sha256={hexdigest(secret, body)}" for secret in how.secrets])
            case SharedSecret():
                return judged([_shared(how, headers)], how.secrets)
    except LookupError as error:
        return Unproven(str(error.args[0]))
    assert_never(how)


def _standard(how: StandardWebhook, headers: Headers, body: bytes, now: datetime) -> Verdict:
    number, sent = one(headers, "webhook-id"), _time(headers, "webhook-timestamp")
    given = one(headers, "webhook-signature").split(" ")
    try:
        text, at = body.decode(), datetime.fromtimestamp(sent, UTC)
    except (UnicodeDecodeError, ValueError, OverflowError, OSError):
        return Unproven("neither the body nor the time can be signed")
    if not number:
        return Unproven("webhook-id is empty")
    verdict = judged(given, [Webhook(secret).sign(number, at, text) for secret in how.secrets])
    return _timely(verdict, sent, now, how.tolerance_s)


def _slack(how: SlackSignature, headers: Headers, body: bytes, now: datetime) -> Verdict:
    sent = _time(headers, "x-slack-request-timestamp")
    given = [one(headers, "x-slack-signature")]
    signed = b"v0:%b:%b" % (one(headers, "x-slack-request-timestamp").encode(), body)
    return _timely(
        judged(given, [f"v0={hexdigest(secret, signed)}" for secret in how.secrets]), sent, now, how.tolerance_s
    )


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

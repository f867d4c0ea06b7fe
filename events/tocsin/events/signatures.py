"""Whether a post comes from who it says: verdicts, and the signatures that more than one room has to judge. Pure."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


def pagerduty(headers: Headers, body: bytes, secrets: Iterable[str]) -> Verdict:
    """Whether one of the `v1=` signatures of `x-pagerduty-signature` was made with one of `secrets`.

    PagerDuty signs the body alone: how old a post is stands in the body. Raises `LookupError` without the header.
    """
    given = [part.strip() for part in one(headers, "x-pagerduty-signature").split(",")]
    return judged(given, [f"v1={hexdigest(secret, body)}" for secret in secrets])


def one(headers: Headers, name: str) -> str:
    """The value of a header. Raises `LookupError` when it is not there, or there twice."""
    match [value for known, value in headers if known == name]:
        case [value]:
            return value
        case []:
            raise LookupError(f"no header {name}")
    raise LookupError(f"the header {name} stands there more than once")


def judged(given: Iterable[str], right: Iterable[str]) -> Verdict:
    """Whether one of those given is right. Each is compared with each, in a time that tells nothing."""
    pairs = [(one.encode("utf-8", "replace"), other.encode()) for one in given for other in right]
    equal = [hmac.compare_digest(one, other) for one, other in pairs]
    return Proven() if any(equal) else Unproven("the secret is another one, or the post was changed on its way")


def hexdigest(secret: str, signed: bytes) -> str:
    """HMAC-SHA256 of `signed` under `secret`, in hexadecimal."""
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

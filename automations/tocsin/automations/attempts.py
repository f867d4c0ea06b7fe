"""What came of an attempt at an action, and when to try again. Pure.

Waits after a webhook's failed attempts: 5 s, 30 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h, then it is given up after a
little over a day. What is done in the database alone is tried again after 1 s, 2 s, 4 s …, at most 10 times.
"""

from datetime import datetime, timedelta
from typing import Any, Final, assert_never
from uuid import UUID

from tocsin.automations.attempt import Again, Attempt, Executed, Failed
from tocsin.notifiers.http import Answer, Forbidden, Result, Unanswered, Unsent
from tocsin.notifiers.outcomes import retry_after

_WEBHOOK_WAITS: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 30, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
)
_DATABASE_TRIES: Final = 10
_GONE: Final = 410
_FINAL: Final = frozenset({400, 413, 414, 422})
_SHOWN: Final = 1_000


def of_answer(result: Result, now: datetime) -> Attempt:
    """What a webhook's answer means: 2xx alone is success; a redirect, 410 or a refused request is the end."""
    match result:
        case Answer(status, headers, body):
            details: dict[str, Any] = {"status_code": status, "response_body": _text(body)}
            if 200 <= status < 300:
                return Executed(details)
            if 300 <= status < 400 or status == _GONE or status in _FINAL:
                return Failed(f"HTTP {status}", details)
            return Again(f"HTTP {status}", retry_after(headers, now))
        case Forbidden(reason):
            return Failed(reason, {})
        case Unsent(reason) | Unanswered(reason):
            return Again(reason)
        case _ as never:
            assert_never(never)


def webhook_wait(tries: int, after: timedelta | None, invocation: UUID) -> timedelta | None:
    """Wait after the `tries`-th failed attempt (from 1), or None when it was the last.

    Up to a tenth is added, spread by the invocation's id; never less than what the receiver asked for.
    """
    if tries > len(_WEBHOOK_WAITS):
        return None
    spread = 1 + (invocation.int % 1_000) / 10_000
    return max(_WEBHOOK_WAITS[tries - 1] * spread, after or timedelta(0))


def database_wait(tries: int) -> timedelta | None:
    """Wait after the `tries`-th failed attempt (from 1), or None when it was the last."""
    return timedelta(seconds=2 ** (tries - 1)) if tries < _DATABASE_TRIES else None


def _text(body: str) -> str:
    """The first thousand characters of an answer, as an event can carry them."""
    return "".join(letter for letter in body[:_SHOWN] if letter >= " " and not "\ud800" <= letter <= "\udfff")

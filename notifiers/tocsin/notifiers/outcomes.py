"""What came of an attempt to tell somebody: four values, and no exception ever crosses the border."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

# What a channel gives back to find its message again: Slack's channel and ts, PagerDuty's dedup_key. Any: it is
# whatever JSON the channel needs.
Handle = dict[str, Any]

MAX_WAIT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The channel has accepted the message; `handle` finds it again ({} where nothing can)."""

    handle: Handle = field(default_factory=dict)
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """Surely not delivered, worth another try; `after` is how long the channel asks to be left alone, if it said.

    With `alone` the wait binds this delivery only, and the receiver may be told other things meanwhile.
    """

    after: timedelta | None
    reason: str
    status: int | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Surely not delivered, and the same message never will be; `resend_minimal` says a plainer one may."""

    reason: str
    resend_minimal: bool = False
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Written, no answer: it may have arrived."""

    reason: str
    status: int | None = None


Outcome = Delivered | Later | Refused | Unknown


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait that a `Retry-After` header asks for: seconds (fractions too) or an HTTP date, at most a day.

    None without the header or when it cannot be read; a date that is past gives no wait at all.
    """
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    wait = _seconds(text) if text.replace(".", "", 1).isdecimal() else _until(text, now)
    return None if wait is None else min(max(wait, timedelta(0)), MAX_WAIT)


def _seconds(text: str) -> timedelta:
    return timedelta(seconds=min(float(text), MAX_WAIT.total_seconds()))


def _until(text: str, now: datetime) -> timedelta | None:
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return aware - now

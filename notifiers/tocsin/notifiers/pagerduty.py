"""PagerDuty through pdpyras: the only place that imports it.

Left alone, pdpyras retries a 429 for ever, asleep, and takes a redirect for success. Here it sends once: no retry, no
redirect, time-outs, a session for each thread. A retry is a row with a due time.
"""

import asyncio
import json
import logging
import threading
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Final

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from tocsin.events.clock import Clock
from tocsin.notifiers.blocks import PagerDuty
from tocsin.notifiers.http import proxy_for
from tocsin.notifiers.outcomes import Delivered, Handle, Later, Outcome, Refused, Unknown, retry_after
from tocsin.notifiers.pagerduty_message import render_pagerduty
from tocsin.notifiers.redact import redact, redacted_logger
from tocsin.notifiers.view import Message, View

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message='The package "pdpyras" is deprecated', category=UserWarning)
    import pdpyras

RETRY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
RESEND_MINIMAL: Final = frozenset({400, 413, 422})
LIMITED: Final = timedelta(seconds=30)
TIMEOUT_S: Final = (3, 8)

# pdpyras calls every 5xx "non-transient" after -1 attempts; what came of it is told by the dispatcher.
_LOG = redacted_logger("tocsin.notifiers.pagerduty")
_LOG.setLevel(logging.CRITICAL)


def classify(status: int, answer: str, headers: Mapping[str, str], now: datetime) -> Outcome:
    """What an HTTP status of the Events API means for a delivery; without Retry-After a 429 waits 30 s."""
    reason = redact(f"PagerDuty: HTTP {status} {answer}".strip())[:500]
    wait = retry_after(headers, now)
    if 200 <= status < 300:
        return Delivered({}, status)
    if status == 429:
        return Later(wait if wait is not None else LIMITED, reason, status)
    if status in RETRY or status >= 500:
        return Later(wait, reason, status)
    return Refused(reason, resend_minimal=status in RESEND_MINIMAL, status=status)


class PagerDutyNotifier:
    """One service of PagerDuty. A retry carries the same `dedup_key`, so it is never seen twice."""

    def __init__(self, block: PagerDuty, clock: Clock) -> None:
        self._block, self._clock = block, clock
        self._threads = ThreadPoolExecutor(block.at_once, thread_name_prefix="tocsin-pagerduty")
        self._local = threading.local()

    def render(self, view: View, *, minimal: bool = False) -> Message:
        """The event for `view`, without the routing key."""
        block = self._block
        return render_pagerduty(
            view, source=block.source, client=block.client, client_url=block.client_url, minimal=minimal
        )

    async def send(self, message: Message, handle: Handle | None) -> Outcome:
        """Send the event, once, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, dict(message.body))

    async def find(self, message: Message) -> Delivered | Later | None:
        """Not needed: sending again with the same `dedup_key` shows nothing twice."""
        return None

    async def close(self) -> None:
        """Let go of the threads; what is under way ends by its time-out."""
        self._threads.shutdown(wait=False)

    def _send(self, body: dict[str, Any]) -> Outcome:  # Any: Events v2 JSON
        action, key = body.pop("event_action"), body.pop("dedup_key")
        try:
            accepted = self._session().send_event(action, dedup_key=key, **body)
        except pdpyras.PDHTTPError as error:
            answer = _said(error.response.text)
            outcome = classify(error.response.status_code, answer, error.response.headers, self._clock.now())
            return Delivered({"dedup_key": key}, outcome.status) if isinstance(outcome, Delivered) else outcome
        except pdpyras.PDClientError as error:
            return _network_outcome(error.__cause__ or error)
        except Exception as error:  # whatever the libraries raise: the border lets values through only
            return Unknown(redact(f"PagerDuty: {type(error).__name__}: {error}")[:500])
        return Delivered({"dedup_key": accepted}, 202)

    def _session(self) -> Any:  # Any: pdpyras has no types
        """This thread's session."""
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = _open_session(self._block)
        return session


def _open_session(block: PagerDuty) -> Any:  # Any: pdpyras has no types
    """A session that sends once: pdpyras gives up at the first answer only with these numbers."""
    session = pdpyras.EventsAPISession(block.routing_key.get_secret_value())
    session.retry = dict.fromkeys((429, 500, 502, 503, 504), 1)
    session.max_http_attempts = -1
    session.max_network_attempts = 0
    session.max_redirects = 0
    session.timeout = TIMEOUT_S
    session.url = block.url
    session.log = _LOG
    session.trust_env = False
    if proxy := proxy_for(block.url):
        session.proxies = {"http": proxy, "https": proxy}
    return session


def _network_outcome(error: BaseException) -> Outcome:
    reason = redact(f"PagerDuty: {type(error).__name__}: {error}")[:500]
    if isinstance(error, requests.TooManyRedirects):
        return Refused("PagerDuty: a redirect, which is not followed")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return Refused(reason)
    return Later(None, reason) if _never_left(error) else Unknown(reason)


def _never_left(error: BaseException) -> bool:
    """Whether no connection came about, so that nothing can have arrived."""
    unconnected = requests.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.ProxyError
    if isinstance(error, unconnected):
        return True
    inner = error.args[0] if error.args else None
    return isinstance(inner, MaxRetryError) and isinstance(inner.reason, NewConnectionError)


def _said(text: str) -> str:
    """PagerDuty's `message` and `errors`, or the beginning of whatever it answered."""
    try:
        answer = json.loads(text)
    except ValueError:
        return text[:200]
    if not isinstance(answer, dict):
        return text[:200]
    errors = answer.get("errors") or []
    return "; ".join(str(part) for part in [answer.get("message", ""), *errors] if part)[:400]

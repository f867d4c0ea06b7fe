"""PagerDuty through pdpyras: the only place that imports it.

Left alone, pdpyras retries a 429 for ever, asleep, and takes a redirect for success. Here it sends once: no retry, no
redirect, time-outs, a session for each thread. A retry is a row with a due time.

Alerts go to `/v2/enqueue`, change events to `/v2/change/enqueue`.
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
from tocsin.notifiers.blocks import PagerDuty, PagerDutyChanges
from tocsin.notifiers.http import proxy_for
from tocsin.notifiers.outcomes import Delivered, Handle, Later, Outcome, Refused, Unknown, retry_after
from tocsin.notifiers.pagerduty_message import Signature, render_change, render_pagerduty
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


# Any, in what follows: pdpyras has no types, and a body is JSON.
class _Events:
    """One service of PagerDuty and one kind of event. Sent once each, from threads with a session of their own."""

    def __init__(self, block: PagerDuty | PagerDutyChanges, clock: Clock) -> None:
        self._key, self._url, self._clock = block.routing_key.get_secret_value(), block.url, clock
        self._threads = ThreadPoolExecutor(block.at_once, thread_name_prefix="tocsin-pagerduty")
        self._local = threading.local()

    async def send(self, message: Message, handle: Handle | None) -> Outcome:
        """Send the event, once, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, message.body)

    async def find(self, message: Message) -> Delivered | Later | None:
        """Nothing can be looked for: None."""
        return None

    async def close(self) -> None:
        """Let go of the threads; what is under way ends by its time-out."""
        self._threads.shutdown(wait=False)

    def _open(self) -> Any:
        """A session of the library."""
        raise NotImplementedError

    def _call(self, session: Any, body: dict[str, Any]) -> Handle:
        """Send `body` through the session; raises what the library raises."""
        raise NotImplementedError

    def _send(self, body: dict[str, Any]) -> Outcome:
        try:
            return Delivered(self._call(self._session(), body), 202)
        except pdpyras.PDHTTPError as error:
            answer = _said(error.response.text)
            outcome = classify(error.response.status_code, answer, error.response.headers, self._clock.now())
            accepted = isinstance(outcome, Delivered) and "dedup_key" in body
            return Delivered({"dedup_key": body["dedup_key"]}, outcome.status) if accepted else outcome
        except pdpyras.PDClientError as error:
            return _network_outcome(error.__cause__ or error)
        except Exception as error:  # whatever the libraries raise: the border lets values through only
            return Unknown(redact(f"PagerDuty: {type(error).__name__}: {error}")[:500])

    def _session(self) -> Any:
        """This thread's session."""
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = _sends_once(self._open(), self._url)
        return session


class PagerDutyNotifier(_Events):
    """The alerts of one service. A retry carries the same `dedup_key`, so it is never seen twice."""

    def __init__(self, block: PagerDuty, clock: Clock) -> None:
        super().__init__(block, clock)
        self._by = Signature(block.source, block.client, block.client_url, block.links, block.images)

    def render(self, view: View, *, minimal: bool = False) -> Message:
        """The event for `view`, without the routing key."""
        return render_pagerduty(view, self._by, minimal=minimal)

    def _open(self) -> Any:
        return pdpyras.EventsAPISession(self._key)

    def _call(self, session: Any, body: dict[str, Any]) -> Handle:
        rest = {name: value for name, value in body.items() if name not in ("event_action", "dedup_key")}
        return {"dedup_key": session.send_event(body["event_action"], dedup_key=body["dedup_key"], **rest)}


class PagerDutyChangesNotifier(_Events):
    """The change events of one service. They have no key: after a lost answer one may stand there twice."""

    def __init__(self, block: PagerDutyChanges, clock: Clock) -> None:
        super().__init__(block, clock)
        self._by = Signature(block.source, links=block.links)

    def render(self, view: View, *, minimal: bool = False) -> Message:
        """The change event for `view`, without the routing key."""
        return render_change(view, self._by, minimal=minimal)

    def _open(self) -> Any:
        return pdpyras.ChangeEventsAPISession(self._key)

    def _call(self, session: Any, body: dict[str, Any]) -> Handle:
        session.send_change_event(routing_key=self._key, **body)
        return {}


def _sends_once(session: Any, url: str) -> Any:
    """The session, so that it sends once: pdpyras gives up at the first answer only with these numbers."""
    session.retry = dict.fromkeys((429, 500, 502, 503, 504), 1)
    session.max_http_attempts = -1
    session.max_network_attempts = 0
    session.max_redirects = 0
    session.timeout = TIMEOUT_S
    session.url = url
    session.log = _LOG
    session.trust_env = False
    if proxy := proxy_for(url):
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

"""More than a hundred services through Apprise: the only place that imports it, and only when it is installed.

Apprise says yes or no and sleeps between messages; here it sends once, from a thread, without its own waiting. A no may
be a refusal or a lost answer, so it is tried again: at most one duplicate a crash or a lost answer.
"""

import asyncio
import logging
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

from tocsin.events.errors import Invalid
from tocsin.notifiers.apprise_message import fitted, render_apprise
from tocsin.notifiers.blocks import Apprise
from tocsin.notifiers.outcomes import Delivered, Handle, Later, Outcome, Refused, Unknown
from tocsin.notifiers.redact import redact, redacted_logger
from tocsin.notifiers.view import Message, View

REASON: Final = 500
_INSTALL: Final = "Apprise is not installed; install it with `pip install 'tocsin[apprise]'`"

# At DEBUG Apprise writes payloads and URLs with their tokens.
_LOG = redacted_logger("apprise")
_LOG.setLevel(logging.WARNING)


class AppriseNotifier:
    """One service by its Apprise URL. Raises Invalid without the extra, or for a URL that Apprise cannot read."""

    def __init__(self, block: Apprise) -> None:
        with warnings.catch_warnings():  # of its plugins, which are imported here
            warnings.simplefilter("ignore", DeprecationWarning)
            self._library = _load(block.name)
            self._service = _service(self._library, block)
        self._threads = ThreadPoolExecutor(block.at_once, thread_name_prefix="tocsin-apprise")

    def render(self, view: View, *, minimal: bool = False) -> Message:
        """Title, text and type for `view`."""
        return render_apprise(view, minimal=minimal)

    async def send(self, message: Message, handle: Handle | None) -> Outcome:
        """Send it, once, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, dict(message.body))

    async def find(self, message: Message) -> Delivered | Later | None:
        """Apprise cannot look for what it sent: None."""
        return None

    async def close(self) -> None:
        """Let go of the thread; what is under way ends by its time-out."""
        self._threads.shutdown(wait=False)

    def _send(self, body: dict[str, str]) -> Outcome:
        service = self._service
        title, text = fitted(body["title"], body["body"], service.title_maxlen, service.body_maxlen)
        sender = self._library.Apprise(asset=service.asset)
        sender.add(service)
        with _Overheard() as said:
            try:
                told = sender.notify(body=text, title=title, notify_type=body["type"], body_format="text")
            except TypeError as error:  # what Apprise raises for a message that has nothing to say
                return Refused(_reason(str(error)), resend_minimal=True)
            except Exception as error:  # whatever a plugin raises: the border lets values through only
                return Unknown(_reason(f"{type(error).__name__}: {error}"))
        return Delivered() if told else Unknown(_reason("; ".join(said.lines) or "it was not sent"))


class _Overheard(logging.Handler):
    """What Apprise says in this thread while it sends: the reason that its no does not give."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())

    def __enter__(self) -> "_Overheard":
        _LOG.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _LOG.removeHandler(self)


def _load(name: str) -> ModuleType:
    if find_spec("apprise") is None:
        raise Invalid(f'notifier "{name}": {_INSTALL}')
    return import_module("apprise")


def _service(library: ModuleType, block: Apprise) -> Any:  # Any: a plugin of Apprise
    """The service behind the URL: sends at once, cuts what is too long, follows no redirect, keeps nothing on disk."""
    asset = library.AppriseAsset(async_mode=False, secure_logging=True)
    asset.http_redirects = False
    service = library.Apprise.instantiate(block.url.get_secret_value(), asset=asset, suppress_exceptions=True)
    if not service:
        raise Invalid(f'notifier "{block.name}": Apprise cannot read its URL; `apprise --details` lists the forms')
    service.request_rate_per_sec = 0
    service.overflow_mode = library.OverflowMode.TRUNCATE
    service.socket_connect_timeout, service.socket_read_timeout = 3.0, 6.0
    return service


def _reason(text: str) -> str:
    return redact(f"Apprise: {text}")[:REASON]

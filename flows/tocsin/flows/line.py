"""The line to a server: posts over HTTP, on a connection that is kept, sent again until they are answered.

While the server does not answer (it restarts, the network is away, it has too much to do) a post waits and is sent
again as it was. What the server refuses is raised as the error that it was there.
"""

import http.client
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from tocsin.events.errors import Conflict, Invalid, NotFound, TocsinError, Unavailable

TIMEOUT_S: Final = 30.0
PAUSES_S: Final = (0.05, 0.1, 0.2, 0.5)
SAYS_S: Final = 10.0
"""How often a line that is down is told of."""
FAILURES: Final = 5
"""How often a server may fail over a post before it is taken to do so for good."""
_AGAIN: Final = frozenset({408, 429, 502, 503, 504})
_ERRORS: Final[Mapping[int, type[TocsinError]]] = {
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.UNPROCESSABLE_ENTITY: Invalid,
}

logger = logging.getLogger(__name__)


class _Failed(Unavailable):
    """The server broke off over the post itself."""


class Line:
    """One connection to the server at `url`, used by one thread at a time."""

    def __init__(self, url: str, key: str, path: str) -> None:
        """Raises Invalid for an address that is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Invalid(f"TOCSIN_API_URL {url!r}: an address begins with http:// or https://")
        self._url, self._host, self._port = url, parts.hostname, parts.port
        self._secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/").removesuffix("/api") + path
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    def post(self, what: str, body: bytes, patience_s: float, given_up: Callable[[], bool] = lambda: False) -> bytes:
        """The answer. Raises the server's error, and Unavailable when none came in time, or it is given up."""
        end, number, said = time.monotonic() + patience_s, 0, time.monotonic()
        while True:
            try:
                return self._posted(what, body)
            except Unavailable as error:
                if isinstance(error, _Failed) and number >= FAILURES:
                    raise Invalid(str(error)) from error
                if time.monotonic() >= end or given_up():
                    raise
                if time.monotonic() - said >= SAYS_S:
                    said = time.monotonic()
                    logger.warning("%s; runs of this process wait for it", error)
                time.sleep(PAUSES_S[min(number, len(PAUSES_S) - 1)])
                number += 1

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._hang_up()

    def _posted(self, what: str, body: bytes) -> bytes:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._called()
                self._connection.request("POST", f"{self._path}/{what}", body, self._headers)
                answer = self._connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._hang_up()
                raise Unavailable(f"{self._url}: {error or type(error).__name__}") from error
            except BaseException:  # an interrupted conversation cannot be gone on with
                self._hang_up()
                raise
        if answer.status == HTTPStatus.OK:
            return text
        raise _error(self._url, answer.status, text)

    def _called(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=TIMEOUT_S)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _error(url: str, status: int, text: bytes) -> TocsinError:
    try:
        detail = str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"HTTP {status}"
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return _Failed(f"{url}: {detail}")
    if status in _AGAIN:
        return Unavailable(f"{url}: {detail}")
    return _ERRORS.get(status, Invalid)(detail if status in _ERRORS else f"{url}: HTTP {status}, {detail}")

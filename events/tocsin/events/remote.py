"""Events over HTTP to a tocsin server, with nothing but the standard library."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Final

from tocsin.events import codec
from tocsin.events.errors import BadEvent, Unavailable
from tocsin.events.model import Event

TIMEOUT_S: Final = 30.0


class ApiEmitter:
    """Posts to `POST /api/events`; the server answers when the events are stored."""

    def __init__(self, url: str, key: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise Unavailable(f"TOCSIN_API_URL {url!r}: an address begins with http:// or https://")
        self._url = url.rstrip("/").removesuffix("/api") + "/api/events"
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})

    def emit(self, events: Sequence[Event]) -> None:
        """Post them as one batch. `BadEvent` when the server refuses them, `Unavailable` when it does not take them."""
        body = b"[" + b",".join(map(codec.encode, events)) + b"]"
        request = urllib.request.Request(self._url, body, self._headers, method="POST")  # noqa: S310 - checked above
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310 - checked above
                return
        except urllib.error.HTTPError as error:
            raise _refusal(error) from error
        except OSError as error:
            raise Unavailable(f"{self._url}: {error}; is `tocsin server` running there?") from error


def _refusal(error: urllib.error.HTTPError) -> BadEvent | Unavailable:
    try:
        detail = json.loads(error.read()).get("detail", error.reason)
    except (ValueError, AttributeError):
        detail = error.reason
    if error.code in (400, 413, 422):
        return BadEvent(f"{error.url}: {detail}")
    return Unavailable(f"{error.url}: HTTP {error.code}, {detail}")

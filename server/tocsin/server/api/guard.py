"""Who may ask: the key, the Host header (DNS rebinding) and the Origin of browsers (cross-site requests)."""

import hmac
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tocsin.server.api.problems import problem
from tocsin.server.settings import Settings, is_loopback

OPEN_PATHS: Final = frozenset({"/api/health", "/api/ready"})
METRICS: Final = "/metrics"
_SIGNED: Final = re.compile(r"/api/(?:hooks|pagerduty|slack/interactivity)/[^/]+")
"""Where others post: each post is proven by a secret of its own."""


class Guard:
    """Lets a request through to `app`, or answers it with the reason."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._key = settings.key.encode() if settings.key else None
        named = {name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()}
        self._hosts = named | ({settings.host.lower()} if not _is_any_address(settings.host) else set())
        # With a key, a page that rebinds a name to this address gains nothing; the list then binds only if it is given.
        self._check_host = self._key is None or bool(named)
        self._open = OPEN_PATHS | {METRICS} if settings.metrics_open else OPEN_PATHS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
            if refusal is not None:
                status, detail = refusal
                headers = {"www-authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None
                await problem(status, detail, headers=headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[HTTPStatus, str] | None:
        host = _name(headers.get("host", ""))
        if self._check_host and not (is_loopback(host) or host in self._hosts):
            return HTTPStatus.MISDIRECTED_REQUEST, (
                f"this server does not answer to the name {host[:100]!r}; add it to TOCSIN_ALLOWED_HOSTS if it should"
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            return HTTPStatus.FORBIDDEN, f"a page of {origin[:100]!r} may not ask this server"
        if self._key is None or self._is_open(method, path) or self._is_key(headers.get("authorization", "")):
            return None
        return HTTPStatus.UNAUTHORIZED, (
            "send the API key: `Authorization: Bearer <key>`; the CLI and emit_event take it from TOCSIN_API_KEY"
        )

    def _is_open(self, method: str, path: str) -> bool:
        """Whether no key is asked for."""
        return path in self._open or (method == "POST" and _SIGNED.fullmatch(path) is not None)

    def _is_key(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        return (
            self._key is not None
            and scheme.lower() == "bearer"
            and hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._key)
        )


def _name(host: str) -> str:
    """`host` of a Host header without its port, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _is_any_address(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound

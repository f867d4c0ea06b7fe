"""The way out for HTTP: aiohttp behind a door that checks every address at the moment of connecting.

`Door.post` is for addresses that people write into webhooks: public internet only unless an allow-list says
otherwise, no redirects, no proxies from the environment, a bounded answer, and the outcome as a value.
`Door.session` is for channels whose address is fixed (slack-sdk): same time-outs, no redirects, no guard.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from ipaddress import ip_address
from socket import AddressFamily
from types import SimpleNamespace, TracebackType
from typing import Final, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tocsin.notifiers.addresses import Allow, read_allow, refusal
from tocsin.notifiers.outcomes import Later, Outcome, Refused, Unknown
from tocsin.notifiers.redact import redact

TIMEOUT: Final = timedelta(seconds=10)
CONNECT: Final = timedelta(seconds=3)
ANSWER_BYTES: Final = 64 * 1024
USER_AGENT: Final = "tocsin"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer came: its status, its headers (names in lower case), the first 64 KiB of its body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Nothing was sent, and nothing ever will be: the address or the request itself is refused."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """Nothing was sent: no connection. Another try may succeed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The request went out and no answer came: it may have arrived."""

    reason: str


Result = Answer | Forbidden | Unsent | Unanswered


async def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    allow: Sequence[str] = (),
    timeout: timedelta = TIMEOUT,
    door: "Door | None" = None,
) -> Result:
    """POST once, through `door` or one of its own. `allow` lists private hosts (`host:port`) and networks."""
    if door is not None:
        return await door.post(url, body, headers, allow=allow, timeout=timeout)
    async with Door() as own:
        return await own.post(url, body, headers, allow=allow, timeout=timeout)


class Door:
    """Connections of one event loop; close it, or use it as a context manager."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver
        self._guarded: dict[tuple[Allow, ...], aiohttp.ClientSession] = {}
        self._plain: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        allow: Sequence[str] = (),
        timeout: timedelta = TIMEOUT,
    ) -> Result:
        """POST `body` to `url`, once. Raises Invalid only for an allow-list that cannot be read."""
        rules = _rules(tuple(allow))
        if reason := _unfit(url, rules):
            return Forbidden(reason)
        try:
            return await _exchange(self._session(rules), url, body, headers or {}, timeout)
        except _ForbiddenAddress as error:
            return Forbidden(str(error))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Unsent(_told(error))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            refused = isinstance(error, aiohttp.InvalidURL)
            return Forbidden(_told(error)) if refused else Unanswered(_told(error))
        except ValueError as error:
            return Forbidden(f"not a request: {_told(error)}")

    def session(self) -> aiohttp.ClientSession:
        """The session for channels with an address of their own: no guard, no redirects."""
        if self._plain is None:
            self._plain = _open_session(aiohttp.TCPConnector(limit=0), _no_redirects())
        return self._plain

    async def close(self) -> None:
        """Close every connection."""
        sessions = [*self._guarded.values(), *([self._plain] if self._plain else [])]
        self._guarded, self._plain = {}, None
        await asyncio.gather(*(session.close() for session in sessions))

    def _session(self, rules: tuple[Allow, ...]) -> aiohttp.ClientSession:
        """One pool an allow-list: a connection that one list opened is never used under another."""
        if rules not in self._guarded:
            resolver = _GuardedResolver(self._resolver or aiohttp.DefaultResolver(), rules)
            connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=0)
            self._guarded[rules] = _open_session(connector)
        return self._guarded[rules]


def network_outcome(error: Exception) -> Outcome:
    """What an exception of a channel's own client means: no connection, a redirect, or nobody knows."""
    if isinstance(error, Redirected | aiohttp.InvalidURL):
        return Refused(_told(error))
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Later(None, _told(error))
    return Unknown(_told(error))


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for a fixed channel's `url`; this machine itself is never proxied."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "localhost" or _is_loopback(host) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return getproxies().get(parts.scheme)


async def _exchange(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], timeout: timedelta
) -> Answer:
    limits = aiohttp.ClientTimeout(total=timeout.total_seconds(), sock_connect=CONNECT.total_seconds())
    async with session.post(url, data=body, headers=headers, allow_redirects=False, timeout=limits) as response:
        text = await _bounded(response)
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, names, text)


async def _bounded(response: aiohttp.ClientResponse) -> str:
    """The first 64 KiB of the answer. What breaks after the status line does not change what the status said."""
    received = bytearray()
    try:
        while len(received) < ANSWER_BYTES and (chunk := await response.content.read(ANSWER_BYTES - len(received))):
            received += chunk
    except (aiohttp.ClientError, TimeoutError, OSError):
        received += b" (the answer broke off)"
    return received.decode("utf-8", "replace")


_rules = lru_cache(1_000)(read_allow)


@lru_cache(1_000)
def _unfit(url: str, rules: tuple[Allow, ...]) -> str | None:
    """Why `url` is refused before any name is looked up."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "the URL cannot be read"
    if parts.scheme not in ("http", "https") or not host:
        return f"only http and https URLs with a host are sent to, not {parts.scheme or 'no scheme'}"
    if not _is_literal(host):
        return "an IPv4 address must be written as four decimal numbers" if _looks_numeric(host) else None
    reason = refusal(host, port, host, rules)
    return _refused(host, host, reason) if reason else None


def _is_literal(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _looks_numeric(host: str) -> bool:
    """Whether aiohttp would connect without a look-up (`2130706433`, `127.1`), past the resolver's guard."""
    return ":" in host or host.replace(".", "").isdigit()


def _is_loopback(host: str) -> bool:
    return _is_literal(host) and ip_address(host.partition("%")[0]).is_loopback


def _refused(host: str, address: str, reason: str) -> str:
    where = host if host == address else f"{host} ({address})"
    return redact(f"{where} is refused: {reason}; allow it by host:port or network if it is meant")


def _told(error: BaseException) -> str:
    return redact(f"{type(error).__name__}: {error}".rstrip(": "))[:500]


class _ForbiddenAddress(Exception):
    """A name resolved to an address that may not be connected to."""


class _GuardedResolver(AbstractResolver):
    """Looks a name up and lets it pass only when every one of its addresses may be connected to.

    aiohttp connects to exactly these addresses, so there is no second look-up that could answer otherwise.
    """

    def __init__(self, inner: AbstractResolver, rules: tuple[Allow, ...]) -> None:
        self._inner, self._rules = inner, rules

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`; raises when one of them is refused."""
        found = await self._inner.resolve(host, port, family)
        for result in found:
            if reason := refusal(host, port, result["host"], self._rules):
                raise _ForbiddenAddress(_refused(host, result["host"], reason))
        return found

    async def close(self) -> None:
        """Close the resolver behind it."""
        await self._inner.close()


class Redirected(aiohttp.ClientError):
    """A channel with a fixed address answered with a redirect; following it would lose or leak the message."""


def _no_redirects() -> aiohttp.TraceConfig:
    async def refuse(
        session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
    ) -> None:
        raise Redirected(f"HTTP {params.response.status}: redirects are not followed")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return trace


def _open_session(connector: aiohttp.TCPConnector, *traces: aiohttp.TraceConfig) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        trace_configs=list(traces),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT.total_seconds(), sock_connect=CONNECT.total_seconds()),
        trust_env=False,
    )

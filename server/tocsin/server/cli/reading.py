"""Events for the command line: from the server of TOCSIN_API_URL, or from the database itself."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import msgspec

from tocsin.events.codec import decode
from tocsin.events.errors import Invalid, Unavailable
from tocsin.events.model import Event
from tocsin.server import history
from tocsin.server.cli.opening import opened
from tocsin.server.history import Filter
from tocsin.server.settings import Settings
from tocsin.store.log import CHANNEL, Follower, number

TIMEOUT_S: Final = 30
_IDLE: Final = timedelta(seconds=1)


def search(settings: Settings, wanted: Filter, limit: int) -> Iterator[Event]:
    """The newest `limit` events that `wanted` accepts."""
    token: str | None = None
    while limit > 0:
        events, token = _page(settings, wanted, min(limit, history.MAX_PAGE), token)
        yield from events
        limit -= len(events)
        if token is None:
            return


def follow(settings: Settings, wanted: Filter) -> Iterator[Event]:
    """Events that `wanted` accepts, as they happen, without end."""
    return _follow_api(settings, wanted) if settings.api_url else _follow_log(settings, wanted)


def _page(settings: Settings, wanted: Filter, limit: int, token: str | None) -> tuple[list[Event], str | None]:
    if settings.api_url:
        query = {**_query(wanted), "limit": limit, **({"page": token} if token else {})}
        answer = json.load(_ask(settings, "/api/events", query))
        return [msgspec.convert(event, Event) for event in answer["events"]], answer["next"]
    with opened(settings) as store, store.read() as session:
        page = history.search(session, wanted, limit=limit, token=token)
    return [decode(entry.body) for entry in page.entries], page.next


def _follow_api(settings: Settings, wanted: Filter) -> Iterator[Event]:
    answer = _ask(settings, "/api/events/tail", _query(wanted))
    for line in answer:
        if line.startswith(b"data: ") and not line.startswith(b'data: {"dropped"'):
            yield decode(line[6:])
    raise Unavailable(f"{settings.api_url}: the server ended the stream; start again to go on from now")


def _follow_log(settings: Settings, wanted: Filter) -> Iterator[Event]:
    loop = asyncio.new_event_loop()
    entries = _entries(settings, wanted)
    try:
        while True:
            yield loop.run_until_complete(anext(entries))
    finally:
        loop.run_until_complete(entries.aclose())
        loop.close()


async def _entries(settings: Settings, wanted: Filter) -> AsyncGenerator[Event, None]:
    with opened(settings) as store:
        seq = await store.look(history.latest)
        follower = Follower()
        with store.watch(CHANNEL) as watch:
            while True:
                after = seq
                entries = await store.look(lambda session: follower.read(session, after, 500))  # noqa: B023 - awaited
                for entry in entries:
                    if entry.topic in history.SHOWN and wanted.accepts(entry):
                        yield decode(entry.body)
                seq = number(entries[-1]) if entries else seq
                if not entries:
                    await watch.wait(_IDLE)


def _query(wanted: Filter) -> dict[str, str]:
    fields = {
        "name": wanted.name,
        "resource": wanted.resource,
        "related": wanted.related,
        "since": wanted.since and wanted.since.isoformat(),
        "until": wanted.until and wanted.until.isoformat(),
    }
    return {name: value for name, value in fields.items() if value}


def _ask(settings: Settings, path: str, query: dict[str, Any]) -> Any:  # Any: urllib's response, JSON or lines
    url = str(settings.api_url).rstrip("/").removesuffix("/api")
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"TOCSIN_API_URL {url!r}: an address begins with http:// or https://")
    headers = {"authorization": f"Bearer {settings.key}"} if settings.key else {}
    request = Request(f"{url}{path}?{urlencode(query)}", headers=headers)  # noqa: S310 - checked above
    try:
        return urlopen(request, timeout=TIMEOUT_S)  # noqa: S310 - checked above
    except HTTPError as error:
        raise Invalid(f"{url}: {_detail(error)}") from error
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise Unavailable(f"{url}: {reason}; is `tocsin server` running there?") from error


def _detail(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read())["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code} {error.reason}"

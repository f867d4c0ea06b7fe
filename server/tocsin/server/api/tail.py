"""Follow events as they happen: server-sent events, resumable by the id of the last one seen."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from tocsin.server import history
from tocsin.server.api.problems import Refused
from tocsin.server.api.state import Here
from tocsin.server.feed import Feed, Reader
from tocsin.store.log import Follower, number
from tocsin.store.tables import LogEntry

HEARTBEAT: Final = timedelta(seconds=15)
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}

router = APIRouter(prefix="/api/events", tags=["events"])


@router.get(
    "/tail",
    summary="Follow events as they happen (SSE)",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "One message an event, id = its number."}},
)
async def tail_events(
    here: Here,
    name: Annotated[str | None, Query(description="Event name, or a prefix ending in `*`.")] = None,
    resource: Annotated[str | None, Query(description="Resource id, or a prefix ending in `*`.")] = None,
    related: Annotated[str | None, Query(description="Id of a related resource, or a prefix ending in `*`.")] = None,
    last_event_id: Annotated[str | None, Header(description="Go on behind this one; default: from now.")] = None,
) -> StreamingResponse:
    """Messages of type `message` carry an event. `dropped` says how many a reader too slow for them has missed;
    reconnect with the last id to get them from the log. A comment every 15 s keeps the connection open."""
    wanted = history.Filter(name, resource, related)
    start = _start(last_event_id)
    if start is None:
        start = await here.feed.head()
    return StreamingResponse(stream(here.feed, wanted, start), media_type="text/event-stream", headers=_HEADERS)


async def stream(
    feed: Feed, wanted: history.Filter, seq: int, heartbeat: timedelta = HEARTBEAT
) -> AsyncGenerator[bytes, None]:
    """The log behind `seq` and then what it gains, as the lines of an event stream."""
    yield b": tocsin\n\n"
    follower = Follower()
    while not feed.closed:  # at the reader's own pace, until it has caught up
        entries = await feed.page(seq, follower)
        if found := lines(entries, wanted):
            yield found
        if entries:
            seq = number(entries[-1])
        elif (reader := feed.join(seq)) is not None:
            async for part in _live(feed, reader, wanted, seq, heartbeat):
                yield part
            return


async def _live(
    feed: Feed, reader: Reader, wanted: history.Filter, seq: int, heartbeat: timedelta
) -> AsyncGenerator[bytes, None]:
    with reader:
        while not feed.closed:
            entries, dropped = await reader.take(heartbeat)
            if found := lines([entry for entry in entries if number(entry) > seq], wanted):
                yield found
            if dropped:
                yield b'event: dropped\ndata: {"dropped":%d}\n\n' % dropped
            if not entries:
                yield b": still here\n\n"


def lines(entries: Sequence[LogEntry], wanted: history.Filter) -> bytes:
    """The messages of the wanted entries; their bodies are JSON on one line."""
    return b"".join(
        b"id: %d\ndata: %b\n\n" % (number(entry), entry.body)
        for entry in entries
        if entry.topic in history.SHOWN and wanted.accepts(entry)
    )


def _start(last_event_id: str | None) -> int | None:
    if last_event_id is None:
        return None
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"Last-Event-ID {last_event_id[:40]!r} is not an id of this stream"
        )
    return int(last_event_id)

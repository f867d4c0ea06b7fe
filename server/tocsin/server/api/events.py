"""Events over HTTP: take them in, list them, show one."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import Headers

from tocsin.events import cloudevents, codec
from tocsin.events.errors import BadEvent, NotFound
from tocsin.events.model import Event
from tocsin.server import history
from tocsin.server.api import outgoing
from tocsin.server.api.bodies import read_body
from tocsin.server.api.problems import Flaw, Refused
from tocsin.server.api.schemas import ANSWERS, BODY, MAX_BATCH, MAX_BATCH_BYTES, PAGE
from tocsin.server.api.state import Context, Here

MAX_FLAWS: Final = 20
_BIG: Final = 128_000
_BATCH_TOO_LARGE: Final = f"a batch has at most {MAX_BATCH_BYTES:,} bytes; send smaller ones"

Parse = Callable[[bytes, datetime], list[Event]]

router = APIRouter(prefix="/api/events", tags=["events"])


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=BODY,
    summary="Take in one event, or an array of them; also as CloudEvents",
    responses=ANSWERS,
)
async def post_events(request: Request) -> Response:
    """All or nothing: the answer comes after the commit, and a bad event refuses its whole batch."""
    return await take_in(Context.of(request), request)


async def take_in(here: Context, request: Request) -> Response:
    """Store the events that a request posts, then answer with their ids. Raises Refused, Full and Unavailable."""
    read = parser(request.headers)
    body, now = await read_body(request, MAX_BATCH_BYTES, _BATCH_TOO_LARGE), here.clock.now()
    events = await asyncio.to_thread(read, body, now) if len(body) > _BIG else read(body, now)
    await here.intake.put(events, len(body))
    ids = msgspec.json.encode({"ids": [event.id for event in events]})
    return Response(ids, HTTPStatus.CREATED, media_type="application/json")


def parse(body: bytes, now: datetime) -> list[Event]:
    """The events in the body of a post. Raises Refused, with every flaw, when any of them is bad."""
    document = _json(body)
    if isinstance(document, dict):
        _small_enough(body)
    return _all([document] if isinstance(document, dict) else document, now, codec.from_document)


def parse_batch(body: bytes, now: datetime) -> list[Event]:
    """The events of a batch of CloudEvents. Raises Refused like `parse`."""
    return _all(_json(body), now, cloudevents.from_document)


def parse_one(headers: Mapping[str, str], body: bytes, now: datetime) -> list[Event]:
    """The event of one CloudEvent, structured or binary. Raises Refused like `parse`."""
    _small_enough(body)
    return _all([headers], now, lambda headers, now: cloudevents.from_http(headers, body, now)[0])


def parser(headers: Headers) -> Parse:
    """How a post with these headers is read. Raises Refused for what is neither ours nor CloudEvents."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == cloudevents.BATCH:
        return parse_batch
    if kind == cloudevents.STRUCTURED or "ce-specversion" in headers:
        return partial(parse_one, _each_once(headers))
    if kind != "application/json":
        # Also what makes a browser ask first before a foreign page can post here.
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"content type {kind[:80]!r}; send `Content-Type: application/json`, or a CloudEvent in JSON",
        )
    return parse


def _each_once(headers: Headers) -> dict[str, str]:
    found = {name.lower(): value for name, value in headers.items()}
    for name in found:
        if name.startswith("ce-") and len(headers.getlist(name)) > 1:
            reason = f"the header {name[:80]!r} stands there twice; a CloudEvent has one value an attribute"
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, reason, [Flaw(0, None, reason)])
    return found


def _json(body: bytes) -> Any:  # Any: JSON of any shape
    try:
        return codec.strict_json(body)
    except BadEvent as error:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), [Flaw(0, None, str(error))]) from error


def _small_enough(body: bytes) -> None:
    if len(body) > codec.MAX_BYTES:
        raise _too_large(f"one event is at most {codec.MAX_BYTES:,} bytes, this has {len(body):,}")


def _all(documents: Any, now: datetime, read: Callable[[Any, datetime], Event]) -> list[Event]:  # Any: as above
    if not isinstance(documents, list) or not documents:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "send one event, or an array with at least one")
    if len(documents) > MAX_BATCH:
        raise _too_large(f"a batch has at most {MAX_BATCH:,} events, this has {len(documents):,}")
    events: list[Event] = []
    flaws: list[Flaw] = []
    for index, document in enumerate(documents):
        try:
            events.append(_one(document, now, read))
        except BadEvent as error:
            flaws.append(Flaw.of(index, error))
    if flaws:
        first = flaws[0]
        which = f"event {first.index} of {len(documents)}: " if len(documents) > 1 else ""
        more = f" (and {len(flaws) - 1:,} more)" if len(flaws) > 1 else ""
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"nothing was stored; {which}{first.reason}{more}", flaws[:MAX_FLAWS]
        )
    return events


def _one(document: Any, now: datetime, read: Callable[[Any, datetime], Event]) -> Event:  # Any: as above
    if not isinstance(document, dict):
        raise BadEvent("an event is a JSON object")
    event = read(document, now)
    codec.encode(event)  # sees to the size
    return event


@router.get(
    "",
    summary="List events, newest first; as a batch of CloudEvents to whoever accepts that",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": PAGE}, cloudevents.BATCH: {}}}},
)
async def list_events(
    request: Request,
    here: Here,
    name: Annotated[str | None, Query(description="Event name, or a prefix ending in `*`.")] = None,
    resource: Annotated[str | None, Query(description="Resource id, or a prefix ending in `*`.")] = None,
    related: Annotated[str | None, Query(description="Id of a related resource, or a prefix ending in `*`.")] = None,
    since: Annotated[datetime | None, Query(description="Occurred at or after; with a zone.")] = None,
    until: Annotated[datetime | None, Query(description="Occurred before; with a zone.")] = None,
    limit: Annotated[int, Query(ge=1, le=history.MAX_PAGE)] = 100,
    page: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> Response:
    """`{"events": [...], "next": token}`; ask again with `page=<next>` until `next` is null.

    To `Accept: application/cloudevents-batch+json` the answer is the array itself; the header `Link` names the next
    page.
    """
    wanted = history.Filter(name, resource, related, _aware("since", since), _aware("until", until))
    found = await here.store.look(lambda session: history.search(session, wanted, limit=limit, token=page))
    if outgoing.asks_for(request.headers, cloudevents.BATCH):
        return await asyncio.to_thread(outgoing.batch, found, request.url, here.settings.cloudevents_source)
    events = b",".join(entry.body for entry in found.entries)
    token = msgspec.json.encode(found.next)
    return Response(b'{"events":[%b],"next":%b}' % (events, token), media_type="application/json")


@router.get(
    "/{event_id}",
    summary="Show one event; as a CloudEvent to whoever asks for one",
    response_class=Response,
    responses={200: {"content": {"application/json": {}, cloudevents.STRUCTURED: {}}}},
)
async def get_event(
    request: Request,
    here: Here,
    event_id: UUID,
    cloudevent: Annotated[cloudevents.Mode | None, Query(description="Answer as a CloudEvent in this form.")] = None,
) -> Response:
    """The event with this id; structured, too, to `Accept: application/cloudevents+json`."""
    event = await here.store.look(lambda session: history.find(session, event_id))
    if event is None:
        raise NotFound(f"no event has the id {event_id}")
    if cloudevent is None and outgoing.asks_for(request.headers, cloudevents.STRUCTURED):
        cloudevent = "structured"
    if cloudevent is not None:
        return outgoing.one(event, cloudevent, here.settings.cloudevents_source)
    return Response(codec.encode(event), media_type="application/json")


def _too_large(reason: str) -> Refused:
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)


def _aware(name: str, instant: datetime | None) -> datetime | None:
    if instant is not None and instant.tzinfo is None:
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} {instant.isoformat()}: no time zone; write Z or an offset"
        )
    return instant

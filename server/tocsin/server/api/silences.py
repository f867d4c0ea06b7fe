"""Silences over HTTP: add, list, end; and what one would keep quiet."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from tocsin.events.errors import Invalid
from tocsin.notifiers import silences
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.silences import State
from tocsin.notifiers.spans import Span
from tocsin.server import reads, routing
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api/silences", tags=["silences"])


class Matching(BaseModel):
    """Which alerts: matchers in Alertmanager's syntax, in one text or several."""

    model_config = ConfigDict(extra="forbid")

    matchers: str | list[str]


class Wanted(Matching):
    """A silence to be: `ends`, or `for` how long (seconds, or text such as `2h`)."""

    starts: datetime | None = None
    ends: datetime | None = None
    span: Span | None = Field(default=None, alias="for")
    author: str = ""
    comment: str = ""


@router.get("", summary="List silences, the last to end first")
async def list_silences(
    here: Here,
    state: Annotated[State | None, Query(description="Only those.")] = None,
    limit: Annotated[int, Query(ge=1, le=reads.MOST, description="At most this many.")] = 50,
) -> list[routing.SilenceView]:
    """Silences: those that are on, that will be, and that were."""
    now = here.clock.now()

    def look(session: Session) -> list[routing.SilenceView]:
        return [routing.silence_view(row, now) for row in silences.list_silences(session, now, state, limit)]

    return await here.store.look(look)


@router.post("", status_code=HTTPStatus.CREATED, summary="Add a silence")
async def add_silence(here: Here, wanted: Wanted) -> routing.SilenceView:
    """Who was told that something fires is still told when it is over."""
    now = here.clock.now()
    found = read_matchers(wanted.matchers)
    starts = routing.aware(wanted.starts, "starts") or now
    ends = routing.aware(wanted.ends, "ends")
    if (ends is None) == (wanted.span is None):
        raise Invalid("how long? Give `ends`, or `for` with a span such as 2h")
    until = ends if ends is not None else starts + (wanted.span or now - now)

    def add(session: Session) -> routing.SilenceView:
        made = silences.add_silence(
            session, found, starts=starts, ends=until, author=wanted.author, comment=wanted.comment, now=now
        )
        return routing.get_silence(session, made.id, now)

    return await here.store.run(add)


@router.post("/preview", summary="Say what a silence would keep quiet")
async def preview_silence(here: Here, wanted: Matching) -> routing.PreviewView:
    """Now, and in the last 24 hours. Nothing is written."""
    found, now = read_matchers(wanted.matchers), here.clock.now()
    told = ", ".join(map(str, found))
    return await here.store.look(lambda session: routing.preview_view(told, silences.preview(session, found, now)))


@router.delete("/{id}", summary="End a silence now")
async def expire_silence(
    here: Here,
    id: UUID,  # noqa: A002 - it is the row's id
    by: Annotated[str, Query(description="Who ends it.")] = "",
) -> routing.SilenceView:
    """The silence, over. What it kept quiet and still fires is told; one that was over stays as it is."""
    now = here.clock.now()

    def expire(session: Session) -> routing.SilenceView:
        silences.expire_silence(session, id, by=by, now=now)
        return routing.get_silence(session, id, now)

    return await here.store.run(expire)

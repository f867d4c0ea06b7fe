"""The cache over HTTP: what is in it, how much it saves, taking things out."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlmodel import Session

from tocsin.flows import cache_shelf
from tocsin.notifiers.spans import Span
from tocsin.server import cache_views, reads
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api/cache", tags=["cache"])

Task = Annotated[str | None, Query(description="Only those of this task, by its key.")]


@router.get("", summary="List cached results, newest first")
async def list_entries(
    here: Here,
    task: Task = None,
    expired: Annotated[bool | None, Query(description="Only those that have expired, or have not.")] = None,
    limit: Annotated[int, Query(ge=1, le=reads.MOST, description="At most this many.")] = 50,
) -> list[cache_views.EntryView]:
    """Where each lies and until when it counts; never the result itself."""
    now = here.clock.now()
    return await here.store.look(
        lambda session: cache_views.entries(session, now, task=task, expired=expired, limit=limit)
    )


@router.get("/effectiveness", summary="Say how effective the cache is")
async def effectiveness(
    here: Here,
    last: Annotated[Span, Query(description="Of the runs of this span: seconds, or text such as 7d.")] = timedelta(1),
    everything: Annotated[bool, Query(alias="all", description="Tasks that skipped nothing, too.")] = False,
) -> list[cache_views.EffectView]:
    """Per task, how many of its runs took an earlier result, in per cent too."""
    since = here.clock.now() - last
    return await here.store.look(lambda session: cache_views.effects(session, since, only_cached=not everything))


@router.get("/flights", summary="List what is being computed")
async def list_flights(here: Here) -> list[cache_views.FlightView]:
    """The keys whose result a task run computes right now, for which others may wait."""
    return await here.store.look(cache_views.flights)


@router.get("/entries/{key:path}", summary="Show a cached result")
async def get_entry(
    here: Here, key: Annotated[str, Path(description="A key, or its beginning.")]
) -> cache_views.EntryView:
    """Who made it, where it lies, until when it counts."""
    now = here.clock.now()
    return await here.store.look(lambda session: cache_views.entry(session, key, now))


@router.delete("", summary="Take results out of the cache")
async def clear(
    here: Here,
    key: Annotated[str | None, Query(description="This one: a key, or its beginning.")] = None,
    task: Task = None,
    expired: Annotated[bool, Query(description="Those that have expired.")] = False,
    everything: Annotated[bool, Query(alias="all", description="All of them.")] = False,
) -> cache_views.ClearedView:
    """What fits all that is given. Files to which nothing refers any more go later, by themselves."""
    now = here.clock.now()

    def work(session: Session) -> int:
        return cache_shelf.clear(session, now, key=key, task=task, expired=expired, everything=everything)

    return cache_views.ClearedView(entries=await here.store.run(work))

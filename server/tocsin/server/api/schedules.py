"""Schedules over HTTP: list, and preview of what they will do."""

from typing import Annotated

from fastapi import APIRouter, Query

from tocsin.server import commands, reads, views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api/schedules", tags=["schedules"])


@router.get("", summary="List schedules")
async def list_schedules(
    here: Here, deployment: Annotated[str | None, Query(description="Only those of this deployment.")] = None
) -> list[views.ScheduleView]:
    """Schedules by slug."""
    return await here.store.look(lambda session: reads.schedules(session, deployment=deployment))


@router.get("/{slug}/preview", summary="The next ticks of a schedule")
async def preview_schedule(
    here: Here,
    slug: str,
    count: Annotated[int, Query(ge=1, le=100, description="How many.")] = 10,
) -> list[views.ComingView]:
    """The next instants at which it ticks."""
    now = here.clock.now()
    return await here.store.look(lambda session: commands.preview(session, slug, now=now, count=count))

"""Schedules over HTTP: list, preview of what they will do, pause, and ticks of the past."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from tocsin.server import commands, reads, views
from tocsin.server.api.state import Here
from tocsin.triggers.backfill import MOST_ACTIVE

router = APIRouter(prefix="/api/schedules", tags=["schedules"])


class Backfill(BaseModel):
    """Which ticks are to be sent afterwards. A time without a zone is one of the schedule's."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    begin: datetime = Field(alias="from", description="First instant.")
    end: datetime | None = Field(default=None, alias="to", description="Last instant (default: now).")
    dry_run: bool = Field(default=False, description="Only say which ticks would be sent.")
    max_active: int = Field(default=MOST_ACTIVE, ge=1, description="How many of the runs may be under way at once.")
    reverse: bool = Field(default=False, description="The latest tick first.")


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


@router.post("/{slug}/pause", summary="Pause a schedule")
async def pause_schedule(here: Here, slug: str) -> views.ScheduleView:
    """No ticks until it is resumed; what falls into the pause was not due."""
    now = here.clock.now()
    return await here.store.run(lambda session: commands.switch_schedule(session, slug, active=False, now=now))


@router.post("/{slug}/resume", summary="Resume a paused schedule")
async def resume_schedule(here: Here, slug: str) -> views.ScheduleView:
    """It ticks again, from now on."""
    now = here.clock.now()
    return await here.store.run(lambda session: commands.switch_schedule(session, slug, active=True, now=now))


@router.post("/{slug}/backfill", summary="Send the ticks of a time that were never sent")
async def backfill_schedule(here: Here, slug: str, asked: Backfill) -> list[views.BackfillView]:
    """The ticks that are sent (or would be, for a dry run), in that order. A second time nothing is left."""
    now = here.clock.now()
    return await here.store.run(
        lambda session: commands.backfill(
            session,
            slug,
            asked.begin,
            asked.end or now,
            dry_run=asked.dry_run,
            max_active=asked.max_active,
            reverse=asked.reverse,
            now=now,
        )
    )

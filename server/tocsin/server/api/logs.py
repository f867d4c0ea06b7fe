"""What runs have logged, over HTTP: of one run, or searched over all."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from tocsin.server import log_reads, views
from tocsin.server.api.state import Here
from tocsin.server.log_reads import Wanted, level_of

router = APIRouter(prefix="/api", tags=["logs"])

Level = Annotated[str, Query(description="From this level up: debug, info, warning, error, critical.")]
Text = Annotated[str, Query(max_length=500, description="Only lines with this text in them, in any case.")]
TaskName = Annotated[str | None, Query(description="Only lines of this task, or of this task run.")]
Time = Annotated[AwareDatetime | None, Query(description="With a zone.")]
Limit = Annotated[int, Query(ge=1, le=log_reads.MOST, description="At most this many.")]


@router.get("/runs/{run_id}/logs", summary="Read what a flow run logged, oldest first")
async def get_logs(
    here: Here,
    run_id: UUID,
    after: Annotated[int, Query(ge=0, description="`id` of the last line seen.")] = 0,
    level: Level = "debug",
    text: Text = "",
    task: TaskName = None,
    limit: Limit = log_reads.MOST,
) -> list[views.LogLineView]:
    """The lines behind `after`."""
    wanted = Wanted(level_of(level), text, task)
    return await here.store.look(lambda s: log_reads.of_run(s, run_id, wanted, after=after, limit=limit))


@router.get("/logs", summary="Search what all runs logged, newest first")
async def search_logs(
    here: Here,
    level: Level = "debug",
    text: Text = "",
    task: TaskName = None,
    deployment: Annotated[str | None, Query(description="Only runs of this deployment.")] = None,
    since: Time = None,
    until: Time = None,
    limit: Limit = log_reads.MOST,
) -> list[views.LogLineView]:
    """The newest lines that fit; go on before the oldest of them with `until`."""
    wanted = Wanted(level_of(level), text, task, since, until)
    return await here.store.look(lambda s: log_reads.search(s, wanted, deployment=deployment, limit=limit))

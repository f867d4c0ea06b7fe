"""Flow runs over HTTP: list, show, read their logs, retry, cancel."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from tocsin.server import commands, reads, views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api/runs", tags=["runs"])

Limit = Annotated[int, Query(ge=1, le=reads.MOST, description="At most this many.")]


class RetryRequest(BaseModel):
    """When the run is to be tried again; default: at once."""

    scheduled: datetime | None = Field(default=None, description="With a zone.")


@router.get("", summary="List flow runs, newest first")
async def list_runs(
    here: Here,
    state: Annotated[str | None, Query(description="A state's type (FAILED) or name (AwaitingRetry).")] = None,
    deployment: Annotated[str | None, Query(description="Only runs of this deployment.")] = None,
    limit: Limit = 50,
) -> list[views.RunView]:
    """Flow runs, newest first."""
    return await here.store.look(lambda session: reads.runs(session, state=state, deployment=deployment, limit=limit))


@router.get("/{run_id}", summary="Show a flow run with its task runs")
async def get_run(here: Here, run_id: UUID) -> views.RunDetail:
    """A flow run with its task runs."""
    return await here.store.look(lambda session: reads.run_detail(session, run_id))


@router.post("/{run_id}/retry", summary="Try a failed or crashed flow run again")
async def retry_run(here: Here, run_id: UUID, wanted: RetryRequest | None = None) -> views.RunView:
    """The run, waiting for its next attempt. 409 when its state allows none."""
    scheduled = wanted.scheduled if wanted else None
    now = here.clock.now()
    return await here.store.run(lambda session: commands.retry(session, run_id, scheduled=scheduled, now=now))


@router.post("/{run_id}/cancel", summary="Cancel a flow run")
async def cancel_run(here: Here, run_id: UUID) -> views.RunView:
    """The run: cancelled, or on its way there. 409 when it has ended."""
    now = here.clock.now()
    return await here.store.run(lambda session: commands.cancel(session, run_id, now=now))

"""Flow runs over HTTP: list, show, retry, cancel, pause, suspend, resume, remove."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from tocsin.server import reads, run_commands, run_reads, views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api/runs", tags=["runs"])

Limit = Annotated[int, Query(ge=1, le=reads.MOST, description="At most this many.")]
_STATE = "A state's type (FAILED) or name (AwaitingRetry)."


class RetryRequest(BaseModel):
    """When the run is to be tried again, and how."""

    model_config = ConfigDict(extra="forbid")

    scheduled: datetime | None = Field(default=None, description="With a zone; default: at once.")
    force: bool = Field(default=False, description="Also a run that was completed or cancelled.")
    keep: bool | None = Field(
        default=None, description="Keep what it has completed; default: yes, unless the run was completed."
    )
    budget: int | None = Field(default=None, ge=0, description="Not when it was tried again so often already.")
    key: str | None = Field(
        default=None, min_length=1, max_length=200, description="The same key asks only once, however often it is sent."
    )


class SteerRequest(BaseModel):
    """Why; it becomes the state's message."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=2_000)


class ResumeRequest(SteerRequest):
    """What the run waits for, if it asks for input."""

    # Any: JSON of the shape that the flow asks for.
    run_input: Any = Field(default=None, description="As the `schema` of the run's `waits_for` says.")


@router.get("", summary="List flow runs, newest first")
async def list_runs(
    here: Here,
    state: Annotated[str | None, Query(description=_STATE)] = None,
    name: Annotated[str | None, Query(description="The run's name; `*` stands for any characters.")] = None,
    deployment: Annotated[str | None, Query(description="Only runs of this deployment.")] = None,
    flow: Annotated[str | None, Query(description="Only runs of this flow.")] = None,
    tag: Annotated[str | None, Query(description="Only runs with this tag.")] = None,
    since: Annotated[datetime | None, Query(description="Made then or later; with a zone.")] = None,
    before: Annotated[datetime | None, Query(description="Made before then; with a zone.")] = None,
    limit: Limit = 50,
) -> list[views.RunView]:
    """Flow runs, newest first."""
    wanted = run_reads.Wanted(state, name, deployment, flow, tag, since, before)
    return await here.store.look(lambda session: run_reads.runs(session, wanted, limit=limit))


@router.get("/{run_id}", summary="Show a flow run with its task runs")
async def get_run(here: Here, run_id: UUID) -> views.RunDetail:
    """A flow run with its task runs."""
    return await here.store.look(lambda session: reads.run_detail(session, run_id))


@router.post("/{run_id}/retry", summary="Try a failed or crashed flow run again")
async def retry_run(here: Here, run_id: UUID, wanted: RetryRequest | None = None) -> views.RunView:
    """The run, waiting for its next attempt. 409 when its state allows none, or its budget is used up."""
    asked, now = (wanted or RetryRequest()).model_dump(), here.clock.now()
    return await here.store.run(lambda session: run_commands.retry(session, run_id, **asked, now=now))


@router.post("/{run_id}/cancel", summary="Cancel a flow run")
async def cancel_run(here: Here, run_id: UUID, wanted: SteerRequest | None = None) -> views.RunView:
    """The run: cancelled, or on its way there. 409 when it has ended."""
    return await _steered(here, run_id, "cancel", wanted)


@router.post("/{run_id}/pause", summary="Hold a flow run back")
async def pause_run(here: Here, run_id: UUID, wanted: SteerRequest | None = None) -> views.RunView:
    """The run: its process stays and begins no further task until the run is resumed. 409 when it has ended."""
    return await _steered(here, run_id, "pause", wanted)


@router.post("/{run_id}/suspend", summary="Take a flow run out of work")
async def suspend_run(here: Here, run_id: UUID, wanted: SteerRequest | None = None) -> views.RunView:
    """The run: its process is ended, resuming starts it again with what it has completed. 409 when it has ended."""
    return await _steered(here, run_id, "suspend", wanted)


@router.post("/{run_id}/resume", summary="Let a paused or suspended flow run go on")
async def resume_run(here: Here, run_id: UUID, wanted: ResumeRequest | None = None) -> views.RunView:
    """The run, going on. 409 when it is not paused; 422, with nothing changed, when the input does not fit."""
    asked, now = wanted or ResumeRequest(), here.clock.now()
    return await here.store.run(
        lambda session: run_commands.resume(session, run_id, run_input=asked.run_input, reason=asked.reason, now=now)
    )


@router.delete("/{run_id}", status_code=HTTPStatus.NO_CONTENT, summary="Remove a flow run")
async def delete_run(here: Here, run_id: UUID) -> None:
    """Forget the run, its tasks, log lines and subflows; its events stay. 409 while a process works at it."""
    now = here.clock.now()
    await here.store.run(lambda session: run_commands.remove(session, run_id, now=now))


async def _steered(here: Here, run_id: UUID, how: run_commands.Steer, wanted: SteerRequest | None) -> views.RunView:
    reason, now = wanted.reason if wanted else "", here.clock.now()
    return await here.store.run(lambda session: run_commands.steer(session, run_id, how, reason=reason, now=now))

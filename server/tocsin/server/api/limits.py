"""Limits over HTTP: how many tasks, runs and blocks of code may be at work at once, or in a span of time."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from tocsin.flows.limits import LimitChange
from tocsin.flows.slot_requests import MOST
from tocsin.server import limit_views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api/limits", tags=["limits"])

Kind = Annotated[str, Path(description="task, tag, global, deployment, work-pool or work-queue.")]
Name = Annotated[str, Path(description="Of the task, the tag, the deployment …; of a queue POOL/QUEUE.")]


class Change(BaseModel):
    """What to change; what is left out stays. A new limit needs `slots`."""

    model_config = ConfigDict(extra="forbid")

    slots: int | None = Field(default=None, ge=1, le=MOST, description="How many at once.")
    decay: float | None = Field(default=None, ge=0, description="Slots won back a second: a rate limit. 0: none.")
    paused: bool | None = Field(default=None, description="Nobody gets a slot until it goes on.")


@router.get("", summary="List limits")
async def list_limits(here: Here) -> list[limit_views.LimitView]:
    """Limits by kind and name, with how many slots are taken and how many wait."""
    now = here.clock.now()
    return await here.store.look(lambda session: limit_views.list_limits(session, now))


@router.get("/{kind}/{name:path}", summary="Show a limit")
async def get_limit(here: Here, kind: Kind, name: Name) -> limit_views.LimitDetail:
    """One limit, who holds it and who waits for it."""
    now = here.clock.now()
    return await here.store.look(lambda session: limit_views.get_limit(session, f"{kind}:{name}", now))


@router.put("/{kind}/{name:path}", summary="Create or change a limit")
async def put_limit(here: Here, kind: Kind, name: Name, change: Change) -> limit_views.LimitView:
    """Counts in every process within a second; who waits is woken."""
    now, wanted = here.clock.now(), LimitChange(**change.model_dump())
    return await here.store.run(lambda session: limit_views.put_limit(session, f"{kind}:{name}", wanted, now))


@router.delete("/{kind}/{name:path}", status_code=HTTPStatus.NO_CONTENT, summary="Remove a limit")
async def remove_limit(here: Here, kind: Kind, name: Name) -> None:
    """Who waits for it goes on."""
    now = here.clock.now()
    await here.store.run(lambda session: limit_views.remove_limit(session, f"{kind}:{name}", now))

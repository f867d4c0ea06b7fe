"""Work queues over HTTP."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from tocsin.server import queue_views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api/work-pools/{pool}/queues", tags=["deployments"])


class Change(BaseModel):
    """What to change of a queue; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    priority: int | None = Field(default=None, description="Lower goes first; 100 unless said.")
    concurrency: int | None = Field(default=None, ge=1, description="Runs under way at once, over all workers.")
    paused: bool | None = Field(default=None, description="Workers take nothing more from it.")


@router.get("", summary="List the queues of a work pool")
async def list_queues(here: Here, pool: str) -> list[queue_views.QueueView]:
    """Queues by name; `default` when it was ever changed."""
    return await here.store.look(lambda session: queue_views.queues(session, pool))


@router.put("/{name}", summary="Create or change a work queue")
async def put_queue(here: Here, pool: str, name: str, change: Change) -> queue_views.QueueView:
    """The queue after the change."""
    now = here.clock.now()
    return await here.store.run(
        lambda session: queue_views.put_queue(session, pool, name, **change.model_dump(), now=now)
    )

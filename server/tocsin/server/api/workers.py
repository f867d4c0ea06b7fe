"""Workers, and how many of them a pool wants, over HTTP."""

from fastapi import APIRouter

from tocsin.server import reads, views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api", tags=["deployments"])


@router.get("/workers", summary="List workers")
async def list_workers(here: Here, pool: str | None = None, gone: bool = False) -> list[views.WorkerView]:
    """Workers that live, by name; with `gone` the others, too."""
    now = here.clock.now()
    return await here.store.look(lambda session: reads.workers(session, now, pool=pool, gone=gone))


@router.get("/work-pools/{name}/demand", summary="How much work waits in a pool")
async def demand(here: Here, name: str) -> views.DemandView:
    """For what starts and stops workers: runs that wait and run, slots that are free, how long the oldest waits."""
    now = here.clock.now()
    return await here.store.look(lambda session: reads.demand(session, name, now))

"""Incidents and the deliveries that tell of them, over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from tocsin.server import reads, views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api", tags=["incidents"])

Limit = Annotated[int, Query(ge=1, le=reads.MOST, description="At most this many.")]


@router.get("/incidents", summary="List incidents, the latest opened first")
async def list_incidents(
    here: Here, state: Annotated[str | None, Query(description="open or resolved")] = None, limit: Limit = 50
) -> list[views.IncidentView]:
    """Incidents, the latest opened first."""
    return await here.store.look(lambda session: reads.incidents(session, state=state, limit=limit))


@router.get("/deliveries", summary="List deliveries, the latest changed first")
async def list_deliveries(
    here: Here,
    state: Annotated[str | None, Query(description="pending, sending, delivered, dead, …")] = None,
    incident: Annotated[UUID | None, Query(description="Only those of this incident.")] = None,
    limit: Limit = 50,
) -> list[views.DeliveryView]:
    """Deliveries, the latest changed first."""
    return await here.store.look(lambda session: reads.deliveries(session, state=state, incident=incident, limit=limit))

"""Deliveries over HTTP: list, show, and send dead ones again."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from sqlmodel import Session

from tocsin.notifiers.redrive import redrive, redrive_dead
from tocsin.server import oncall, reads
from tocsin.server.api.state import Here
from tocsin.server.oncall_views import DeliveryDetail, DeliveryView, RedrivenView
from tocsin.server.routing import aware

router = APIRouter(prefix="/api/deliveries", tags=["incidents"])

Limit = Annotated[int, Query(ge=1, le=reads.MOST, description="At most this many.")]


class Dead(BaseModel):
    """Which dead deliveries: those to `receiver` only, or that died from `since` on."""

    model_config = ConfigDict(extra="forbid")

    receiver: str | None = None
    since: datetime | None = None


@router.get("", summary="List deliveries, the latest changed first")
async def list_deliveries(
    here: Here,
    state: Annotated[str | None, Query(description="pending, sending, delivered, dead, …")] = None,
    receiver: Annotated[str | None, Query(description="Only those to this notifier.")] = None,
    incident: Annotated[UUID | None, Query(description="Only those of this incident.")] = None,
    limit: Limit = 50,
) -> list[DeliveryView]:
    """Deliveries, the latest changed first."""
    return await here.store.look(
        lambda session: oncall.deliveries(session, state=state, receiver=receiver, incident=incident, limit=limit)
    )


@router.get("/{delivery}", summary="Show a delivery with its attempts")
async def get_delivery(here: Here, delivery: UUID) -> DeliveryDetail:
    """One delivery, how each attempt went, and what was, or will be, shown."""
    return await here.store.look(lambda session: oncall.delivery(session, delivery))


@router.post("/redrive", summary="Send dead deliveries again, with what is true now")
async def redrive_all(here: Here, wanted: Dead | None = None) -> list[RedrivenView]:
    """What became of each, at most 1,000; where nothing is owed any more it says so, and nothing is sent."""
    wanted, now = wanted or Dead(), here.clock.now()
    since = aware(wanted.since, "since")

    def again(session: Session) -> list[RedrivenView]:
        found = redrive_dead(session, now, receiver=wanted.receiver, since=since)
        return [RedrivenView.model_validate(one) for one in found]

    return await here.store.run(again)


@router.post("/{delivery}/redrive", summary="Send a dead delivery again, with what is true now")
async def redrive_one(here: Here, delivery: UUID) -> RedrivenView:
    """What became of it. The second time nothing happens."""
    now = here.clock.now()
    return await here.store.run(lambda session: RedrivenView.model_validate(redrive(session, delivery, now)))

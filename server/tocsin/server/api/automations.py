"""Automations over HTTP."""

from fastapi import APIRouter

from tocsin.server import reads, views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api/automations", tags=["automations"])


@router.get("", summary="List automations")
async def list_automations(here: Here) -> list[views.AutomationView]:
    """Automations by name."""
    return await here.store.look(reads.automations)

"""Notifiers over HTTP: list, and send a test."""

from fastapi import APIRouter

from tocsin.server import commands, reads, views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api/notifiers", tags=["notifiers"])


@router.get("", summary="List notifiers")
async def list_notifiers(here: Here) -> list[views.NotifierView]:
    """Notifiers by name, without their secrets."""
    return await here.store.look(reads.notifiers)


@router.post("/{name}/test", summary="Send a test message")
async def test_notifier(here: Here, name: str) -> views.AttemptView:
    """How the channel answered."""
    return await commands.test_notifier(here.store, name, here.clock)

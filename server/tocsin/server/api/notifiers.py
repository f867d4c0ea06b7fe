"""Notifiers over HTTP: list, send a test, preview a message."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Body, Query

from tocsin.notifiers.preview import Previewed
from tocsin.server import commands, oncall_preview, reads, views
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


@router.get("/{name}/preview", summary="Show the exact message that an event leads to")
async def preview_event(
    here: Here,
    name: str,
    event: Annotated[UUID, Query(description="The event's id.")],
    automation: Annotated[str | None, Query(description="By this automation (default: by each that tells it).")] = None,
    minimal: Annotated[bool, Query(description="As it is sent again when the channel refused it.")] = False,
) -> list[Previewed]:
    """One message an automation, secrets masked. Nothing is written, nobody is told."""
    look = oncall_preview.of_event(here.store, name, event, here.clock, automation=automation, minimal=minimal)
    return await look


@router.post("/{name}/preview", summary="Show the exact message that an alert would be")
async def preview_alert(
    here: Here,
    name: str,
    # Any: the room reads it, and says what is wrong.
    alert: Annotated[dict[str, Any], Body(description="subject, and what else is known: severity, labels, route, …")],
    minimal: Annotated[bool, Query(description="As it is sent again when the channel refused it.")] = False,
) -> Previewed:
    """The message, secrets masked. Nothing is written, nobody is told."""
    document = msgspec.json.encode(alert)
    return await oncall_preview.of_sample(here.store, name, document, here.clock, minimal=minimal)

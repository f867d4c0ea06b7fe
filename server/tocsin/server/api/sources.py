"""Kafka sources over HTTP: put on record, list, forget."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body

from tocsin.server import views, ways_in
from tocsin.server.api.state import Here
from tocsin.triggers import source_store

router = APIRouter(prefix="/api/sources", tags=["sources"])

# Any: the room reads it, and says which field is wrong.
Definition = Annotated[dict[str, Any], Body(description="As in YAML: topic, format, mapping, …")]


@router.get("", summary="List sources")
async def list_sources(here: Here) -> list[views.SourceView]:
    """Sources by name, and how many messages each has come past."""
    return await here.store.look(ways_in.sources)


@router.get("/{name}", summary="Show a source")
async def get_source(here: Here, name: str) -> views.SourceView:
    """One source; `config` is what may be put again."""
    return await here.store.look(lambda session: ways_in.source(session, name))


@router.put("/{name}", summary="Create or replace a source")
async def put_source(here: Here, name: str, definition: Definition) -> views.SourceView:
    """Running processors read it at once. As long as name and topic stay, it goes on where it was."""
    now = here.clock.now()
    return await here.store.run(lambda session: ways_in.put_source(session, name, definition, now))


@router.delete("/{name}", status_code=HTTPStatus.NO_CONTENT, summary="Forget a source")
async def remove_source(here: Here, name: str) -> None:
    """How far it has come stays known: one of the same name goes on there."""
    now = here.clock.now()
    await here.store.run(lambda session: source_store.remove(session, name, now))

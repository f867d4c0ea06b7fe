"""Routes, mute windows and inhibitions over HTTP: put on record, list, forget; where an alert goes."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel
from sqlmodel import Session

from tocsin.automations.routing import inhibition_from, route_from, window_from
from tocsin.events.errors import Invalid
from tocsin.notifiers import inhibitions, routes
from tocsin.server import routing
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api", tags=["routes"])

# Any: the room reads it, and says field by field what is wrong.
Definition = Annotated[dict[str, Any], Body(description="As in YAML.")]


class Asked(BaseModel):
    """An alert's labels, and the route that is asked where it goes (none: each)."""

    labels: dict[str, str]
    route: str | None = None


@router.get("/routes", summary="List routes, mute windows and inhibitions")
async def list_routes(here: Here) -> list[routing.DefinitionView]:
    """All that is on record of routing, as it was written."""
    return await here.store.look(routing.definitions)


@router.post("/routes/test", summary="Say where an alert goes")
async def try_routes(here: Here, asked: Asked) -> list[routing.WayView]:
    """The nodes it goes to, its group there, and why nothing would be said at the moment."""
    now = here.clock.now()
    return await here.store.look(lambda session: routing.ways(session, asked.labels, asked.route, now))


@router.get("/routes/export", summary="Routes in Alertmanager's words", response_class=Response)
async def export_routes(
    here: Here, route: Annotated[list[str] | None, Query(description="Only this one; may be repeated.")] = None
) -> Response:
    """YAML that `amtool` checks and tests. Receivers are placeholders."""
    text = await here.store.look(lambda session: routing.export(session, route or []))
    return Response(text, media_type="application/yaml")


@router.put("/routes/{name}", summary="Create or replace a route")
async def put_route(here: Here, name: str, definition: Definition) -> routing.AppliedView:
    """What came of it. Putting the same again changes nothing."""
    found, now = route_from(_named(name, definition)), here.clock.now()
    change = await here.store.run(lambda session: routes.put_route(session, found, now))
    return routing.AppliedView(kind="route", name=name, change=change)


@router.delete("/routes/{name}", status_code=HTTPStatus.NO_CONTENT, summary="Forget a route")
async def remove_route(here: Here, name: str) -> None:
    """Its open incidents go on by the policy they have."""
    await here.store.run(lambda session: routes.remove_route(session, name))


@router.put("/mute-windows/{name}", summary="Create or replace a mute window")
async def put_window(here: Here, name: str, definition: Definition) -> routing.AppliedView:
    """What came of it. Routes that name it go by it from now on."""
    found, now = window_from(_named(name, definition)), here.clock.now()
    change = await here.store.run(lambda session: routes.put_window(session, found, now))
    return routing.AppliedView(kind="mute window", name=name, change=change)


@router.delete("/mute-windows/{name}", status_code=HTTPStatus.NO_CONTENT, summary="Forget a mute window")
async def remove_window(here: Here, name: str) -> None:
    """Refused while a route names it."""
    await here.store.run(lambda session: routes.remove_window(session, name))


@router.put("/inhibitions/{name}", summary="Create or replace an inhibition")
async def put_inhibition(here: Here, name: str, definition: Definition) -> routing.AppliedView:
    """What came of it. What fires already counts."""
    found, now = inhibition_from(_named(name, definition)), here.clock.now()
    change = await here.store.run(lambda session: inhibitions.put_inhibition(session, found, now))
    return routing.AppliedView(kind="inhibition", name=name, change=change)


@router.delete("/inhibitions/{name}", status_code=HTTPStatus.NO_CONTENT, summary="Forget an inhibition")
async def remove_inhibition(here: Here, name: str) -> None:
    """What it kept quiet and still fires is told."""
    now = here.clock.now()

    def remove(session: Session) -> None:
        inhibitions.remove_inhibition(session, name, now)

    await here.store.run(remove)


def _named(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    if definition.get("name", name) != name:
        raise Invalid(f"the address says {name!r}, the document {definition['name']!r}")
    return {**definition, "name": name}

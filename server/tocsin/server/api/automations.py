"""Automations over HTTP: put on record, list, switch, forget; what they fired and what came of it."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel

from tocsin.automations import store as automations
from tocsin.automations.documents import Loaded, automation_from
from tocsin.automations.explain import Explanation, explain
from tocsin.automations.proposal import Planned, propose
from tocsin.server import commands, reads, views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api", tags=["automations"])

Limit = Annotated[int, Query(ge=1, le=reads.MOST, description="At most this many.")]
Of = Annotated[str | None, Query(description="Only those of this automation.")]
# Any: the room reads it, and says field by field what is wrong.
Definition = Annotated[dict[str, Any], Body(description="As in YAML: name, trigger, actions, …; Prefect's form too.")]

# Any: as above.
Definitions = Annotated[list[Any], Body(description="Definitions, as for `PUT`, each with its name.")]


class Switch(BaseModel):
    """Whether an automation is evaluated."""

    enabled: bool


@router.get("/automations", summary="List automations")
async def list_automations(here: Here) -> list[views.AutomationView]:
    """Automations by name; secrets are masked."""
    return await here.store.look(reads.automations)


@router.get("/automations/{name}", summary="Show an automation")
async def get_automation(here: Here, name: str) -> views.AutomationView:
    """One automation; secrets are masked."""
    return await here.store.look(lambda session: reads.automation(session, name))


@router.get("/automations/{name}/tally", summary="Count what an automation met")
async def tally(here: Here, name: str) -> views.TallyView:
    """Events that concerned it and events that did not match, firings, late events, errors, and when last."""
    return await here.store.look(lambda session: reads.tally(session, name))


@router.get("/automations/{name}/explain", summary="Say why an automation fired on an event, or did not")
async def explain_automation(
    here: Here, name: str, event: Annotated[UUID, Query(description="The event's id.")]
) -> Explanation:
    """Each condition with what it saw, what is on record, and the actions with their attempts."""
    return await here.store.look(lambda session: explain(session, name, event))


@router.post("/automations/plan", summary="Say what putting automations on record would change")
async def plan_automations(here: Here, definitions: Definitions) -> list[Planned]:
    """Field by field, and what they name and nobody has. Nothing is written."""
    found = Loaded(tuple(automation_from(one, f"[{place}]") for place, one in enumerate(definitions)))
    return await here.store.look(lambda session: propose(session, found))


@router.put("/automations/{name}", summary="Create or replace an automation")
async def put_automation(here: Here, name: str, definition: Definition) -> views.AutomationView:
    """The automation on record. Putting the same again changes nothing."""
    now = here.clock.now()
    return await here.store.run(lambda session: commands.put_automation(session, name, definition, now))


@router.patch("/automations/{name}", summary="Switch an automation on or off")
async def switch_automation(here: Here, name: str, switch: Switch) -> views.AutomationView:
    """One that is off fires no more; what it has opened it still resolves."""
    now = here.clock.now()
    await here.store.run(lambda session: automations.enable(session, name, switch.enabled, now))
    return await here.store.look(lambda session: reads.automation(session, name))


@router.delete("/automations/{name}", status_code=HTTPStatus.NO_CONTENT, summary="Forget an automation")
async def remove_automation(here: Here, name: str) -> None:
    """What it has planned is still done."""
    now = here.clock.now()
    await here.store.run(lambda session: automations.remove(session, name, now))


@router.get("/firings", summary="List firings, newest first")
async def list_firings(here: Here, automation: Of = None, limit: Limit = 50) -> list[views.FiringView]:
    """That automations fired, and that what they fired for is over."""
    return await here.store.look(lambda session: reads.firings(session, automation=automation, limit=limit))


@router.get("/invocations", summary="List invocations, the latest due first")
async def list_invocations(
    here: Here,
    automation: Of = None,
    state: Annotated[str | None, Query(description="due, done or failed")] = None,
    limit: Limit = 50,
) -> list[views.InvocationView]:
    """The actions of firings, and how they went."""
    return await here.store.look(
        lambda session: reads.invocations(session, automation=automation, state=state, limit=limit)
    )

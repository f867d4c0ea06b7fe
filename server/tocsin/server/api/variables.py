"""Variables over HTTP: list, get, set, forget."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from tocsin.events.errors import NotFound
from tocsin.events.ids import uuid7
from tocsin.flows import variables
from tocsin.server.api.state import Here
from tocsin.server.views import View

router = APIRouter(prefix="/api/variables", tags=["variables"])


class VariableView(View):
    """A value by name."""

    name: str
    # Any: a value is any JSON.
    value: Any
    tags: list[str]
    created: datetime
    updated: datetime


class VariableBody(BaseModel):
    """What a variable is set to."""

    # Any: a value is any JSON.
    value: Any = Field(description="Any JSON.")
    tags: list[str] = Field(default_factory=list)


@router.get("", summary="List variables")
async def list_variables(
    here: Here, tag: Annotated[str | None, Query(description="Only those with this tag.")] = None
) -> list[VariableView]:
    """Variables by name."""
    found = await here.store.look(lambda session: variables.list_variables(session, tag))
    return [VariableView.model_validate(one) for one in found]


@router.get("/{name}", summary="Get a variable")
async def get_variable(here: Here, name: str) -> VariableView:
    """The variable."""
    found = await here.store.look(lambda session: variables.get_variable(session, name))
    return VariableView.model_validate(found)


@router.put("/{name}", summary="Set a variable")
async def put_variable(here: Here, name: str, body: VariableBody) -> VariableView:
    """The variable as it is now; one of this name is changed."""
    now = here.clock.now()
    wanted = variables.PutVariable(
        name=name, value=body.value, tags=body.tags, overwrite=True, written=uuid7(), now=now
    )
    return VariableView.model_validate(await here.store.run(wanted.perform))


@router.delete("/{name}", status_code=HTTPStatus.NO_CONTENT, summary="Forget a variable")
async def remove_variable(here: Here, name: str) -> None:
    """404 when there is none."""
    if not await here.store.run(variables.RemoveVariable(name=name).perform):
        raise NotFound(f'unknown variable "{name}"')

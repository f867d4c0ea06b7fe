"""Deployments and work pools over HTTP."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tocsin.server import commands, reads, views
from tocsin.server.api.state import Here

router = APIRouter(prefix="/api", tags=["deployments"])


class RunRequest(BaseModel):
    """How a deployment is to be run."""

    # Any: a flow's parameters are whatever JSON it takes.
    parameters: dict[str, Any] = Field(default_factory=dict, description="Over the deployment's own.")
    scheduled: datetime | None = Field(default=None, description="With a zone; default: at once.")
    key: str | None = Field(
        default=None, min_length=1, max_length=255, description="The same key gives the same run, nothing new."
    )


@router.get("/deployments", summary="List deployments")
async def list_deployments(here: Here) -> list[views.DeploymentView]:
    """Deployments by name."""
    return await here.store.look(reads.deployments)


@router.get("/deployments/{name}", summary="Show a deployment")
async def get_deployment(here: Here, name: str) -> views.DeploymentView:
    """One deployment."""
    return await here.store.look(lambda session: reads.deployment(session, name))


@router.post("/deployments/{name}/runs", status_code=HTTPStatus.CREATED, summary="Run a deployment")
async def run_deployment(here: Here, name: str, wanted: RunRequest | None = None) -> views.RunView:
    """The new run, or the one that was made under the same key; a worker of its pool takes it."""
    asked = wanted or RunRequest()
    now = here.clock.now()
    return await here.store.run(
        lambda session: commands.run_deployment(
            session, name, parameters=asked.parameters, scheduled=asked.scheduled, key=asked.key, now=now
        )
    )


@router.get("/work-pools", summary="List work pools")
async def list_work_pools(here: Here) -> list[views.WorkPoolView]:
    """Work pools by name."""
    return await here.store.look(reads.work_pools)

"""Artifacts over HTTP: list, show, history, forget."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from tocsin.flows import artifact_requests as artifacts
from tocsin.server import reads
from tocsin.server.api.state import Here
from tocsin.server.views import View

router = APIRouter(prefix="/api/artifacts", tags=["artifacts"])

Limit = Annotated[int, Query(ge=1, le=reads.MOST, description="At most this many.")]


class ArtifactView(View):
    """One version of an artifact, without its body."""

    id: UUID
    key: str | None
    type: str
    description: str
    size: int
    flow_run_id: UUID | None
    task_run_id: UUID | None
    created: datetime
    updated: datetime


class WholeArtifactView(ArtifactView):
    """One version of an artifact. `body`: text, a table's columns and rows, an address, a percentage."""

    # Any: JSON.
    body: Any


@router.get("", summary="List artifacts, newest first")
async def list_artifacts(
    here: Here,
    kind: Annotated[str | None, Query(alias="type", description="Only of this type.")] = None,
    flow_run: Annotated[UUID | None, Query(description="Only of this flow run.")] = None,
    every: Annotated[bool, Query(alias="all", description="Every version, not only the newest of a key.")] = False,
    limit: Limit = 50,
) -> list[ArtifactView]:
    """Artifacts without their bodies."""
    found = await here.store.look(
        lambda session: artifacts.list_artifacts(session, every=every, type=kind, flow_run_id=flow_run, limit=limit)
    )
    return [ArtifactView.model_validate(row) for row in found]


@router.get("/{name}", summary="Show an artifact by key (the newest version) or id")
async def get_artifact(here: Here, name: str) -> WholeArtifactView:
    """The artifact with its body."""
    found = await here.store.look(lambda session: artifacts.read_row(artifacts.versions(session, name)[0]))
    return WholeArtifactView.model_validate(found)


@router.get("/{name}/history", summary="List the versions under a key, newest first")
async def get_history(here: Here, name: str, limit: Limit = 50) -> list[ArtifactView]:
    """The versions without their bodies."""
    found = await here.store.look(lambda session: artifacts.versions(session, name, limit=limit))
    return [ArtifactView.model_validate(row) for row in found]


@router.delete("/{name}", status_code=HTTPStatus.NO_CONTENT, summary="Forget an artifact")
async def remove_artifact(here: Here, name: str) -> None:
    """Every version under a key, or the one with this id."""
    await here.store.run(lambda session: artifacts.remove_artifacts(session, name))

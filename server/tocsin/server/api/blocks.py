"""Blocks over HTTP: list, show, forget. Secrets are masked; a block is created by Python or the command line."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query

from tocsin.flows.blocks import stored
from tocsin.server.api.state import Here
from tocsin.server.views import View

router = APIRouter(prefix="/api/blocks", tags=["blocks"])


class BlockView(View):
    """A block, its secrets masked."""

    type: str
    name: str
    # Any: JSON.
    fields: dict[str, Any]
    created: datetime
    updated: datetime


@router.get("", summary="List blocks")
async def list_blocks(
    here: Here, kind: Annotated[str | None, Query(alias="type", description="Only of this type.")] = None
) -> list[BlockView]:
    """Blocks by type and name; secrets are masked."""
    found = await here.store.look(lambda session: stored.list_blocks(session, kind))
    return [BlockView.model_validate(one) for one in found]


@router.get("/{kind}/{name}", summary="Show a block")
async def get_block(here: Here, kind: str, name: str) -> BlockView:
    """The block; secrets are masked."""
    return BlockView.model_validate(await here.store.look(lambda session: stored.show_block(session, kind, name)))


@router.delete("/{kind}/{name}", status_code=HTTPStatus.NO_CONTENT, summary="Forget a block")
async def remove_block(here: Here, kind: str, name: str) -> None:
    """422 while another block or a notifier refers to it."""
    await here.store.run(lambda session: stored.remove_block(session, kind, name))

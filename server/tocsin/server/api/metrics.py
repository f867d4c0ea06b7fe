"""What Prometheus scrapes."""

from typing import Annotated

from fastapi import APIRouter, Header, Response

from tocsin.server.api.state import Here
from tocsin.server.metrics import exposition
from tocsin.server.metrics_reads import readings

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {"description": "The text format, or OpenMetrics to whom `Accept` says so.", "content": {"text/plain": {}}}
    },
)
async def metrics(here: Here, accept: Annotated[str, Header()] = "") -> Response:
    """Of the whole installation, not of this process alone: every server answers the same."""
    now = here.clock.now()
    document, content_type = exposition(await here.store.look(lambda session: readings(session, now)), accept)
    return Response(document, media_type=content_type)

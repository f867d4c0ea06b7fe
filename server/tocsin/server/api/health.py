"""Whether the server is alive, and whether it is ready; asked without a key, so both say little."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import text

from tocsin.server.api.state import Context, Here
from tocsin.server.version import number

TIMEOUT_S: Final = 2.0

router = APIRouter(tags=["health"])


@router.get("/api/health", summary="Is the process alive?")
async def health() -> dict[str, str]:
    """Always ok while the process answers."""
    return {"status": "ok", "version": number()}


@router.get(
    "/api/ready",
    summary="Can it do its work?",
    response_class=Response,
    responses={200: {"description": "Ready."}, 503: {"description": "`not_ready` says what is missing."}},
)
async def ready(here: Here) -> Response:
    """Whether the database answers and the intake has room."""
    missing = await _missing(here)
    # Any: members of JSON.
    document: dict[str, Any] = {"status": "not ready" if missing else "ready"}
    if missing:
        document["not_ready"] = missing
    status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
    return Response(msgspec.json.encode(document), status, media_type="application/json")


async def _missing(here: Context) -> dict[str, str]:
    checks: dict[str, Callable[[Context], Awaitable[str | None]]] = {"database": _database, "intake": _intake}
    found = {name: await check(here) for name, check in checks.items()}
    return {name: reason for name, reason in found.items() if reason}


async def _database(here: Context) -> str | None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await here.store.look(lambda session: session.connection().execute(text("SELECT 1")).scalar())
    except TimeoutError:
        return f"does not answer within {TIMEOUT_S:.0f} s"
    except Exception as error:  # whatever the driver raises, the answer is: not ready
        return f"does not answer ({type(error).__name__}); the log has the reason"
    return None


async def _intake(here: Context) -> str | None:
    return f"{here.intake.waiting:,} events wait to be stored" if here.intake.full else None


@router.get("/api/docs", include_in_schema=False)
async def docs() -> HTMLResponse:
    """Where the description of the API is; no scripts of other hosts are loaded."""
    return HTMLResponse(
        "<!doctype html><title>tocsin API</title><p>The API is described in "
        '<a href="/api/openapi.json">/api/openapi.json</a> (OpenAPI 3.1).</p>'
    )

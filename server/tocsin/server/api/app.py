"""The HTTP API, put together."""

from typing import Final

from fastapi import FastAPI

from tocsin.server.api import (
    automations,
    deployments,
    events,
    health,
    incidents,
    notifiers,
    problems,
    runs,
    schedules,
    tail,
)
from tocsin.server.api.guard import Guard
from tocsin.server.api.state import Context
from tocsin.server.version import number

_ROUTERS: Final = (
    tail.router,  # before the events' `/{event_id}`
    events.router,
    automations.router,
    deployments.router,
    runs.router,
    schedules.router,
    notifiers.router,
    incidents.router,
    health.router,
)
_ABOUT: Final = """Take in events, follow them, and look at what they caused.

Errors are problem documents (RFC 9457): `detail` says what is wrong and the way out. With `TOCSIN_API_KEY` set on the
server, send `Authorization: Bearer <key>`.
"""


def create_app(here: Context) -> FastAPI:
    """An app on these parts; whoever serves it also serves their intake and feed (`tocsin.server.http`)."""
    app = FastAPI(
        title="tocsin",
        version=number(),
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.context = here
    problems.install(app)
    for router in _ROUTERS:
        app.include_router(router)
    app.add_middleware(Guard, settings=here.settings)
    return app

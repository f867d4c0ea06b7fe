"""The HTTP API, put together."""

from typing import Final

from fastapi import Depends, FastAPI, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from tocsin.events.errors import TocsinError
from tocsin.server.api import (
    artifacts,
    automations,
    blocks,
    cache,
    deliveries,
    deployments,
    engine,
    events,
    health,
    hooks,
    incidents,
    limits,
    logs,
    metrics,
    notifiers,
    pagerduty,
    problems,
    queues,
    routes,
    runs,
    schedules,
    silences,
    slack,
    sources,
    tail,
    variables,
    workers,
)
from tocsin.server.api.guard import Guard
from tocsin.server.api.parameters import only_known
from tocsin.server.api.state import Context
from tocsin.server.version import number

_ROUTERS: Final = (
    tail.router,  # before the events' `/{event_id}`
    events.router,
    automations.router,
    deployments.router,
    engine.router,
    logs.router,
    runs.router,
    limits.router,
    queues.router,
    cache.router,
    schedules.router,
    sources.router,
    artifacts.router,
    variables.router,
    blocks.router,
    notifiers.router,
    pagerduty.router,
    slack.router,
    routes.router,
    silences.router,
    workers.router,
    incidents.router,
    deliveries.router,
    health.router,
    metrics.router,
)
_EVENTS: Final = events.router.prefix
_HOOKS: Final = f"{hooks.router.prefix}/"
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
        app.include_router(router, responses=problems.DESCRIBED, dependencies=[Depends(only_known)])
    app.include_router(hooks.router, responses=problems.DESCRIBED)  # the parameters of a post are its sender's
    app.add_middleware(ShortWay, here=here)
    app.add_middleware(Guard, settings=here.settings)
    return app


class ShortWay:
    """Takes what is posted to events and hooks past the framework's routing, which costs more than storing it does."""

    def __init__(self, app: ASGIApp, here: Context) -> None:
        self._app, self._here = app, here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not _is_short(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._take(scope["path"], Request(scope, receive))
        except ClientDisconnect:
            return
        except TocsinError as error:
            answer = problems.from_error(error)
        await answer(scope, receive, send)

    async def _take(self, path: str, request: Request) -> Response:
        if path == _EVENTS:
            return await events.take_in(self._here, request)
        return await hooks.post_hook(self._here, path.removeprefix(_HOOKS), request)


def _is_short(path: str) -> bool:
    """Whether events are posted there, or the post of a hook."""
    return path == _EVENTS or (path.startswith(_HOOKS) and "/" not in path.removeprefix(_HOOKS))

"""Hooks over HTTP: what others post to `/api/hooks/<name>`; and what there is to post to, which we put and forget.

Whoever cannot prove himself learns nothing: an unknown name and a wrong signature are answered alike, the reason is in
our log. Whoever can is told what is wrong.
"""

import asyncio
import re
from http import HTTPStatus
from typing import Annotated, Any, Final, assert_never

import msgspec
from fastapi import APIRouter, Body, Depends, Request, Response

from tocsin.events import codec
from tocsin.events.errors import BadEvent
from tocsin.events.signatures import Proven, Stale, Unproven
from tocsin.server import reads, views, ways_in
from tocsin.server.api.bodies import Room, read_body
from tocsin.server.api.parameters import only_known
from tocsin.server.api.problems import Refused, problem
from tocsin.server.api.state import Context, Here
from tocsin.triggers import hooks as stored
from tocsin.triggers.hook import NAME, Hook
from tocsin.triggers.hook_posts import Greeting, Meant, Post, Unwanted, format_of, read
from tocsin.triggers.signatures import verify

TIMEOUT_S: Final = 30
_ROOM: Final = Room()
"""Of this process: nobody has proven anything while a body is being read."""

_BIG: Final = 128_000
_NAME: Final = re.compile(NAME)
_NOBODY: Final = "there is no such hook, or the post does not prove that it comes from its sender"
# Any: members of OpenAPI.
_POSTED: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {}}, "application/x-www-form-urlencoded": {"schema": {}}},
    }
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": '`{"id": ...}`: the event is stored, or was before; null: the hook leaves such posts out.'},
    400: {"description": "Signed too long ago, or ahead of our clock."},
    401: {"description": "No such hook, or not its sender."},
    413: {"description": "The body is larger than the hook takes."},
    415: {"description": "Neither JSON nor a form."},
    422: {"description": "It cannot be read or mapped: the body is among the dead letters."},
    429: {"description": "More than the hook takes in a minute. Come back after `Retry-After` seconds."},
}

# Any: the room reads it, and says field by field what is wrong.
Definition = Annotated[dict[str, Any], Body(description="As in YAML, with the secret itself.")]

router = APIRouter(prefix="/api/hooks", tags=["hooks"])


@router.post("/{name}", summary="Post to a hook", openapi_extra=_POSTED, responses=_ANSWERS)
async def post_hook(here: Here, name: str, request: Request) -> Response:
    """The answer comes after the commit. A repeat of a delivery is answered like the first, and stored once."""
    hook = await here.hooks.find(name) if _NAME.fullmatch(name) else None
    post = await _post(request, hook.max_bytes if hook else codec.MAX_BYTES)
    client = request.client.host if request.client else ""
    if hook is None:
        return _nobody(here, name, "no such hook", client)
    verdict = verify(hook.verify, post.headers, post.body, here.clock.now())
    match verdict:
        case Proven():
            return await _take(here, hook, post)
        case Stale(reason):
            here.hooks.refused(name, reason, client)
            raise Refused(HTTPStatus.BAD_REQUEST, reason)
        case Unproven(reason):
            return _nobody(here, name, reason, client)
    assert_never(verdict)


@router.get("", summary="List hooks", dependencies=[Depends(only_known)])
async def list_hooks(here: Here) -> list[views.HookView]:
    """Hooks by name, without their secrets."""
    return await here.store.look(reads.hooks)


@router.get("/{name}", summary="Show a hook", dependencies=[Depends(only_known)])
async def get_hook(here: Here, name: str) -> views.HookView:
    """One hook, without its secrets."""
    return await here.store.look(lambda session: reads.hook(session, name))


@router.put("/{name}", summary="Create or replace a hook", dependencies=[Depends(only_known)])
async def put_hook(here: Here, name: str, definition: Definition) -> views.HookView:
    """The hook on record, without its secrets. Put again, a mask keeps the stored secret."""
    now = here.clock.now()
    return await here.store.run(lambda session: ways_in.put_hook(session, name, definition, now))


@router.delete(
    "/{name}", status_code=HTTPStatus.NO_CONTENT, summary="Forget a hook", dependencies=[Depends(only_known)]
)
async def remove_hook(here: Here, name: str) -> None:
    """What is posted there from now on is refused."""
    await here.store.run(lambda session: stored.remove_hook(session, name))


def _nobody(here: Context, name: str, reason: str, client: str) -> Response:
    here.hooks.refused(name, reason, client)
    return problem(HTTPStatus.UNAUTHORIZED, _NOBODY, headers={"www-authenticate": "Webhook"})


async def _post(request: Request, max_bytes: int) -> Post:
    body = await read_body(
        request, max_bytes, f"a post here is at most {max_bytes:,} bytes", room=_ROOM, timeout_s=TIMEOUT_S
    )
    headers = tuple((name.lower(), value) for name, value in request.headers.items())
    return Post(headers, dict(request.query_params), body)


async def _take(here: Context, hook: Hook, post: Post) -> Response:
    """The answer to a post that is proven."""
    if wait := here.hooks.wait_s(hook):
        detail = f"this hook takes {hook.per_minute:,} posts a minute; send this again in {wait} s"
        return problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"retry-after": str(wait)})
    if format_of(post.headers) is None:
        reason = "neither `Content-Type: application/json` nor a form"
        raise await _lost(here, hook, post, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason)
    try:
        found = await _read(hook, post, here)
    except BadEvent as error:
        raise await _lost(here, hook, post, HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    match found:
        case Greeting(answer):
            return _answer(answer)
        case Unwanted():
            return _answer({"id": None})
        case Meant():
            return _answer({"id": await here.hooks.keep(found, hook, len(post.body))})
    assert_never(found)


async def _read(hook: Hook, post: Post, here: Context) -> Greeting | Unwanted | Meant:
    now = here.clock.now()
    return await asyncio.to_thread(read, hook, post, now) if len(post.body) > _BIG else read(hook, post, now)


async def _lost(here: Context, hook: Hook, post: Post, status: HTTPStatus, reason: str) -> Refused:
    await here.hooks.bury(hook, post, reason)
    here.hooks.refused(hook.name, reason, "its sender")
    return Refused(status, f"{reason}; the body is among the dead letters")


def _answer(document: dict[str, Any]) -> Response:  # Any: members of JSON
    return Response(msgspec.json.encode(document), media_type="application/json")

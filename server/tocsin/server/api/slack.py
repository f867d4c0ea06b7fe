"""Where Slack tells of presses of buttons: `/api/slack/interactivity/<notifier>`, the app's Request URL.

The request is proven by the signing secret of the notifier's app. Notifiers of one app share its one Request URL, under
the name of any of them. Slack waits three seconds for the answer: it comes after the commit, or after two seconds.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import structlog
from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask

from tocsin.events.errors import Invalid, Unavailable
from tocsin.notifiers.blocks import Slack
from tocsin.notifiers.http import Door
from tocsin.server.api.bodies import Room, read_body
from tocsin.server.api.problems import problem
from tocsin.server.api.state import Context, Here
from tocsin.server.slacking import Reply

MAX_BYTES: Final = 1_000_000
TIMEOUT_S: Final = 5
ANSWER_S: Final = 2.0
_ROOM: Final = Room()
_NOBODY: Final = "there is no such notifier with a signing secret, or the request does not prove that Slack sent it"
# Any: members of OpenAPI.
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The press is stored, or was before, or is none of ours."},
    401: {"description": "No such notifier, or not signed by Slack within the last five minutes."},
    413: {"description": "The body is larger than Slack's are."},
    503: {"description": "The press could not be stored; Slack shows that to whoever pressed."},
}

logger = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/slack", tags=["notifiers"])


@router.post("/interactivity/{notifier}", summary="Take a press of a button in Slack", responses=_ANSWERS)
async def interact(here: Here, notifier: str, request: Request) -> Response:
    """Stores what was pressed and answers; what there is to say to whoever pressed is sent after the answer."""
    body = await read_body(
        request, MAX_BYTES, f"an interaction is at most {MAX_BYTES:,} bytes", room=_ROOM, timeout_s=TIMEOUT_S
    )
    block = await _block(here, notifier)
    secret = block.signing_secret.get_secret_value() if block and block.signing_secret else None
    if block is None or secret is None or not _is_slacks(secret, body, request, here):
        here.presses.refused(notifier, request.client.host if request.client else "")
        return problem(HTTPStatus.UNAUTHORIZED, _NOBODY, headers={"www-authenticate": "Slack-Signature"})
    work = asyncio.create_task(here.presses.take(_payload(body), block, lambda other: _is_of(other, secret)))
    await asyncio.wait({work}, timeout=ANSWER_S)
    if work.done() and work.exception() is not None:
        raise Unavailable("the press cannot be stored at the moment; press again") from work.exception()
    return Response(background=BackgroundTask(_reply, work))


async def _block(here: Context, notifier: str) -> Slack | None:
    try:
        return await here.presses.find(notifier)
    except Invalid as error:
        raise Unavailable("this notifier cannot be read at the moment; the reason is in the server's log") from error


async def _reply(work: "asyncio.Task[Reply]") -> None:
    try:
        reply = await work
    except Exception:  # Slack was answered before: the message stays as it is, and whoever pressed may press again
        logger.exception("a press in Slack cannot be stored")
        return
    async with Door() as door:
        await reply.send(door)


def _is_slacks(secret: str, body: bytes, request: Request, here: Context) -> bool:
    from tocsin.notifiers.slack import is_from_slack  # a server that no Slack posts to does without its library

    return is_from_slack(secret, body, request.headers, here.clock.now())


def _payload(body: bytes) -> Any:  # Any: JSON as it came
    """The interaction in the form; None when there is none to be read."""
    try:
        fields = parse_qs(body.decode(), max_num_fields=20)
        return msgspec.json.decode(fields["payload"][0])
    except (ValueError, KeyError, RecursionError):  # bad UTF-8 and bad JSON are ValueErrors
        return None


def _is_of(block: Slack, signing_secret: str) -> bool:
    return block.signing_secret is not None and block.signing_secret.get_secret_value() == signing_secret

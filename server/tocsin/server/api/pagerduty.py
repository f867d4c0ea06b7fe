"""Where PagerDuty tells what its people do: `/api/pagerduty/<notifier>`, the address of a v3 webhook subscription.

A post is proven by the notifier's `webhook_secret`. Whoever cannot prove himself learns nothing: an unknown name and a
wrong signature are answered alike. What is proven is answered 2xx, whatever comes of it, so that PagerDuty does not
repeat it.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, assert_never

import msgspec
import structlog
from fastapi import APIRouter, Request, Response

from tocsin.events.errors import BadEvent, Invalid, Unavailable
from tocsin.events.signatures import Proven, pagerduty
from tocsin.notifiers.blocks import PagerDuty
from tocsin.notifiers.credentials import webhook_secrets
from tocsin.notifiers.heard import hear
from tocsin.notifiers.pagerduty_webhook import Other, Ping, Post, Word, answer, read
from tocsin.notifiers.registry import read_row
from tocsin.notifiers.tables import NotifierRow
from tocsin.server.api.bodies import Room, read_body
from tocsin.server.api.problems import problem
from tocsin.server.api.state import Context, Here

MAX_BYTES: Final = 1_000_000
TIMEOUT_S: Final = 5
_ROOM: Final = Room()
_NOBODY: Final = "there is no such notifier with a webhook secret, or the post does not prove that PagerDuty sent it"
# Any: members of OpenAPI.
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": '`{"result": ...}`: what came of it; a test event is answered `{"pong": true}`.'},
    401: {"description": "No such notifier, or not signed by PagerDuty."},
    413: {"description": "The body is larger than PagerDuty's are."},
    422: {"description": "Signed, and not an event of a v3 webhook."},
}

logger = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/pagerduty", tags=["notifiers"])


@router.post("/{notifier}", summary="Take what people do in PagerDuty", responses=_ANSWERS)
async def take_post(here: Here, notifier: str, request: Request) -> Response:
    """The answer comes after the commit. A repeat, and what has been overtaken, changes nothing."""
    body = await read_body(
        request, MAX_BYTES, f"a post of PagerDuty is at most {MAX_BYTES:,} bytes", room=_ROOM, timeout_s=TIMEOUT_S
    )
    if not _is_proven(await _secrets(here, notifier), request, body):
        logger.info("a post to a PagerDuty notifier proves nothing", notifier=notifier[:100])
        return problem(HTTPStatus.UNAUTHORIZED, _NOBODY, headers={"www-authenticate": "X-PagerDuty-Signature"})
    try:
        post = read(body, notifier)
    except BadEvent as error:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    return Response(msgspec.json.encode(await _carry_out(here, notifier, post)), media_type="application/json")


async def _carry_out(here: Context, notifier: str, post: Post) -> dict[str, Any]:  # Any: JSON
    match post:
        case Ping():
            return answer(post)
        case Other(event_type):
            return {"result": f"{event_type} is none of ours"}
        case Word():
            result = await here.store.run(lambda session: hear(session, notifier, post, here.clock.now()))
            said = {"what": post.event_type, "incident": post.key, "by": post.act.by if post.act else ""}
            logger.info("PagerDuty says", notifier=notifier, result=result, **said)
            return {"result": result}
    assert_never(post)


def _is_proven(secrets: Sequence[str], request: Request, body: bytes) -> bool:
    headers = tuple((name.lower(), value) for name, value in request.headers.items())
    try:
        return pagerduty(headers, body, secrets) == Proven()
    except LookupError:
        return False


async def _secrets(here: Context, notifier: str) -> list[str]:
    """The secrets that posts to this notifier are signed with; none when there is no such notifier."""
    row = await here.store.look(lambda session: session.get(NotifierRow, notifier[:100]))
    if row is None or row.kind != "pagerduty":
        return []
    try:
        block = read_row(row)
    except Invalid as error:
        logger.error("a notifier cannot be read", notifier=row.name, reason=str(error))
        raise Unavailable("this notifier cannot be read at the moment; the reason is in the server's log") from error
    return webhook_secrets(block) if isinstance(block, PagerDuty) else []

"""Errors as problem documents (RFC 9457): what is wrong, where, and the way out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from tocsin.events.errors import BadEvent, Conflict, Invalid, NotFound, TocsinError, Unavailable
from tocsin.server.intake import Full

MEDIA_TYPE: Final = "application/problem+json"
_RETRY_AFTER_S: Final = 5
# Any: members of OpenAPI.
DESCRIBED: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {
        "description": "A problem document: `detail` says what is wrong and the way out.",
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "errors": {"type": "array", "items": {"type": "object"}},
                    },
                }
            }
        },
    }
}
"""What the API's description says of errors."""
_FIELD: Final = re.compile(
    r"at `\$\.?(?P<path>[^`]+)`|missing required field `(?P<missing>[^`]+)`|unknown field '(?P<unknown>[^']*)'"
    r"|^event(?P<name> name| ')|^(?P<field>(?:resource|related|payload|occurred|id|follows)(?:\[\d+\])?)(?=[ :])"
)

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong at one place of a request: position in the batch (from 0), field, reason."""

    index: int
    field: str | None
    reason: str

    @classmethod
    def of(cls, index: int, error: BadEvent) -> "Flaw":
        """The flaw that `error` tells of, with the field its message names."""
        return cls(index, field_of(str(error)), str(error))


class Refused(TocsinError):
    """A request that the API answers with a problem of its own choice."""

    def __init__(self, status: HTTPStatus, detail: str, flaws: Sequence[Flaw] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.flaws = flaws


def field_of(reason: str) -> str | None:
    """The event's field that the reason of a `BadEvent` is about, or None for the event as a whole."""
    found = _FIELD.search(reason)
    if found is None:
        return None
    return found["path"] or found["missing"] or found["unknown"] or found["field"] or "event"


def problem(
    status: int, detail: str, flaws: Sequence[object] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """A problem document as an answer."""
    phrase = HTTPStatus(status).phrase
    # Any: members of JSON.
    document: dict[str, Any] = {"type": "about:blank", "title": phrase, "status": status, "detail": detail}
    if flaws:
        document["errors"] = flaws
    return Response(msgspec.json.encode(document), status, dict(headers or {}), MEDIA_TYPE)


def from_error(error: TocsinError) -> Response:
    """The problem document that says `error`."""
    match error:
        case Refused():
            return problem(error.status, str(error), error.flaws)
        case Full():
            return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers={"retry-after": str(error.retry_after_s)})
        case Unavailable():
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"retry-after": str(_RETRY_AFTER_S)})
        case NotFound():
            return problem(HTTPStatus.NOT_FOUND, str(error))
        case Conflict():
            return problem(HTTPStatus.CONFLICT, str(error))
        case BadEvent() | Invalid():
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        case _:
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""
    app.add_exception_handler(TocsinError, _on_tocsin)
    app.add_exception_handler(OperationalError, _on_database)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_surprise)


async def _on_tocsin(_request: Request, error: Exception) -> Response:
    return from_error(error) if isinstance(error, TocsinError) else await _on_surprise(_request, error)


async def _on_database(request: Request, error: Exception) -> Response:
    logger.error("database does not answer", path=request.url.path, reason=str(error))
    return from_error(Unavailable("the database does not answer at the moment; ask again"))


async def _on_validation(_request: Request, error: Exception) -> Response:
    flaws = error.errors() if isinstance(error, RequestValidationError) else []
    said = [{"field": ".".join(map(str, flaw["loc"])), "reason": flaw["msg"]} for flaw in flaws]
    detail = "; ".join(f"{flaw['field']}: {flaw['reason']}" for flaw in said[:5]) or "the request cannot be read"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, said)


async def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return await _on_surprise(request, error)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {request.method} {request.url.path}; see /api/docs"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.url.path} does not know {request.method}; see /api/docs"
    else:
        detail = str(error.detail)
    return problem(error.status_code, detail, headers=error.headers)


async def _on_surprise(request: Request, _error: Exception) -> Response:
    # Starlette raises the error again after this answer, so that the server logs it with its traceback.
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"{request.method} {request.url.path} failed; the reason is in the server's log",
    )

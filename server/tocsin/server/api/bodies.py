"""The body of a request, as far as it may be long and take its time."""

import asyncio
from http import HTTPStatus

from fastapi import Request

from tocsin.server.api.problems import Refused


async def read_body(request: Request, max_bytes: int, too_large: str, timeout_s: float | None = None) -> bytes:
    """The whole body. Raises Refused: 413 with the reason `too_large`, before more than `max_bytes` are held; 408."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for part in request.stream():
                size += len(part)
                if size > max_bytes:
                    raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
                parts.append(part)
    except TimeoutError as error:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"the body took longer than {timeout_s:g} s") from error
    return b"".join(parts)

"""The body of a request, as far as it may be long and take its time."""

import asyncio
from http import HTTPStatus
from typing import Final

from fastapi import Request

from tocsin.events.errors import Unavailable
from tocsin.server.api.problems import Refused

MAX_HELD: Final = 64_000_000


class Room:
    """Bytes that may be held of bodies that are still being read, of whoever sends them; over all requests."""

    def __init__(self, limit: int = MAX_HELD) -> None:
        self._free = limit

    def take(self, size: int) -> None:
        """Hold so many more. Raises Unavailable, with none of them held, when there is no room."""
        if size > self._free:
            raise Unavailable("too many bodies are being read at the moment; send this again")
        self._free -= size

    def give(self, size: int) -> None:
        """Hold so many less."""
        self._free += size


async def read_body(
    request: Request, max_bytes: int, too_large: str, *, room: Room | None = None, timeout_s: float | None = None
) -> bytes:
    """The whole body. Raises Refused: 413 with the reason `too_large`, before more than `max_bytes` are held, and 408;
    Unavailable when there is no `room`."""
    parts: list[bytes] = []
    size = 0
    room = room or Room(max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            async for part in request.stream():
                size += len(part)
                if size > max_bytes:
                    raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
                room.take(len(part))
                parts.append(part)
    except TimeoutError as error:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"the body took longer than {timeout_s:g} s") from error
    finally:
        room.give(sum(map(len, parts)))
    return b"".join(parts)

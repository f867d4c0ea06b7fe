"""How much of a body is held, for how long, and by how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from tocsin.events.errors import Unavailable
from tocsin.server.api.bodies import Room, read_body
from tocsin.server.api.problems import Refused

Receive = Callable[[], Awaitable[dict[str, Any]]]


def sends(*parts: bytes | None) -> Receive:
    """A client that sends these parts, goes away at None, and is silent when it has no more."""
    left = list(parts)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        part = left.pop(0)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": part != b""}

    return receive


def request(receive: Receive) -> Request:
    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def test_a_body_is_read_whole() -> None:
    assert await read_body(request(sends(b"ab", b"c", b"")), 3, "large", timeout_s=5) == b"abc"


async def test_no_more_is_held_than_is_allowed() -> None:
    with pytest.raises(Refused, match="large") as refusal:
        await read_body(request(sends(b"ab", b"cd")), 3, "large")
    assert refusal.value.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE


async def test_who_falls_silent_is_not_waited_for() -> None:
    with pytest.raises(Refused, match=r"longer than 0\.05 s") as refusal:
        await read_body(request(sends(b"ab")), 3, "large", timeout_s=0.05)
    assert refusal.value.status is HTTPStatus.REQUEST_TIMEOUT


async def test_all_together_hold_no_more_than_there_is_room() -> None:
    room = Room(4)
    slow = asyncio.create_task(read_body(request(sends(b"abc")), 9, "large", room=room, timeout_s=30))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="send this again"):
        await read_body(request(sends(b"abc", b"")), 9, "large", room=room)
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert await read_body(request(sends(b"abcd", b"")), 9, "large", room=room) == b"abcd"


ENDINGS = [(b"abc", b""), (b"ab", None), (b"abcde",), (b"abc", b"abc")]


@pytest.mark.parametrize("parts", ENDINGS, ids=["whole", "gone", "no room", "too large"])
async def test_however_a_reading_ends_its_room_is_given_back(parts: tuple[bytes | None, ...]) -> None:
    room = Room(4)
    with suppress(Refused, Unavailable, ClientDisconnect):
        await read_body(request(sends(*parts)), 5, "large", room=room)
    assert await read_body(request(sends(b"abcd", b"")), 5, "large", room=room) == b"abcd"

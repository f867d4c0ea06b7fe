"""The server's side of engines far away: what `tocsin.flows.remote` posts. Not for people: it goes with the version."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec
from fastapi import APIRouter, Request, Response
from sqlmodel import Session

from tocsin.events.errors import Invalid
from tocsin.flows import posts
from tocsin.flows.posts import Beat, Post
from tocsin.server.api.state import Here
from tocsin.store import leases, tables
from tocsin.store.bell import bell

MOST_BYTES: Final = 64_000_000
RINGS_WITHIN_S: Final = 20.0
CHANNELS: Final = frozenset({"runs", "slots", "cache"})
_LISTENERS: Final = ThreadPoolExecutor(64, thread_name_prefix="tocsin-bell")

router = APIRouter(prefix="/api/engine", tags=["engine"], include_in_schema=False)

T = TypeVar("T")


class Ring(msgspec.Struct, frozen=True):
    """Which bell is listened to."""

    channel: str


@router.post("/posts")
async def take_post(here: Here, request: Request) -> Response:
    """Carry a post out, once; the answer."""
    post = await _read(request, Post)
    now = here.clock.now()
    ask = here.store.look if posts.only_looks(post) else here.store.run
    return _answer(await ask(lambda session: posts.carry_out(session, post, now)))


@router.post("/beat")
async def take_beat(here: Here, request: Request) -> Response:
    """Renew the lease of a process; the time, and which of its runs are to end."""
    said, now = await _read(request, Beat), here.clock.now()
    return _answer(msgspec.json.encode(await here.store.run(lambda session: posts.beat(session, said, now))))


@router.post("/release")
async def take_release(here: Here, request: Request) -> Response:
    """Give the lease of a process up."""
    said = await _read(request, Beat)
    await here.store.run(lambda session: _released(session, said.lease))
    return _answer(b"null")


@router.post("/bell")
async def hear_bell(here: Here, request: Request) -> Response:
    """Answer when the bell rings, and after 20 s in any case: whether it rang."""
    ring = await _read(request, Ring)
    if ring.channel not in CHANNELS:
        raise Invalid(f"there is no bell {ring.channel!r}; there are {', '.join(sorted(CHANNELS))}")
    listening = await asyncio.to_thread(bell, here.store, ring.channel)
    try:
        rung = await asyncio.get_running_loop().run_in_executor(_LISTENERS, listening.wait, RINGS_WITHIN_S)
    finally:
        listening.wake()
        _LISTENERS.submit(listening.close)
    return _answer(b"true" if rung else b"false")


async def _read(request: Request, kind: type[T]) -> T:
    if int(request.headers.get("content-length") or 0) > MOST_BYTES:
        raise Invalid(f"a post of an engine has {MOST_BYTES:,} bytes at most; keep large results in a result storage")
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.DecodeError as error:
        raise Invalid(f"this is not what an engine posts: {error}; use tocsin of one version") from error


def _released(session: Session, lease: str) -> None:
    row = session.get(tables.Lease, lease)
    if row is not None:
        row.expires = leases.LONG_AGO
        session.add(row)


def _answer(body: bytes) -> Response:
    return Response(body, media_type="application/json")

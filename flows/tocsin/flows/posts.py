"""What an engine far away posts, and what the server makes of it: both sides of one conversation, in JSON.

    Post(id, write, request)     the changes and lines of its buffer, and at most one request: one transaction
    Answer(refused, answer)      why changes were refused, by their place; the request's answer

A post is carried out once, however often it comes: its answer is kept in the transaction that carried it out.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from importlib import import_module
from typing import Any, Final, Union
from uuid import UUID

import msgspec
from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid
from tocsin.flows.changes import being_stopped
from tocsin.flows.remote_tables import AnsweredPost
from tocsin.flows.request import Request
from tocsin.store import leases
from tocsin.store.engine import insert_new

KEPT: Final = timedelta(days=1)
"""How long an answer is remembered: whoever asks again after that long is told that it is too late."""
TTL: Final = timedelta(minutes=1)
"""How long the lease of a process far away lives without being renewed: a server may restart meanwhile."""
MODULES: Final = (
    "artifact_requests",
    "blocks.requests",
    "cache_requests",
    "deployments",
    "flow_requests",
    "limits",
    "pause_requests",
    "resuming",
    "slot_requests",
    "variables",
    "writing",
)
"""Where requests are that may come from far away."""


class Post(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is posted. `write` and `request` are requests in JSON."""

    id: UUID
    write: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    request: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What comes back. `answer` is the request's, in JSON."""

    refused: dict[int, str] = {}
    answer: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Beat(msgspec.Struct, frozen=True):
    """A process far away is alive: `lease` and where it is, for a person who looks for it."""

    lease: str
    here: str


class Heard(msgspec.Struct, frozen=True):
    """The server's time, and the runs under this lease whose process is to end."""

    now: datetime
    stopped: list[UUID] = []


def carry_out(session: Session, post: Post, now: datetime) -> bytes:
    """Carry the post out, once; its answer. Raises what the request raises, and has done nothing then."""
    write = _part(post.write)
    request = _part(post.request)
    if request is not None and not request.writes:
        return _encoded({}, request.perform(session))
    if not insert_new(session, AnsweredPost, [{"id": post.id, "answer": "", "at": now}]):
        return _remembered(session, post.id)
    refused: dict[int, str] = write.perform(session) if write is not None else {}
    answer = _encoded(refused, request.perform(session) if request is not None else None)
    session.connection().execute(
        update(AnsweredPost).where(col(AnsweredPost.id) == post.id).values(answer=answer.decode())
    )
    return answer


def only_looks(post: Post) -> bool:
    """Whether the post writes nothing."""
    request = _part(post.request)
    return post.write is msgspec.UNSET and request is not None and not request.writes


def beat(session: Session, said: Beat, now: datetime) -> Heard:
    """Renew the lease, or take it again; what the process is to know."""
    leases.acquire(session, said.lease, said.here, now, TTL)
    return Heard(now, being_stopped(session, said.lease))


def forget(session: Session, now: datetime) -> int:
    """Forget answers that nobody asks for any more; how many."""
    old = delete(AnsweredPost).where(col(AnsweredPost.at) < now - KEPT)
    return int(session.connection().execute(old).rowcount)


def read(part: bytes | msgspec.Raw) -> Request:
    """The request in JSON. Raises Invalid for one that is not known here, or has other fields."""
    try:
        found: Request = _decoder().decode(part)
    except msgspec.DecodeError as error:
        raise Invalid(f"this server does not read what the engine asks ({error}); use tocsin of one version") from error
    return found


def read_answer(body: bytes, request: Request | None) -> tuple[dict[int, str], Any]:  # Any: the request says what
    """What became of the changes, and the answer."""
    came = msgspec.json.decode(body, type=Answer)
    if request is None or isinstance(came.answer, msgspec.UnsetType):
        return came.refused, None
    return came.refused, msgspec.json.decode(came.answer, type=type(request).answer)


def packed(value: Any) -> msgspec.Raw | msgspec.UnsetType:  # Any: a request, or what one answers
    """A part of a post or an answer; None is left out."""
    return msgspec.Raw(msgspec.json.encode(value)) if value is not None else msgspec.UNSET


def kinds() -> list[type[Request]]:
    """All requests that may come from far away."""
    for name in MODULES:
        import_module(f"tocsin.flows.{name}")
    return sorted(set(_below(Request)), key=lambda kind: kind.__name__)


def _part(raw: msgspec.Raw | msgspec.UnsetType) -> Request | None:
    return None if isinstance(raw, msgspec.UnsetType) else read(raw)


@cache
def _decoder() -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(Union[tuple(kinds())])  # noqa: UP007 - made at run time


def _below(kind: type[Request]) -> Iterator[type[Request]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)


def _encoded(refused: dict[int, str], answer: Any) -> bytes:  # Any: the request says what
    return msgspec.json.encode(Answer(refused, packed(answer)))


def _remembered(session: Session, identity: UUID) -> bytes:
    answer = session.exec(select(AnsweredPost.answer).where(AnsweredPost.id == identity)).one()
    return answer.encode()

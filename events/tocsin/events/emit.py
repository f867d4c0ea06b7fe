"""`emit_event`: say from anywhere that something happened.

The event goes through the door that the environment names: the API when `TOCSIN_API_URL` is set, else the log of
`TOCSIN_DATABASE_URL` (default: SQLite under `TOCSIN_HOME`). When the call returns, the event is kept.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, wraps
from importlib.metadata import entry_points
from typing import Any, ParamSpec, Protocol, TypeVar
from uuid import UUID

from tocsin.events import codec
from tocsin.events.errors import Unavailable
from tocsin.events.ids import uuid7
from tocsin.events.model import Event

P = ParamSpec("P")
T = TypeVar("T")


class Emitter(Protocol):
    """A door through which events leave a program."""

    def emit(self, events: Sequence[Event]) -> None:
        """Return when all are kept. Raises `Unavailable` when they are not, `BadEvent` when they may not be."""
        ...


def emit_event(
    event: str,
    resource: Mapping[str, str],
    related: Sequence[Mapping[str, str]] = (),
    # Any: a payload is whatever JSON its producer chooses.
    payload: Mapping[str, Any] | None = None,
    *,
    occurred: datetime | None = None,
    follows: UUID | None = None,
    event_id: UUID | None = None,
) -> Event:
    """Emit one event and return it when it is kept.

    `event` is a dotted name that does not begin with `tocsin.`; `resource` needs the label `tocsin.resource.id`, each
    of `related` also `tocsin.resource.role`; `occurred` is aware (default: now). Give `event_id`
    to make a repeat harmless. Raises `BadEvent` and `Unavailable`.
    """
    now = datetime.now(UTC)
    made = Event(
        id=event_id or uuid7(),
        event=event,
        occurred=occurred or now,
        resource=dict(resource),
        related=[dict(labels) for labels in related],
        payload=dict(payload or {}),
        follows=follows,
    )
    admitted = codec.admit(made, now)
    emitter().emit([admitted])
    return admitted


def _in_thread(work: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    @wraps(work)
    async def call(*arguments: P.args, **named: P.kwargs) -> T:
        return await asyncio.to_thread(work, *arguments, **named)

    return call


emit_event_async = _in_thread(emit_event)
"""`emit_event` for coroutines: the loop stays free while the event is being kept."""


def emitter() -> Emitter:
    """The door that the environment names at this moment; one for each distinct setting of a process."""
    names = ("TOCSIN_API_URL", "TOCSIN_API_KEY", "TOCSIN_DATABASE_URL", "TOCSIN_HOME")
    with _opening:
        return _open(*(os.environ.get(name, "") for name in names))


_opening = threading.Lock()


@cache
def _open(api_url: str, api_key: str, database_url: str, home: str) -> Emitter:
    if api_url:
        from tocsin.events.remote import ApiEmitter  # a program that writes to its own log needs no HTTP

        return ApiEmitter(api_url, api_key)
    for door in entry_points(group="tocsin.emitters", name="log"):
        made: Emitter = door.load()(database_url or None)
        return made
    raise Unavailable("no door for events: set TOCSIN_API_URL, or install tocsin with its store")

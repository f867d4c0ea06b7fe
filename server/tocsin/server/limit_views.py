"""Limits as the API and the command line show and change them."""

from datetime import datetime
from uuid import UUID

import msgspec
from sqlmodel import Session

from tocsin.flows import limits
from tocsin.flows.limits import LimitChange
from tocsin.server.views import View


class LimitView(View):
    """A limit as it stands. `taken` is null for a rate, whose slots come back by `decay`, so many a second."""

    kind: str
    name: str
    slots: int
    taken: int | None
    waiting: int
    decay: float | None
    paused: bool
    waits: int
    waited_s: float
    updated: datetime | None


class PlaceView(View):
    """Who holds slots, or waits for them (`taken` null)."""

    holder: str
    slots: int
    asked: datetime
    taken: datetime | None
    flow_run_id: UUID | None


class LimitDetail(LimitView):
    """A limit with those who hold it and those who wait for it, in order."""

    places: list[PlaceView]


def list_limits(session: Session, now: datetime) -> list[LimitView]:
    """Limits by kind and name."""
    return [LimitView.model_validate(status) for status in limits.list_limits(session, now)]


def get_limit(session: Session, text: str, now: datetime) -> LimitDetail:
    """The limit `kind:name`. Raises NotFound."""
    kind, name = limits.key_of(text)
    status = limits.get_limit(session, kind, name, now)
    found = [PlaceView.model_validate(place) for place in limits.places(session, kind, name, now)]
    return LimitDetail(**msgspec.structs.asdict(status), places=found)


def put_limit(session: Session, text: str, change: LimitChange, now: datetime) -> LimitView:
    """The limit after the change. Raises NotFound and Invalid."""
    kind, name = limits.key_of(text)
    return LimitView.model_validate(limits.put_limit(session, kind, name, change, now))


def remove_limit(session: Session, text: str, now: datetime) -> None:
    """No limit any more. Raises NotFound."""
    kind, name = limits.key_of(text)
    limits.remove_limit(session, kind, name, now)

"""What an engine asks of the book about cached results.

there, or under way?    FindCached       looks only
nobody computes it      TakeFlight       the first who asks computes, the others wait and look
computed, or given up   EndFlight        the result is there, and the flight is over, in one transaction
"""

from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import delete, select, update
from sqlmodel import Session, SQLModel, col

from tocsin.flows.cache_tables import CacheFlight
from tocsin.flows.request import Request
from tocsin.flows.states import FINAL, HELD, StateType
from tocsin.flows.tables import CacheEntry, FlowRun, TaskRun
from tocsin.store.engine import insert_new
from tocsin.store.tables import Lease

_ENTRY: Final = SQLModel.metadata.tables[str(CacheEntry.__tablename__)]
_FLIGHT: Final = SQLModel.metadata.tables[str(CacheFlight.__tablename__)]
_HELD: Final = sorted(kind.value for kind in HELD)
_GIVEN_UP: Final = sorted(kind.value for kind in FINAL - {StateType.COMPLETED})
"""A completed run is about to put its result there."""


# Any below: a reference to a result is JSON.


class Found(msgspec.Struct, frozen=True):
    """What there is under a key: a `result` and the run that made it, or somebody who computes it (`taken`).

    `yours`: the one who asks is to compute it.
    """

    result: dict[str, Any] | None = None
    task_run_id: UUID | None = None
    taken: bool = False
    yours: bool = False


class FindCached(Request, frozen=True, kw_only=True):
    """The result under a key that has not expired; `lost`: the run whose result there cannot be read."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = Found

    key: str
    now: datetime
    lost: UUID | None = None

    def perform(self, session: Session) -> Found:
        """Look it up."""
        found = _result(session, self.key, self.now, self.lost)
        return found or Found(taken=_live_flight(session, self.key, self.now) is not None)


class TakeFlight(Request, frozen=True, kw_only=True):
    """Let a task run compute the result, unless it is there or somebody else does; `lost` as above."""

    answer: ClassVar[Any] = Found

    key: str
    task_run_id: UUID
    lease: str
    flow_run_id: UUID | None
    attempt: int | None
    now: datetime
    lost: UUID | None = None
    refresh: bool = False

    def perform(self, session: Session) -> Found:
        """Carry it out; what there is now."""
        if not self._taken(session):
            return Found(taken=True)
        # Looked for behind the taking: whoever held it before has put the result there when he gave it up.
        found = None if self.refresh else _result(session, self.key, self.now, self.lost)
        if found is not None:
            _end(session, self.key, self.task_run_id)
        return found or Found(yours=True)

    def _taken(self, session: Session) -> bool:
        flight = {name: getattr(self, name) for name in ("task_run_id", "lease", "flow_run_id", "attempt")}
        flight["since"] = self.now
        if insert_new(session, CacheFlight, [{"key": self.key, **flight}]):
            return True
        holder = _live_flight(session, self.key, self.now)
        if holder is not None:
            return holder == self.task_run_id
        statement = select(_FLIGHT.c.task_run_id).where(_FLIGHT.c.key == self.key).with_for_update()
        gone = session.connection().execute(statement).scalar_one_or_none()
        if gone is None or _live_flight(session, self.key, self.now) is not None:
            return False  # it has just changed hands: look again
        session.connection().execute(update(_FLIGHT).where(_FLIGHT.c.key == self.key).values(**flight))
        return True


class EndFlight(Request, frozen=True, kw_only=True):
    """A task run has computed what is kept under a key (`result`), or will not (None); who waits can go on."""

    answer: ClassVar[Any] = None

    key: str
    task_run_id: UUID
    task_key: str = ""
    result: dict[str, Any] | None = None
    expires: datetime | None = None
    now: datetime

    def perform(self, session: Session) -> None:
        """Carry it out."""
        if self.result is not None:
            _put(session, self)
        _end(session, self.key, self.task_run_id)


def _result(session: Session, key: str, now: datetime, lost: UUID | None) -> Found | None:
    columns = (_ENTRY.c.result, _ENTRY.c.task_run_id, _ENTRY.c.expires)
    row = session.connection().execute(select(*columns).where(_ENTRY.c.key == key)).one_or_none()
    if row is None or (row.expires is not None and row.expires <= now) or row.task_run_id == lost:
        return None
    return Found(result=row.result, task_run_id=row.task_run_id)


def _live_flight(session: Session, key: str, now: datetime) -> UUID | None:
    """The task run that computes this key; None when nobody does, or his process is gone."""
    alive = select(col(Lease.name)).where(col(Lease.name) == _FLIGHT.c.lease, col(Lease.expires) > now).exists()
    at_work = (
        select(col(FlowRun.id))
        .where(col(FlowRun.id) == _FLIGHT.c.flow_run_id, col(FlowRun.attempt) == _FLIGHT.c.attempt)
        .where(col(FlowRun.state_type).in_(_HELD))
        .exists()
    )
    given_up = (
        select(col(TaskRun.id))
        .where(col(TaskRun.id) == _FLIGHT.c.task_run_id, col(TaskRun.state_type).in_(_GIVEN_UP))
        .exists()
    )
    statement = select(_FLIGHT.c.task_run_id).where(_FLIGHT.c.key == key, alive, ~given_up)
    statement = statement.where(_FLIGHT.c.flow_run_id.is_(None) | at_work)
    holder: UUID | None = session.connection().execute(statement).scalar_one_or_none()
    return holder


def _put(session: Session, end: EndFlight) -> None:
    values = {"task_key": end.task_key, "task_run_id": end.task_run_id, "result": end.result}
    values |= {"created": end.now, "expires": end.expires}
    if not insert_new(session, CacheEntry, [{"key": end.key, **values}]):
        session.connection().execute(update(_ENTRY).where(_ENTRY.c.key == end.key).values(**values))


def _end(session: Session, key: str, task_run: UUID) -> None:
    mine = _FLIGHT.c.key == key, _FLIGHT.c.task_run_id == task_run
    session.connection().execute(delete(_FLIGHT).where(*mine))

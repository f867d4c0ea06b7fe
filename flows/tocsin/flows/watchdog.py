"""Finds what nobody else tells of: runs whose process is gone, runs that nobody takes, pauses that nobody ends."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Table, delete, exists, select, update
from sqlmodel import Session, col

from tocsin.flows.changes import (
    FLOW_RUN,
    TASK_RUN,
    Columns,
    crash_inner,
    crash_task,
    propose,
)
from tocsin.flows.claims import give_back
from tocsin.flows.decide import Accept, Context
from tocsin.flows.pause_requests import end_pause
from tocsin.flows.slot_requests import free_dead
from tocsin.flows.states import HELD, SCHEDULED, Fault, State, StateType, crashed, late
from tocsin.store import tables
from tocsin.store.engine import claimable

BATCH: Final = 500
KEPT: Final = timedelta(hours=1)
"""How long the row of a lease that is over stays, for a person who looks for the reason."""
LATE_AFTER: Final = timedelta(seconds=15)
"""How long after its time a run that nobody has taken is late."""
LATE_BATCH: Final = 200

_REASON: Final = "its process fell silent: the lease is over"
_WAITS: Final = frozenset({StateType.SCHEDULED, StateType.PAUSED})
_WATCHED: Final = sorted(kind.value for kind in HELD | _WAITS)

Lost = Callable[[ColumnElement[str]], ColumnElement[bool]]
"""Which leases, of the column, nobody holds any more."""


def sweep(session: Session, now: datetime) -> list[UUID]:
    """Make runs whose lease is over CRASHED, with the tasks and subflows in them; their ids.

    A run that waited for a retry inside such a process is given to the workers again. At most 500 runs a call.
    """
    lease = tables.Lease
    found = _crashed(session, lambda held: ~_alive(held, now), _REASON, now)
    ours = col(lease.name).startswith("process:") | col(lease.name).startswith("worker:")
    session.connection().execute(delete(lease).where(ours, col(lease.expires) < now - KEPT))
    return found


def bury(session: Session, leases: Collection[str], reason: str, now: datetime) -> list[UUID]:
    """The same for what these leases hold, whose holders are known to be dead. The leases are over."""
    table = tables.Lease
    session.connection().execute(update(table).where(col(table.name).in_(leases)).values(expires=now))
    return _crashed(session, lambda held: held.in_(leases), reason, now)


def _crashed(session: Session, lost: Lost, reason: str, now: datetime) -> list[UUID]:
    found = [_end(session, run, reason, now) for run in _left(session, FLOW_RUN, lost)]
    for task in _left(session, TASK_RUN, lost):
        crash_task(session, task, None, crashed(reason), now)
    free_dead(session, now)
    return [run_id for run_id in found if run_id is not None]


def mark_late(session: Session, now: datetime, grace: timedelta = LATE_AFTER) -> list[UUID]:
    """Make runs that nobody has taken in the `grace` after their time Late; their ids. At most 200 runs a call.

    A late run keeps its time and its place: workers take it as before.
    """
    statement = (
        select(FLOW_RUN.c.id, FLOW_RUN.c.scheduled)
        .where(
            FLOW_RUN.c.state_type == StateType.SCHEDULED.value,
            FLOW_RUN.c.state_name == SCHEDULED,
            FLOW_RUN.c.scheduled < now - grace,
            FLOW_RUN.c.lease.is_(None),
        )
        .order_by(FLOW_RUN.c.scheduled)
        .limit(LATE_BATCH)
    )
    found = session.connection().execute(claimable(session, statement)).all()
    return [run_id for run_id, at in found if _made_late(session, run_id, at, now)]


def _made_late(session: Session, run_id: UUID, at: datetime, now: datetime) -> bool:
    verdict, _ = propose(session, run_id, late(at, "nobody has taken it"), Context(), now)
    return isinstance(verdict, Accept)


def end_pauses(session: Session, now: datetime) -> list[UUID]:
    """Make runs that nobody resumed in the time they were given TimedOut; their ids. At most 500 runs a call."""
    over = FLOW_RUN.c.state_type == StateType.PAUSED.value, FLOW_RUN.c.waits_until <= now
    statement = select(FLOW_RUN).where(*over).order_by(FLOW_RUN.c.waits_until).limit(BATCH)
    found = session.connection().execute(claimable(session, statement)).mappings().all()
    return [run["id"] for run in found if end_pause(session, dict(run), now)]


def _end(session: Session, run: Columns, reason: str, now: datetime) -> UUID | None:
    waits = run["state_type"] in _WAITS
    if waits and run["deployment"] is not None:
        give_back(session, run, now)
        return None
    state = _never_again(StateType(run["state_type"])) if waits else crashed(reason)
    verdict, after = propose(session, run["id"], state, Context(lease_lives=False), now)
    if not isinstance(verdict, Accept):
        return None
    crash_inner(session, after, crashed(reason), now)
    run_id: UUID = run["id"]
    return run_id


def _alive(held: ColumnElement[str], now: datetime) -> ColumnElement[bool]:
    return exists().where(col(tables.Lease.name) == held, col(tables.Lease.expires) > now)


def _left(session: Session, table: Table, lost: Lost) -> list[dict[str, Any]]:  # Any: values of the columns
    statement = (
        select(table)
        .where(table.c.state_type.in_(_WATCHED), table.c.lease.is_not(None), lost(table.c.lease))
        .order_by(table.c.id)
        .limit(BATCH)
    )
    return [dict(row) for row in session.connection().execute(claimable(session, statement)).mappings().all()]


def _never_again(kind: StateType) -> State:
    paused = kind is StateType.PAUSED
    reason = "its process is gone" + ("" if paused else ", and with it the retry that it waited for")
    return State(StateType.FAILED, "Failed", reason, fault=Fault("Crashed", reason))

"""What a worker does in the database: take runs that are due, say how they ended."""

import signal
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlmodel import Session, col

from tocsin.flows.changes import FLOW_RUN, RUNS, Columns, crash_inner, load, propose
from tocsin.flows.decide import Accept, Context
from tocsin.flows.series import its_turn, still_its_turn
from tocsin.flows.states import HELD, StateType, crashed, pending
from tocsin.flows.tables import WorkPool, WorkQueue
from tocsin.store.engine import claimable, touch

_HELD: Final = sorted(kind.value for kind in HELD)
_WAITS: Final = (StateType.SCHEDULED.value, StateType.PAUSED.value)

_QUEUE_PAUSED: Final = exists().where(
    col(WorkQueue.pool) == FLOW_RUN.c.work_pool,
    col(WorkQueue.name) == FLOW_RUN.c.work_queue,
    col(WorkQueue.paused),
)


def due(session: Session, pool: str, now: datetime) -> tuple[bool, datetime | None]:
    """Whether a run waits in the pool, and if not, when the next one is due."""
    row = session.get(WorkPool, pool)
    if row is None or row.paused:
        return False, None
    statement = select(func.min(FLOW_RUN.c.scheduled)).where(*_waiting(pool))
    at: datetime | None = session.connection().execute(statement).scalar()
    return at is not None and at <= now, at


def claim(session: Session, pool: str, limit: int, *, lease: str, worker: str, now: datetime) -> list[Columns]:
    """Up to `limit` due runs of the pool, PENDING under this lease from now on; no two workers get the same one."""
    limit = min(limit, _room(session, pool))
    if limit <= 0:
        return []
    statement = (
        select(FLOW_RUN.c.id, FLOW_RUN.c.series, FLOW_RUN.c.room)
        .where(*_waiting(pool), FLOW_RUN.c.scheduled <= now)
        .order_by(FLOW_RUN.c.scheduled, FLOW_RUN.c.id)
        .limit(limit)
    )
    found = [(run, series, room) for run, series, room in session.connection().execute(claimable(session, statement))]
    taken = []
    for run_id in still_its_turn(session, found):
        verdict, run = propose(session, run_id, pending(), Context(), now, lease=lease, worker=worker)
        if isinstance(verdict, Accept):
            taken.append(run)
    return taken


def ended(session: Session, run_id: UUID, attempt: int, exit_code: int, now: datetime) -> None:
    """The process of this attempt is gone: a run that it left unfinished has crashed.

    `exit_code`: negative for the signal that killed it.
    """
    run = load(session, run_id, lock=True)
    if run["attempt"] != attempt:
        return
    if run["state_type"] in _WAITS:
        give_back(session, run, now)
        return
    if run["state_type"] not in _HELD:
        return
    verdict, after = propose(session, run_id, crashed(_reason(exit_code)), Context(attempt=attempt), now)
    if isinstance(verdict, Accept):
        crash_inner(session, after, crashed(_reason(exit_code)), now)


def give_back(session: Session, run: Columns, now: datetime) -> None:
    """A run that waits, for a retry or to be resumed, no longer does so inside a process: any worker may take it.

    What was under way in it has ended with the process.
    """
    gone = update(FLOW_RUN).where(FLOW_RUN.c.id == run["id"], FLOW_RUN.c.state_type.in_(_WAITS))
    session.connection().execute(gone.values(lease=None, worker=None))
    crash_inner(session, run, crashed("its process has ended"), now)
    touch(session, RUNS)


def _waiting(pool: str) -> tuple[ColumnElement[bool], ...]:
    return (
        FLOW_RUN.c.work_pool == pool,
        FLOW_RUN.c.state_type == StateType.SCHEDULED.value,
        FLOW_RUN.c.lease.is_(None),
        ~_QUEUE_PAUSED,
        its_turn(),
    )


def _room(session: Session, pool: str) -> int:
    """How many more runs the pool takes: none when it is paused, a great many without a bound."""
    row = session.get(WorkPool, pool, populate_existing=True)
    if row is None or row.paused:
        return 0
    if row.concurrency is None:
        return 1_000_000
    session.refresh(row, with_for_update=True)  # workers count one after the other
    held = select(func.count()).where(FLOW_RUN.c.work_pool == pool, FLOW_RUN.c.state_type.in_(_HELD))
    return row.concurrency - int(session.connection().execute(held).scalar() or 0)


def _reason(exit_code: int) -> str:
    if exit_code >= 0:
        return f"its process exited with code {exit_code} before the run had ended"
    try:
        name = f" ({signal.Signals(-exit_code).name})"
    except ValueError:
        name = ""
    return f"killed by signal {-exit_code}{name}"

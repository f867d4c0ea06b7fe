"""What a worker does in the database: take runs that are due, say how they ended."""

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, func, select, update
from sqlmodel import Session, col

from tocsin.flows import rooms
from tocsin.flows.admission import Candidate, Rooms, admit
from tocsin.flows.changes import FLOW_RUN, RUNS, Columns, crash_inner, load, propose
from tocsin.flows.decide import Accept, Context
from tocsin.flows.infrastructure import Exit
from tocsin.flows.series import its_turn, still_its_turn
from tocsin.flows.slot_requests import free_of_runs
from tocsin.flows.states import AWAITING_SLOT, HELD, StateType, crashed, pending, scheduled
from tocsin.flows.tables import WorkPool, WorkQueue
from tocsin.store.bell import ring
from tocsin.store.engine import claimable

BLOCKED: Final = 100
"""How many runs that wait for a slot a claim tells of at the most."""

_HELD: Final = sorted(kind.value for kind in HELD)
_WAITS: Final = (StateType.SCHEDULED.value, StateType.PAUSED.value)

_QUEUE_PAUSED: Final = exists().where(
    col(WorkQueue.pool) == FLOW_RUN.c.work_pool,
    col(WorkQueue.name) == FLOW_RUN.c.work_queue,
    col(WorkQueue.paused),
)


def due(
    session: Session, pool: str, now: datetime, queues: Collection[str] | None = None
) -> tuple[bool, datetime | None]:
    """Whether there is something to claim in these queues of the pool (None: in any); if not, when the next run is due.

    A run that its limits hold back counts once, to be told that it waits for a slot.
    """
    row = session.get(WorkPool, pool)
    if row is None or row.paused:
        return False, None
    left = rooms.left(session, row, lock=False)
    if left.any_full and session.connection().execute(_blocked(row, left, now, queues).limit(1)).first() is not None:
        return True, now
    if left.closed:
        return False, None
    statement = select(func.min(FLOW_RUN.c.scheduled)).where(*_waiting(pool, queues), *_not_full(left))
    at: datetime | None = session.connection().execute(statement).scalar()
    return at is not None and at <= now, at


def claim(
    session: Session,
    pool: str,
    limit: int,
    *,
    lease: str,
    worker: str,
    now: datetime,
    queues: Collection[str] | None = None,
) -> list[Columns]:
    """Up to `limit` due runs of the pool, PENDING under this lease from now on; no two workers get the same one.

    Those of the queue with the lowest priority first, then the longest due. `queues`: only those of these queues. Runs
    that a limit holds back become AwaitingSlot, or are cancelled where their deployment says so.
    """
    row = session.get(WorkPool, pool, populate_existing=True)
    if limit <= 0 or row is None or row.paused:
        return []
    left = rooms.left(session, row, lock=True)
    taken: list[Columns] = []
    while len(taken) < limit and not left.closed:
        found = _candidates(session, pool, left, limit - len(taken), now, queues)
        admitted, left = admit(found, left)
        for run in admitted:
            verdict, columns = propose(session, run.id, pending(), Context(), now, lease=lease, worker=worker)
            if isinstance(verdict, Accept):
                taken.append(columns)
        if len(admitted) == len(found):
            break
    if left.any_full:
        _tell_blocked(session, row, left, now, queues)
    return taken


def ended(
    session: Session, run_id: UUID, attempt: int, how: int | Exit, now: datetime, *, lease: str | None = None
) -> bool:
    """The process of this attempt is gone: a run that it left unfinished has crashed. Whether it had.

    `how`: how it ended, or its exit code only, negative for the signal that killed it. `lease`: nobody else is at work
    at the run under this lease, so later attempts under it were tries of the same process.
    """
    reason = (how if isinstance(how, Exit) else Exit(how)).said()
    run = load(session, run_id, lock=True)
    in_place = run["lease"] == lease and run["attempt"] > attempt and run["state_type"] != StateType.PENDING.value
    if lease is not None and in_place:
        attempt = run["attempt"]
    if run["attempt"] != attempt:
        return False
    if run["state_type"] in _WAITS:
        give_back(session, run, now)
        return False
    if run["state_type"] not in _HELD:
        return False
    verdict, after = propose(session, run_id, crashed(reason), Context(attempt=attempt), now)
    if isinstance(verdict, Accept):
        crash_inner(session, after, crashed(reason), now)
    free_of_runs(session, rooms.family(session, run_id), now)
    return isinstance(verdict, Accept)


def hand_back(session: Session, lease: str, at_work: Collection[tuple[UUID, int]], now: datetime) -> list[UUID]:
    """Let others take the runs that are PENDING under this lease and that its worker does not know of; their ids.

    `at_work`: runs with their attempts that it has started.
    """
    mine = FLOW_RUN.c.state_type == StateType.PENDING.value, FLOW_RUN.c.lease == lease
    columns = select(FLOW_RUN.c.id, FLOW_RUN.c.attempt, FLOW_RUN.c.scheduled).where(*mine).order_by(FLOW_RUN.c.id)
    found = session.connection().execute(claimable(session, columns)).all()
    lost = [run for run in found if (run.id, run.attempt) not in at_work]
    for run in lost:
        again = scheduled(run.scheduled or now, "given back: its worker did not hear that it has it")
        propose(session, run.id, again, Context(attempt=run.attempt), now, lease=None, worker=None)
    return [run.id for run in lost]


def give_back(session: Session, run: Columns, now: datetime) -> None:
    """A run that waits, for a retry or to be resumed, no longer does so inside a process: any worker may take it.

    What was under way in it has ended with the process.
    """
    gone = update(FLOW_RUN).where(FLOW_RUN.c.id == run["id"], FLOW_RUN.c.state_type.in_(_WAITS))
    session.connection().execute(gone.values(lease=None, worker=None))
    free_of_runs(session, rooms.family(session, run["id"]), now)
    crash_inner(session, run, crashed("its process has ended"), now)
    ring(session, RUNS)


def _candidates(
    session: Session, pool: str, left: Rooms, limit: int, now: datetime, queues: Collection[str] | None
) -> list[Candidate]:
    """The first runs in line that no full limit holds back."""
    columns = (FLOW_RUN.c.id, FLOW_RUN.c.series, FLOW_RUN.c.room, FLOW_RUN.c.deployment, FLOW_RUN.c.work_queue)
    order = (*rooms.by_priority(session, pool), FLOW_RUN.c.scheduled, FLOW_RUN.c.id)
    where = (*_waiting(pool, queues), FLOW_RUN.c.scheduled <= now, *_not_full(left))
    statement = select(*columns).where(*where).order_by(*order).limit(limit)
    rows = session.connection().execute(claimable(session, statement)).all()
    turn = set(still_its_turn(session, [(row.id, row.series, row.room) for row in rows]))
    return [Candidate(row.id, row.deployment, row.work_queue) for row in rows if row.id in turn]


def _blocked(
    pool: WorkPool, left: Rooms, now: datetime, queues: Collection[str] | None
) -> "Select[tuple[UUID, str | None, str | None, datetime, int]]":
    """Due runs that a full limit holds back and that do not say so yet."""
    columns = (FLOW_RUN.c.id, FLOW_RUN.c.deployment, FLOW_RUN.c.work_queue, FLOW_RUN.c.scheduled, FLOW_RUN.c.attempt)
    where = [*_waiting(pool.name, queues), FLOW_RUN.c.scheduled <= now, FLOW_RUN.c.state_name != AWAITING_SLOT]
    if not left.closed:
        where.append(FLOW_RUN.c.work_queue.in_(left.full_queues) | FLOW_RUN.c.deployment.in_(left.full_deployments))
    return select(*columns).where(*where).order_by(FLOW_RUN.c.scheduled, FLOW_RUN.c.id)


def _tell_blocked(session: Session, pool: WorkPool, left: Rooms, now: datetime, queues: Collection[str] | None) -> None:
    statement = claimable(session, _blocked(pool, left, now, queues).limit(BLOCKED))
    for run in session.connection().execute(statement).all():
        propose(session, run.id, rooms.held_back(session, pool, left, run), Context(), now)


def _not_full(left: Rooms) -> tuple[ColumnElement[bool], ...]:
    free = []
    if left.full_queues:
        free.append(FLOW_RUN.c.work_queue.not_in(left.full_queues))
    if left.full_deployments:
        free.append(FLOW_RUN.c.deployment.not_in(left.full_deployments))
    return tuple(free)


def _waiting(pool: str, queues: Collection[str] | None) -> tuple[ColumnElement[bool], ...]:
    served = () if queues is None else (FLOW_RUN.c.work_queue.in_(sorted(queues)),)
    return (
        *served,
        FLOW_RUN.c.work_pool == pool,
        FLOW_RUN.c.state_type == StateType.SCHEDULED.value,
        FLOW_RUN.c.lease.is_(None),
        ~_QUEUE_PAUSED,
        its_turn(),
    )

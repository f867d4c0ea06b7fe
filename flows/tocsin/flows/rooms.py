"""What is left of the limits on runs of flows, for those who claim: read from the rows, counted from the runs."""

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, case, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from tocsin.flows.admission import Rooms
from tocsin.flows.changes import FLOW_RUN
from tocsin.flows.limits_of_runs import count_under_way, under_way
from tocsin.flows.queues import PRIORITY
from tocsin.flows.states import State, StateType, awaiting_slot, cancelled
from tocsin.flows.tables import DeploymentRow, WorkPool, WorkQueue

CANCEL_NEW: Final = "CANCEL_NEW"


def left(session: Session, pool: WorkPool, *, lock: bool) -> Rooms:
    """What is left in this pool now; with `lock` nobody else counts until the transaction ends."""
    queues = {
        row.name: row.concurrency
        for row in session.exec(select(WorkQueue).where(WorkQueue.pool == pool.name))
        if row.concurrency is not None
    }
    if lock and (pool.concurrency is not None or queues):
        session.refresh(pool, with_for_update=True)
    limited = _limited_deployments(session, pool.name, lock=lock)
    room = None
    if pool.concurrency is not None:
        room = pool.concurrency - count_under_way(session, FLOW_RUN.c.work_pool == pool.name)
    here = FLOW_RUN.c.work_pool == pool.name
    return Rooms(
        room,
        _rest(session, FLOW_RUN.c.work_queue, queues, (here,)),
        _rest(session, FLOW_RUN.c.deployment, limited, ()),
    )


def by_priority(session: Session, pool: str) -> list[ColumnElement[int]]:
    """By what runs of the pool are ordered first; nothing while all its queues have the same priority."""
    rows = session.exec(select(WorkQueue).where(WorkQueue.pool == pool)).all()
    priorities = {row.name: row.priority for row in rows if row.priority != PRIORITY}
    return [case(priorities, value=FLOW_RUN.c.work_queue, else_=PRIORITY)] if priorities else []


def held_back(session: Session, pool: WorkPool, rooms: Rooms, run: Any) -> State:  # Any: sqlalchemy's Row
    """The state of a run that a full limit holds back."""
    if run.deployment in rooms.full_deployments:
        deployment = session.get_one(DeploymentRow, run.deployment)
        why = f"deployment {run.deployment}: all {deployment.concurrency_limit} slots are taken"
        if deployment.collision_strategy == CANCEL_NEW and run.attempt == 0:
            return cancelled(f"{why}, and its collision strategy is {CANCEL_NEW}")
    elif run.work_queue in rooms.full_queues:
        why = f"work queue {pool.name}/{run.work_queue}: all its slots are taken"
    else:
        why = f"work pool {pool.name}: all {pool.concurrency} slots are taken"
    return awaiting_slot(run.scheduled, why)


def family(session: Session, run_id: UUID) -> list[UUID]:
    """The run and the subflow runs inside it, at any depth."""
    found, new = [run_id], [run_id]
    while new:
        inner = select_columns(FLOW_RUN.c.id).where(FLOW_RUN.c.parent_run_id.in_(new))
        new = [child for child in session.connection().execute(inner).scalars() if child not in found]
        found += new
    return found


def _limited_deployments(session: Session, pool: str, *, lock: bool) -> dict[str, int]:
    """Deployments with a limit that have runs waiting in the pool; locked in the order of their names."""
    waiting = select_columns(FLOW_RUN.c.deployment).where(
        FLOW_RUN.c.work_pool == pool, FLOW_RUN.c.state_type == StateType.SCHEDULED.value
    )
    limited = col(DeploymentRow.concurrency_limit).is_not(None)
    if session.exec(select(DeploymentRow.name).where(limited).limit(1)).first() is None:
        return {}
    statement = select(DeploymentRow.name, DeploymentRow.concurrency_limit).order_by(col(DeploymentRow.name))
    statement = statement.where(limited, col(DeploymentRow.name).in_(waiting))
    if lock:
        statement = statement.with_for_update()
    return {name: limit for name, limit in session.exec(statement) if limit is not None}


def _rest(
    session: Session, column: ColumnElement[str], limits: dict[str, int], where: Iterable[ColumnElement[bool]]
) -> dict[str, int]:
    if not limits:
        return {}
    counted = select_columns(column, func.count()).where(column.in_(sorted(limits)), under_way(), *where)
    found = session.connection().execute(counted.group_by(column)).all()
    held = {row[0]: int(row[1]) for row in found}
    return {name: limit - held.get(name, 0) for name, limit in limits.items()}

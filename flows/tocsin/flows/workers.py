"""The workers that there are, and how they fare."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from tocsin.flows.beat import TTL
from tocsin.flows.changes import FLOW_RUN
from tocsin.flows.states import HELD
from tocsin.flows.tables import WorkerRow
from tocsin.store.tables import Lease


@dataclass(frozen=True, slots=True)
class Listed:
    """A worker. `at_work`: runs that it has; `heard`: when it was heard of last (None: its lease is forgotten)."""

    name: str
    pool: str
    queues: list[str] | None
    slots: int
    at_work: int
    alive: bool
    heard: datetime | None
    host: str
    pid: int
    started: datetime
    stopped: datetime | None


def list_workers(session: Session, now: datetime, *, pool: str | None = None, gone: bool = True) -> list[Listed]:
    """Workers by name, of one pool or of all; without `gone` those that live only."""
    statement = select(WorkerRow, Lease.expires).outerjoin(Lease, col(Lease.name) == col(WorkerRow.lease))
    if pool is not None:
        statement = statement.where(WorkerRow.work_pool == pool)
    if not gone:
        statement = statement.where(col(Lease.expires) > now)
    rows = session.exec(statement.order_by(col(WorkerRow.name))).all()
    at_work = _at_work(session, [row.lease for row, _ in rows])
    return [_listed(row, expires, at_work.get(row.lease, 0), now) for row, expires in rows]


def _listed(row: WorkerRow, expires: datetime | None, at_work: int, now: datetime) -> Listed:
    return Listed(
        name=row.name,
        pool=row.work_pool,
        queues=row.queues,
        slots=row.slots,
        at_work=at_work,
        alive=row.stopped is None and expires is not None and expires > now,
        heard=row.stopped or (expires - TTL if expires is not None else None),
        host=row.host,
        pid=row.pid,
        started=row.started,
        stopped=row.stopped,
    )


def _at_work(session: Session, leases: list[str]) -> dict[str, int]:
    held = FLOW_RUN.c.state_type.in_(sorted(kind.value for kind in HELD))
    columns = (FLOW_RUN.c.lease, func.count())
    statement = select(*columns).where(FLOW_RUN.c.lease.in_(leases), held, FLOW_RUN.c.parent_run_id.is_(None))
    found = session.connection().execute(statement.group_by(FLOW_RUN.c.lease)).all()
    return {row[0]: row[1] for row in found}

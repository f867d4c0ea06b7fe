"""How many runs of flows may be under way at once: of a deployment, in a work pool, from a work queue.

A run takes its slot when a worker claims it, and holds it while a process is at it: there is no row of its own to leak.
"""

from datetime import datetime
from typing import Any, Final, Literal, assert_never, cast

from sqlalchemy import ColumnElement, and_, func, or_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.flows.changes import FLOW_RUN, RUNS
from tocsin.flows.states import HELD, StateType
from tocsin.flows.tables import DeploymentRow, WorkPool, WorkQueue
from tocsin.store.bell import ring

Kind = Literal["deployment", "work-pool", "work-queue"]
OF_RUNS: Final[tuple[Kind, ...]] = ("deployment", "work-pool", "work-queue")

_HELD: Final = sorted(kind.value for kind in HELD)
_RESTS: Final = (StateType.SCHEDULED.value, StateType.PAUSED.value)


def under_way() -> ColumnElement[bool]:
    """Whether a run holds its slots: it is claimed, or rests inside a process for its next try."""
    rests = and_(FLOW_RUN.c.state_type.in_(_RESTS), FLOW_RUN.c.lease.is_not(None))
    return or_(FLOW_RUN.c.state_type.in_(_HELD), rests)


def count_under_way(session: Session, *where: ColumnElement[bool]) -> int:
    """How many such runs there are."""
    counted = select_columns(func.count()).select_from(FLOW_RUN).where(under_way(), *where)
    return int(session.connection().execute(counted).scalar() or 0)


def put(session: Session, kind: str, name: str, slots: int | None, now: datetime, *, other: object = None) -> None:
    """Set the limit of a deployment, a pool or a queue (None: none). Raises NotFound; Invalid for `other` wishes."""
    if other:
        raise Invalid(f"limit {kind}:{name}: it has slots only, no decay; to hold its runs back, pause the {kind}")
    row = _row(session, cast(Kind, kind), name)
    if isinstance(row, DeploymentRow):
        row.concurrency_limit, row.updated = slots, now
    else:
        row.concurrency = slots
    session.add(row)
    session.flush()
    ring(session, RUNS)


def listed(session: Session) -> list[dict[str, Any]]:  # Any: the fields of a status
    """The fields of each such limit."""
    found = []
    for deployment in session.exec(select(DeploymentRow).where(col(DeploymentRow.concurrency_limit).is_not(None))):
        here = (FLOW_RUN.c.deployment == deployment.name,)
        found.append(_fields(session, "deployment", deployment.name, deployment.concurrency_limit, here))
    for pool in session.exec(select(WorkPool).where(col(WorkPool.concurrency).is_not(None))):
        here = (FLOW_RUN.c.work_pool == pool.name,)
        found.append(_fields(session, "work-pool", pool.name, pool.concurrency, here, paused=pool.paused))
    for queue in session.exec(select(WorkQueue).where(col(WorkQueue.concurrency).is_not(None))):
        both = (FLOW_RUN.c.work_pool == queue.pool, FLOW_RUN.c.work_queue == queue.name)
        name = f"{queue.pool}/{queue.name}"
        found.append(_fields(session, "work-queue", name, queue.concurrency, both, paused=queue.paused))
    return found


def _fields(
    session: Session,
    kind: Kind,
    name: str,
    slots: int | None,
    where: tuple[ColumnElement[bool], ...],
    *,
    paused: bool = False,
) -> dict[str, Any]:  # Any: as above
    waits = FLOW_RUN.c.state_name == "AwaitingSlot"
    counted = select_columns(func.count()).select_from(FLOW_RUN).where(waits, FLOW_RUN.c.lease.is_(None), *where)
    waiting = int(session.connection().execute(counted).scalar() or 0)
    taken = count_under_way(session, *where)
    return {"kind": kind, "name": name, "slots": slots, "taken": taken, "waiting": waiting, "paused": paused}


def _row(session: Session, kind: Kind, name: str) -> DeploymentRow | WorkPool | WorkQueue:
    row: DeploymentRow | WorkPool | WorkQueue | None
    match kind:
        case "deployment":
            row = session.get(DeploymentRow, name, with_for_update=True)
        case "work-pool":
            row = session.get(WorkPool, name, with_for_update=True)
        case "work-queue":
            pool, _, queue = name.partition("/")
            row = session.get(WorkQueue, (pool, queue), with_for_update=True)
        case _ as never:
            assert_never(never)
    if row is None:
        how = "POOL/QUEUE, and make the queue first" if kind == "work-queue" else "see `tocsin " + kind + " ls`"
        raise NotFound(f"{kind} {name!r}: there is none of this name; {how}")
    return row

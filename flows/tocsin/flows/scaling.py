"""How many workers a pool wants: its demand, read from the rows, and a pure function that decides."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlmodel import Session

from tocsin.flows.changes import FLOW_RUN
from tocsin.flows.limits_of_runs import count_under_way
from tocsin.flows.pools import get_pool
from tocsin.flows.states import StateType
from tocsin.flows.workers import list_workers

IDLE: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pool has to do now. `waiting`: runs that are due; `oldest_wait`: how long the first of them is.

    `running`: runs that hold a place; `slots_free`: how many more the workers that live could take; `room`: how many
    more the pool lets run at once (None: any number; 0 while it is paused).
    """

    waiting: int
    running: int
    slots_free: int
    oldest_wait: timedelta
    room: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many workers there may be, runs at once in each, and how long more of them stay than are wanted."""

    minimum: int
    maximum: int
    slots: int
    idle: timedelta = IDLE


@dataclass(frozen=True, slots=True)
class Staff:
    """How many workers there shall be; `busy`: when that many were needed last."""

    workers: int
    busy: datetime


def wanted(demand: Demand, bounds: Bounds, staff: Staff, now: datetime) -> Staff:
    """As many workers as waiting and running runs need, at once; fewer only when that was enough for `bounds.idle`."""
    waiting = demand.waiting if demand.room is None else min(demand.waiting, max(0, demand.room))
    needed = -(-(waiting + demand.running) // bounds.slots)
    needed = min(bounds.maximum, max(bounds.minimum, needed))
    if needed >= staff.workers:
        return Staff(needed, now)
    return Staff(needed, now) if now - staff.busy >= bounds.idle else staff


def demand_of(session: Session, pool: str, now: datetime) -> Demand:
    """The demand of the pool. Raises NotFound."""
    row = get_pool(session, pool)
    here = FLOW_RUN.c.work_pool == pool
    due = (
        here,
        FLOW_RUN.c.state_type == StateType.SCHEDULED.value,
        FLOW_RUN.c.lease.is_(None),
        FLOW_RUN.c.scheduled <= now,
    )
    counted = select(func.count(), func.min(FLOW_RUN.c.scheduled)).where(*due)
    waiting, oldest = session.connection().execute(counted).one()
    running = count_under_way(session, here)
    free = sum(worker.slots - worker.at_work for worker in list_workers(session, now, pool=pool) if worker.alive)
    room = None if row.concurrency is None else max(0, row.concurrency - running)
    return Demand(waiting, running, max(0, free), now - oldest if waiting else timedelta(), 0 if row.paused else room)

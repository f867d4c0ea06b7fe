"""Work queues: parts of a pool that can be paused by themselves."""

from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from tocsin.events.chain import OUTSIDE, Cause
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event
from tocsin.flows.changes import RUNS
from tocsin.flows.checks import checked_name
from tocsin.flows.pools import get_pool
from tocsin.flows.tables import WorkQueue
from tocsin.store import log
from tocsin.store.bell import ring
from tocsin.store.engine import insert_new

DEFAULT: Final = "default"
PRIORITY: Final = 100
"""Of a queue that says nothing else."""


def create_queue(
    session: Session,
    pool: str,
    name: str,
    *,
    priority: int | None = None,
    concurrency: int | None = None,
    now: datetime,
) -> WorkQueue:
    """The queue of this name in the pool, made when there is none; `priority` and `concurrency` are changed when given.

    Workers take from the queue of the lowest priority first (default 100); `concurrency`: how many of its runs may be
    under way at once. Raises NotFound for the pool, Invalid for a name or a concurrency below 1.
    """
    get_pool(session, pool)
    checked_name("work queue", name)
    if "/" in name:
        raise Invalid(f"work queue {name!r}: a name holds no slash; it stands behind its pool's: {pool}/{name}")
    if concurrency is not None and concurrency < 1:
        raise Invalid(f"work queue {pool}/{name}: concurrency is 1 or more, or not given for no bound")
    row = {"pool": pool, "name": name, "paused": False, "priority": PRIORITY, "concurrency": None, "created": now}
    if insert_new(session, WorkQueue, [row]):
        log.append(session, [_event("created", pool, name, now)])
    queue = session.get_one(WorkQueue, (pool, name))
    wanted = {"priority": priority, "concurrency": concurrency}
    if changes := {field: value for field, value in wanted.items() if value not in (None, getattr(queue, field))}:
        for field, value in changes.items():
            setattr(queue, field, value)
        session.add(queue)
        session.flush()
        log.append(session, [_event("updated", pool, name, now)])
        ring(session, RUNS)
    return queue


def pause_queue(
    session: Session, pool: str, name: str, *, paused: bool = True, cause: Cause = OUTSIDE, now: datetime
) -> WorkQueue:
    """Workers take nothing more from the queue until it goes on (`paused=False`). Raises NotFound."""
    queue = session.get(WorkQueue, (pool, name), with_for_update=True)
    if queue is None and name == DEFAULT:
        queue = create_queue(session, pool, name, now=now)
    if queue is None:
        get_pool(session, pool)
        known = ", ".join(sorted({DEFAULT, *(found.name for found in list_queues(session, pool))}))
        raise NotFound(f"work queue {pool}/{name}: there is none of this name; known in {pool}: {known}")
    if queue.paused != paused:
        queue.paused = paused
        session.add(queue)
        session.flush()
        log.append(session, [_event("paused" if paused else "resumed", pool, name, now, cause)])
        ring(session, RUNS)
    return queue


def list_queues(session: Session, pool: str) -> list[WorkQueue]:
    """The queues of the pool by name; `default` only when it was ever paused."""
    return list(session.exec(select(WorkQueue).where(WorkQueue.pool == pool).order_by(col(WorkQueue.name))).all())


def _event(what: str, pool: str, name: str, now: datetime, cause: Cause = OUTSIDE) -> Event:
    whole = f"{pool}/{name}"
    return Event(
        id=cause.identity("work-queue", what, pool, name),
        event=f"tocsin.work-queue.{what}",
        occurred=now,
        resource={RESOURCE_ID: f"tocsin.work-queue.{whole}", RESOURCE_NAME: whole, **cause.labels},
        related=[{RESOURCE_ID: f"tocsin.work-pool.{pool}", RESOURCE_NAME: pool, RESOURCE_ROLE: "work-pool"}],
        follows=cause.event,
    )

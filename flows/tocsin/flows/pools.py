"""Work pools: where runs wait for workers."""

from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from tocsin.events.chain import OUTSIDE, Cause
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.flows.changes import RUNS
from tocsin.flows.tables import WorkPool
from tocsin.flows.tasks import checked_name
from tocsin.store import log
from tocsin.store.engine import insert_new, touch

DEFAULT: Final = "default"


def create_pool(session: Session, name: str, *, concurrency: int | None = None, now: datetime) -> WorkPool:
    """The pool of this name, made when there is none; `concurrency` is changed when it is given.

    Raises Invalid for a bad name or a concurrency below 1.
    """
    checked_name("work pool", name)
    if concurrency is not None and concurrency < 1:
        raise Invalid(f"work pool {name}: concurrency is 1 or more, or not given for no bound")
    row = {"name": name, "type": "process", "paused": False, "concurrency": concurrency, "created": now}
    if insert_new(session, WorkPool, [row]):
        log.append(session, [_event("created", name, now)])
    pool = session.get_one(WorkPool, name)
    if concurrency is not None and pool.concurrency != concurrency:
        pool.concurrency = concurrency
        log.append(session, [_event("updated", name, now)])
    touch(session, RUNS)
    return pool


def pause_pool(session: Session, name: str, *, paused: bool = True, cause: Cause = OUTSIDE, now: datetime) -> WorkPool:
    """Workers take nothing more from the pool until it goes on (`paused=False`). Raises NotFound."""
    pool = get_pool(session, name)
    if pool.paused != paused:
        pool.paused = paused
        log.append(session, [_event("paused" if paused else "resumed", name, now, cause)])
        touch(session, RUNS)
    return pool


def get_pool(session: Session, name: str) -> WorkPool:
    """The pool. Raises NotFound naming those that there are."""
    pool = session.get(WorkPool, name)
    if pool is None:
        known = ", ".join(found.name for found in list_pools(session)) or "none"
        raise NotFound(f"work pool {name!r}: there is none of this name; known: {known}")
    return pool


def list_pools(session: Session) -> list[WorkPool]:
    """All pools by name."""
    return list(session.exec(select(WorkPool).order_by(col(WorkPool.name))).all())


def _event(what: str, name: str, now: datetime, cause: Cause = OUTSIDE) -> Event:
    return Event(
        id=cause.identity("work-pool", what, name),
        event=f"tocsin.work-pool.{what}",
        occurred=now,
        resource={RESOURCE_ID: f"tocsin.work-pool.{name}", RESOURCE_NAME: name, **cause.labels},
        follows=cause.event,
    )

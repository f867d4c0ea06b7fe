"""Work pools: where runs wait for workers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlmodel import Session, col, select

from tocsin.events.chain import OUTSIDE, Cause
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.flows.changes import RUNS
from tocsin.flows.checks import checked_name
from tocsin.flows.infrastructure import template_of
from tocsin.flows.tables import WorkPool
from tocsin.store import log
from tocsin.store.bell import ring
from tocsin.store.engine import insert_new

DEFAULT: Final = "default"


PROCESS: Final = "process"


def create_pool(
    session: Session,
    name: str,
    *,
    kind: str | None = None,
    template: Mapping[str, Any] | None = None,  # Any: JSON, which the type's model checks
    concurrency: int | None = None,
    now: datetime,
) -> WorkPool:
    """The pool of this name, made when there is none; `template` and `concurrency` are changed when they are given.

    `kind`: its type, where its runs run (default: `process`); a pool keeps it. `template`: the choices of that type
    (`tocsin.flows.infrastructure`). Raises Invalid for a bad name, type, template or a concurrency below 1.
    """
    checked_name("work pool", name)
    if concurrency is not None and concurrency < 1:
        raise Invalid(f"work pool {name}: concurrency is 1 or more, or not given for no bound")
    known = session.get(WorkPool, name)
    if kind is not None and known is not None and kind != known.type:
        raise Invalid(f"work pool {name}: it is of type {known.type} and stays so; make another one for type {kind}")
    kind = kind or (known.type if known else PROCESS)
    if template is not None or known is None:
        template = template_of(kind, template).model_dump(mode="json", exclude_unset=True)
    row = {"name": name, "type": kind, "template": template or {}, "paused": False, "concurrency": concurrency}
    if insert_new(session, WorkPool, [row | {"created": now}]):
        log.append(session, [_event("created", name, now)])
    pool = session.get_one(WorkPool, name)
    wanted = {"concurrency": concurrency, "template": template}
    if known is not None and (changes := {k: v for k, v in wanted.items() if v not in (None, getattr(pool, k))}):
        for field, value in changes.items():
            setattr(pool, field, value)
        log.append(session, [_event("updated", name, now)])
    ring(session, RUNS)
    return pool


def pause_pool(session: Session, name: str, *, paused: bool = True, cause: Cause = OUTSIDE, now: datetime) -> WorkPool:
    """Workers take nothing more from the pool until it goes on (`paused=False`). Raises NotFound."""
    pool = get_pool(session, name)
    if pool.paused != paused:
        pool.paused = paused
        log.append(session, [_event("paused" if paused else "resumed", name, now, cause)])
        ring(session, RUNS)
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

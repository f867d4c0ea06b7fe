"""The cache from outside: what is in it, and taking things out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete
from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.flows.cache_tables import CacheFlight
from tocsin.flows.tables import CacheEntry


def list_entries(
    session: Session, now: datetime, *, task: str | None = None, expired: bool | None = None, limit: int = 50
) -> Sequence[CacheEntry]:
    """Entries, newest first: of one task, only those that have expired (or have not)."""
    statement = select(CacheEntry).where(*_of(task))
    if expired is not None:
        statement = statement.where(_over(now) if expired else ~_over(now))
    return session.exec(statement.order_by(col(CacheEntry.created).desc()).limit(limit)).all()


def get_entry(session: Session, key: str) -> CacheEntry:
    """The entry of a key, or of the only key that begins so. Raises NotFound, and Invalid when several do."""
    if (entry := session.get(CacheEntry, key)) is not None:
        return entry
    begins = col(CacheEntry.key).startswith(key, autoescape=True)
    match session.exec(select(CacheEntry).where(begins).limit(2)).all():
        case [entry]:
            return entry
        case []:
            raise NotFound(f"nothing is cached under the key {key!r}; `tocsin cache ls` lists the keys")
        case _:
            raise Invalid(f"several keys begin with {key!r}; give more of it")


def list_flights(session: Session) -> Sequence[CacheFlight]:
    """What is being computed, the longest under way first."""
    return session.exec(select(CacheFlight).order_by(col(CacheFlight.since))).all()


def clear(
    session: Session,
    now: datetime,
    *,
    key: str | None = None,
    task: str | None = None,
    expired: bool = False,
    everything: bool = False,
) -> int:
    """Take out what fits all that is given; how many. The files stay until nothing refers to them (`cache_sweep`).

    Raises Invalid when nothing is given, NotFound for a key that is not there.
    """
    if key is None and task is None and not expired and not everything:
        raise Invalid("what to clear? Give a key, a task, expired, or all")
    chosen: list[ColumnElement[bool]] = _of(task)
    if key is not None:
        chosen.append(col(CacheEntry.key) == get_entry(session, key).key)
    if expired:
        chosen.append(_over(now))
    # Any: what a driver tells of a statement
    done: Any = session.connection().execute(delete(CacheEntry).where(*chosen))
    return int(done.rowcount)


def _of(task: str | None) -> list[ColumnElement[bool]]:
    return [] if task is None else [col(CacheEntry.task_key) == task]


def _over(now: datetime) -> ColumnElement[bool]:
    return col(CacheEntry.expires).is_not(None) & (col(CacheEntry.expires) <= now)

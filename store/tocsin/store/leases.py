"""Leases: one holder at a time, taken over when it falls silent, told apart by a fence that only grows."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, cast

from sqlalchemy import ColumnElement, CursorResult, update
from sqlmodel import Session, col

from tocsin.store import tables
from tocsin.store.engine import insert_new

LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of `owner` to `name` until `expires`. Work done under it is refused once `fence` has moved on."""

    name: str
    owner: str
    fence: int
    expires: datetime


def acquire(session: Session, name: str, owner: str, now: datetime, ttl: timedelta) -> Lease | None:
    """The lease for `owner`: taken when it is free or over, renewed when it is its own; None while another holds it."""
    expires = now + ttl
    if insert_new(session, tables.Lease, [{"name": name, "owner": owner, "fence": 1, "expires": expires}]):
        return Lease(name, owner, 1, expires)
    row = session.get_one(tables.Lease, name, with_for_update=True, populate_existing=True)
    if row.owner != owner:
        if row.expires > now:
            return None
        row.owner, row.fence = owner, row.fence + 1
    row.expires = expires
    session.add(row)
    session.flush()
    return Lease(name, owner, row.fence, expires)


def renew(session: Session, lease: Lease, now: datetime, ttl: timedelta) -> Lease | None:
    """The lease with a later end, or None when it has gone to somebody else."""
    statement = update(tables.Lease).where(*_held(lease)).values(expires=now + ttl)
    renewed = cast(CursorResult[tuple[()]], session.connection().execute(statement))
    return Lease(lease.name, lease.owner, lease.fence, now + ttl) if renewed.rowcount else None


def release(session: Session, lease: Lease) -> None:
    """Free the lease at once, if it is still held; its fence stays, so the next holder has a higher one."""
    session.connection().execute(update(tables.Lease).where(*_held(lease)).values(expires=LONG_AGO))


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    table = tables.Lease
    return col(table.name) == lease.name, col(table.owner) == lease.owner, col(table.fence) == lease.fence

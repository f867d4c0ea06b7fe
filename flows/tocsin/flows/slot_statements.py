"""The statements by which slots are taken and given back, built once: building them costs more than running them.

Parameters: `keys` of limits, `key` of one, `tickets`, `now`, `count`.
"""

from typing import Any, Final

from sqlalchemy import BindParameter, ColumnElement, bindparam, delete, exists, func, select
from sqlmodel import SQLModel, col

from tocsin.flows.limit_tables import ConcurrencyLimit, ConcurrencySlot
from tocsin.store import tables
from tocsin.store.types import UtcDateTime

LIMIT: Final = SQLModel.metadata.tables[str(ConcurrencyLimit.__tablename__)]
SLOT: Final = SQLModel.metadata.tables[str(ConcurrencySlot.__tablename__)]


def is_alive(now: Any) -> ColumnElement[bool]:  # Any: a time, or the parameter of one
    """Whether the holder's lease is, for queries of slots."""
    lease = tables.Lease
    return exists().where(col(lease.name) == SLOT.c.lease, col(lease.expires) > now)


# Any below: lists of values.
_KEYS: Final[BindParameter[Any]] = bindparam("keys", expanding=True)
_TICKETS: Final[BindParameter[Any]] = bindparam("tickets", expanding=True)
_NOW: Final = bindparam("now", type_=UtcDateTime)
_ALIVE: Final = is_alive(_NOW)
_WAITS: Final = (SLOT.c.limit_key == bindparam("key"), SLOT.c.taken.is_(None), SLOT.c.fresh > _NOW, _ALIVE)
_IN_ORDER: Final = (SLOT.c.nested.desc(), SLOT.c.asked, SLOT.c.ticket)  # as `slot_rules.in_order`

LIMITS: Final = select(LIMIT).where(LIMIT.c.key.in_(_KEYS)).order_by(LIMIT.c.key)
LOCKED_LIMITS: Final = LIMITS.with_for_update()
PLACES_OF: Final = select(SLOT.c.ticket, SLOT.c.limit_key, SLOT.c.taken).where(SLOT.c.ticket.in_(_TICKETS))
COUNTS_OF: Final = (
    select(SLOT.c.limit_key, func.sum(SLOT.c.slots)).where(SLOT.c.ticket.in_(_TICKETS)).group_by(SLOT.c.limit_key)
)
HELD: Final = (
    select(SLOT.c.limit_key, _ALIVE.label("alive"), func.sum(SLOT.c.slots))
    .where(SLOT.c.limit_key.in_(_KEYS), SLOT.c.taken.is_not(None))
    .group_by(SLOT.c.limit_key, _ALIVE)
)
AHEAD: Final = (
    select(SLOT.c.ticket, SLOT.c.limit_key, SLOT.c.slots, SLOT.c.asked, SLOT.c.nested)
    .where(*_WAITS)
    .order_by(*_IN_ORDER)
    .limit(bindparam("count"))
)
NEXT: Final = select(SLOT.c.lease).where(*_WAITS).order_by(*_IN_ORDER).limit(bindparam("count"))
REMOVE: Final = delete(SLOT).where(SLOT.c.ticket.in_(_TICKETS))
REMOVE_DEAD: Final = delete(SLOT).where(SLOT.c.limit_key.in_(_KEYS), SLOT.c.taken.is_not(None), ~_ALIVE)

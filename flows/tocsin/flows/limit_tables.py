"""The tables of limits: what there is, and who holds it or waits for it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel

import tocsin.store.tables  # noqa: F401 - sets how constraints are named
from tocsin.store.types import Json, UtcDateTime


class ConcurrencyLimit(SQLModel, table=True):
    """A limit; `key` is `kind:name`. With `decay` (slots a second) a rate: `level` was used up at `level_at`.

    `waits` counts takers that had to wait, `waited_ms` how long all of them together did.
    """

    __tablename__ = "concurrency_limit"

    key: str = Field(primary_key=True)
    kind: str
    name: str
    slots: int
    decay: float | None = None
    paused: bool = False
    level: float = 0.0
    level_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    waits: int = Field(default=0, sa_type=BigInteger)
    waited_ms: int = Field(default=0, sa_type=BigInteger)
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)


class ConcurrencySlot(SQLModel, table=True):
    """Slots of one limit under one ticket: held from `taken` on, waited for since `asked` when that is None.

    They are held while the lease is alive. Who waits says so again and again: `fresh` is until when it counts.
    `holder` tells people who it is; `flow_run_id`: in which flow run.
    """

    __tablename__ = "concurrency_slot"
    __table_args__ = (Index(None, "ticket"), Index(None, "lease"), Index(None, "flow_run_id"))

    limit_key: str = Field(primary_key=True)
    ticket: UUID = Field(primary_key=True)
    slots: int
    lease: str
    flow_run_id: UUID | None = None
    nested: bool = False
    asked: datetime = Field(sa_type=UtcDateTime)
    fresh: datetime = Field(sa_type=UtcDateTime)
    taken: datetime | None = Field(default=None, sa_type=UtcDateTime)
    holder: dict[str, Any] = Field(default_factory=dict, sa_type=Json)  # Any: JSON

"""The tables of this room: schedules, sources."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

# The store's tables first: they set how constraints and indexes are named.
import tocsin.store.tables
import tocsin.triggers.hook_tables  # noqa: F401 - named here, so that a new database gets it
from tocsin.store.types import Json, UtcDateTime

# Any in the Json columns: a definition's and a flow's own JSON.


class Schedule(SQLModel, table=True):
    """A schedule and how far it has come; the only truth about it.

    Every occurrence up to `cursor` has been told as a tick or as skipped; `previous_at` is the last of them, `next_at`
    when the first one after it is sent (none: there is no more). `catchup` and `window_s`: what becomes of late ticks;
    `overlap`: what becomes of a tick's run while an earlier one of this schedule is not finished. `version` grows with
    every edit. `declared` is what its deployment last asked `active` to be: a redeploy that says the same again leaves
    alone what a person has paused since.
    """

    __tablename__ = "schedule"
    __table_args__ = (Index(None, "active", "next_at"),)

    slug: str = Field(primary_key=True)
    kind: str
    spec: dict[str, Any] = Field(sa_type=Json)
    timezone: str
    active: bool = True
    declared: bool | None = None
    catchup: str = "latest"
    window_s: float | None = None
    overlap: str = "allow"
    deployment: str | None = Field(default=None, index=True)
    parameters: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    cursor: datetime = Field(sa_type=UtcDateTime)
    previous_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    next_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    version: int = 1
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)


class Source(SQLModel, table=True):
    """A source on record as its JSON document; how far it has come is in its positions."""

    __tablename__ = "source"

    name: str = Field(primary_key=True)
    spec: dict[str, Any] = Field(sa_type=Json)
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)

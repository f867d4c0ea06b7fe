"""The tables of this room: automations, the state of their triggers, firings, and the ledger of invocations."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

# The store's tables first: they set how constraints and indexes are named.
import tocsin.store.tables  # noqa: F401
from tocsin.store.types import Json, UtcDateTime


class StoredAutomation(SQLModel, table=True):
    """An automation as it was applied; `digest` tells whether an apply changes anything."""

    __tablename__ = "automation"

    name: str = Field(primary_key=True)
    enabled: bool
    digest: str
    # Any: the JSON form of `tocsin.automations.model.Automation`, secrets sealed.
    definition: dict[str, Any] = Field(sa_type=Json)
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)


class Rulebook(SQLModel, table=True):
    """One row: how often the automations changed. A host that sees another number loads them again."""

    __tablename__ = "rulebook"

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    revision: int = 0


class TriggerState(SQLModel, table=True):
    """What one automation remembers under one key; `open_firing` is the firing that waits for its resolve.

    `version` grows with each write: two hosts that read the same state cannot both go on from it.
    """

    __tablename__ = "trigger_state"

    id: UUID = Field(primary_key=True)
    automation: str = Field(index=True)
    key: list[str] = Field(sa_type=Json)
    # Any: the JSON form of `tocsin.automations.episode.State`.
    state: dict[str, Any] = Field(sa_type=Json)
    open_firing: UUID | None = Field(default=None, index=True)
    version: int = 1
    updated: datetime = Field(sa_type=UtcDateTime)


class StoredFiring(SQLModel, table=True):
    """That an automation fired, or that what it fired for is over. `at` is event time, `recorded` the host's clock."""

    __tablename__ = "firing"
    __table_args__ = (Index(None, "automation", "at"),)

    id: UUID = Field(primary_key=True)
    automation: str
    key: list[str] = Field(sa_type=Json)
    state: str
    episode: UUID = Field(index=True)
    at: datetime = Field(sa_type=UtcDateTime)
    recorded: datetime = Field(sa_type=UtcDateTime, index=True)
    event_id: UUID = Field(index=True)
    count: int
    labels: dict[str, str] = Field(sa_type=Json)


class StoredInvocation(SQLModel, table=True):
    """One action of one firing, fully rendered: the ledger of what was done.

    `state` is due, done or failed; a due row may be claimed when `due` has come and no lease is running.
    """

    __tablename__ = "invocation"
    __table_args__ = (Index(None, "state", "due"),)

    id: UUID = Field(primary_key=True)
    firing_id: UUID = Field(index=True)
    automation: str = Field(index=True)
    position: int
    action: str
    # Any: what the action needs, rendered, JSON.
    arguments: dict[str, Any] = Field(sa_type=Json)
    # Any: what its outcome event tells: the causing event's id, its resource, the depth.
    cause: dict[str, Any] = Field(sa_type=Json)
    state: str
    due: datetime = Field(sa_type=UtcDateTime)
    tries: int = 0
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    # Any: one object an attempt: at, outcome, reason, status.
    attempts: list[dict[str, Any]] = Field(default_factory=list, sa_type=Json)
    reason: str | None = Field(default=None, sa_type=Text)
    finished: datetime | None = Field(default=None, sa_type=UtcDateTime)

"""The tables of this room: automations, the state of their triggers, firings, the ledger of invocations, traces."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field, SQLModel

# The store's tables first: they set how constraints and indexes are named.
import tocsin.store.tables  # noqa: F401
from tocsin.store.types import Json, Sequence, UtcDateTime


class StoredAutomation(SQLModel, table=True):
    """An automation as it was applied; `digest` tells whether an apply changes anything, `revision` when it did."""

    __tablename__ = "automation"

    name: str = Field(primary_key=True)
    enabled: bool
    digest: str
    # Any: the JSON form of `tocsin.automations.model.Automation`, secrets sealed.
    definition: dict[str, Any] = Field(sa_type=Json)
    revision: int = Field(default=0, index=True)
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)


class Rulebook(SQLModel, table=True):
    """One row: how often the automations changed. A host that sees another number loads them again."""

    __tablename__ = "rulebook"

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    revision: int = 0


class RemovedAutomation(SQLModel, table=True):
    """That there was an automation of this name, and at which revision it went: a host learns of it here."""

    __tablename__ = "automation_removed"

    name: str = Field(primary_key=True)
    revision: int = Field(index=True)


class TriggerState(SQLModel, table=True):
    """What one automation remembers under one key; `open_firing` is the firing that waits for its resolve, `due` the
    instant (microseconds since 1970) when it must next be told the time.

    `version` grows with each write: two hosts that read the same state cannot both go on from it.
    """

    __tablename__ = "trigger_state"

    id: UUID = Field(primary_key=True)
    automation: str = Field(index=True)
    key: list[str] = Field(sa_type=Json)
    # Any: the JSON form of `tocsin.automations.episode.State`.
    state: dict[str, Any] = Field(sa_type=Json)
    open_firing: UUID | None = Field(default=None, index=True)
    due: int | None = Field(default=None, sa_type=BigInteger, index=True)
    version: int = 1
    updated: datetime = Field(sa_type=UtcDateTime)


class StoredFiring(SQLModel, table=True):
    """That an automation fired, or that what it fired for is over. `at` is event time, `recorded` the host's clock.

    `event_id` is the cause; a deadline has none. `lasting`: it opens an episode that waits for its end.
    """

    __tablename__ = "firing"
    __table_args__ = (Index(None, "automation", "at"),)

    id: UUID = Field(primary_key=True)
    automation: str
    key: list[str] = Field(sa_type=Json)
    state: str
    episode: UUID = Field(index=True)
    at: datetime = Field(sa_type=UtcDateTime)
    recorded: datetime = Field(sa_type=UtcDateTime, index=True)
    event_id: UUID | None = Field(default=None, index=True)
    count: int
    labels: dict[str, str] = Field(sa_type=Json)
    # Any: the JSON form of `tocsin.triggers.steps.Part`.
    children: list[dict[str, Any]] = Field(default_factory=list, sa_type=Json)
    late: bool = False
    lasting: bool = False


class StoredInvocation(SQLModel, table=True):
    """One action of one firing, fully rendered: the ledger of what was done.

    `state` is due, done or failed; a due row may be claimed when `due` has come and no lease is running. `ordinal` is
    the place of its firing among those that were recorded with it, `position` that of the action in its automation.
    """

    __tablename__ = "invocation"
    __table_args__ = (Index(None, "state", "due"),)

    id: UUID = Field(primary_key=True)
    firing_id: UUID = Field(index=True)
    automation: str = Field(index=True)
    position: int
    ordinal: int = 0
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


class StoredEvaluation(SQLModel, table=True):
    """That an event concerned an automation and fired nothing, and why. The newest of each automation are kept."""

    __tablename__ = "evaluation"
    __table_args__ = (Index(None, "automation", "seq"),)

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    automation: str
    key: list[str] = Field(sa_type=Json)
    event_id: UUID = Field(index=True)
    at: datetime = Field(sa_type=UtcDateTime)
    outcome: str
    # Any: the JSON form of `tocsin.triggers.steps.Verdict`.
    verdict: dict[str, Any] = Field(sa_type=Json)


class Tally(SQLModel, table=True):
    """How often an automation was concerned, fired and failed, and when last; under no name: all events evaluated."""

    __tablename__ = "tally"

    automation: str = Field(primary_key=True)
    concerned: int = Field(default=0, sa_type=BigInteger)
    fired: int = Field(default=0, sa_type=BigInteger)
    late: int = Field(default=0, sa_type=BigInteger)
    errors: int = Field(default=0, sa_type=BigInteger)
    last_concerned: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_fired: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error: str | None = Field(default=None, sa_type=Text)

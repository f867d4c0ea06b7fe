"""The notifiers' tables: who can be told, what there is to tell, and what has been told."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

import tocsin.store.tables  # noqa: F401 - sets how constraints are named, before any table here is made
from tocsin.store.types import Json, UtcDateTime


class NotifierRow(SQLModel, table=True):
    """A notifier block: what may be shown in `config`, the rest sealed in `secrets`."""

    __tablename__ = "notifier"

    name: str = Field(primary_key=True)
    kind: str
    config: dict[str, Any] = Field(sa_type=Json)  # Any: the block's own public fields
    secrets: str = Field(sa_type=Text)
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)


class Incident(SQLModel, table=True):
    """One episode of a key: from the firing that opened it to the one that said it is over.

    `revision` counts what there is to tell; `event_id` is the event of the last trigger, `resolved_by` that of the
    resolve. One that does not last is closed as soon as it is opened, and owes nobody a resolve.
    """

    __tablename__ = "incident"
    __table_args__ = (
        UniqueConstraint("key_id", "episode"),
        Index(
            "ix_incident_one_open",
            "key_id",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        Index(None, "state", "opened"),
    )

    id: UUID = Field(primary_key=True)
    key_id: UUID
    key: str = Field(sa_type=Text)
    episode: int
    state: str
    lasting: bool = True
    revision: int
    severity: str
    subject: str = Field(sa_type=Text)
    labels: dict[str, str] = Field(sa_type=Json)
    dedup_key: str
    depth: int = 0
    chain: str = Field(default="", sa_type=Text)
    opened: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)
    resolved: datetime | None = Field(default=None, sa_type=UtcDateTime)
    event_id: UUID
    resolved_by: UUID | None = None


class Delivery(SQLModel, table=True):
    """The outbox: this receiver must learn that revision of that incident.

    `due` is when the next try may begin; while one is under way (`sending`, owned by `lease`) it is when the lease is
    over. `since` is when the receiver began to wait, also through revisions that superseded each other. `maybe_told`
    says that some try may have arrived.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("incident_id", "receiver", "revision"),
        Index(
            "ix_delivery_live",
            "receiver",
            "due",
            sqlite_where=text("state IN ('pending', 'sending', 'unknown')"),
            postgresql_where=text("state IN ('pending', 'sending', 'unknown')"),
        ),
    )

    id: UUID = Field(primary_key=True)
    incident_id: UUID = Field(foreign_key="incident.id")
    receiver: str
    revision: int
    action: str
    state: str
    due: datetime = Field(sa_type=UtcDateTime)
    lease: UUID | None = None
    tries: int = 0
    minimal: bool = False
    maybe_told: bool = False
    since: datetime = Field(sa_type=UtcDateTime)
    view: dict[str, Any] = Field(sa_type=Json)  # Any: a View as JSON
    handle: dict[str, Any] | None = Field(default=None, sa_type=Json)  # Any: the channel's own
    reason: str | None = Field(default=None, sa_type=Text)
    updated: datetime = Field(sa_type=UtcDateTime)


class Attempt(SQLModel, table=True):
    """One try, as it went. Rows are added, never changed; a test message has no delivery."""

    __tablename__ = "attempt"
    __table_args__ = (Index(None, "delivery_id", "at"), Index(None, "receiver", "at"))

    id: UUID = Field(primary_key=True)
    delivery_id: UUID | None = Field(default=None, foreign_key="delivery.id")
    receiver: str
    action: str
    at: datetime = Field(sa_type=UtcDateTime)
    outcome: str
    status: int | None = None
    took_ms: int
    size: int
    reason: str | None = Field(default=None, sa_type=Text)


class ReceiverState(SQLModel, table=True):
    """What a receiver asked for: leave me alone until `not_before`. A restart does not forget it."""

    __tablename__ = "receiver_state"

    receiver: str = Field(primary_key=True)
    not_before: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reason: str | None = Field(default=None, sa_type=Text)

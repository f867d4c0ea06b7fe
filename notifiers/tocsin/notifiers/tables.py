"""The notifiers' tables: who can be told, what there is to tell, and what has been told."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

# The room's other tables are named here, so that a new database gets them.
import tocsin.notifiers.channel_tables
import tocsin.notifiers.routing_tables
import tocsin.notifiers.tally_tables
import tocsin.store.tables  # noqa: F401 - sets how constraints are named, before any table here is made
from tocsin.notifiers.case import LIVE
from tocsin.store.partial import some
from tocsin.store.types import Json, UtcDateTime

_DUE = text("due IS NOT NULL")


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
    """One episode of a group on a route, or of a key without one: from the alert that opened it to its end.

    `revision` counts what was said; `event_id` is the event of the last firing, `resolved_by` that of the end, or
    `closed_by` the person. `node` is the policy, `due` when something follows although nothing comes; the columns from
    `firing` to `was` are a `Case`. `storms` names the storm incidents that speak for it: receiver to id. News that
    nothing resolves (`lasting` false) is closed as soon as it is told, and owes nobody a resolve.
    """

    __tablename__ = "incident"
    __table_args__ = (
        UniqueConstraint("key_id", "episode"),
        some("ix_incident_one_open", ("key_id",), "state", LIVE, unique=True),
        Index("ix_incident_due", "due", sqlite_where=_DUE, postgresql_where=_DUE),
        Index(None, "state", "opened"),
    )

    id: UUID = Field(primary_key=True)
    key_id: UUID
    key: str = Field(sa_type=Text)
    episode: int
    route: str = ""
    node: dict[str, Any] = Field(default_factory=dict, sa_type=Json)  # Any: a Node as JSON
    grouped: dict[str, str] = Field(default_factory=dict, sa_type=Json)
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
    closed_by: str = ""
    due: datetime | None = Field(default=None, sa_type=UtcDateTime)
    firing: int = 0
    news: bool = False
    said: datetime | None = Field(default=None, sa_type=UtcDateTime)
    wait_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    settle_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    repeat_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    escalate_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ack_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    level: int = 0
    rounds: int = 0
    flaps: list[str] = Field(default_factory=list, sa_type=Json)
    flapping: bool = False
    suppressed: str | None = Field(default=None, sa_type=Text)
    muted_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    acked_by: str = ""
    was: str = "open"
    storms: dict[str, str] = Field(default_factory=dict, sa_type=Json)


class AlertRow(SQLModel, table=True):
    """What is known of one thing in one incident.

    `status` is firing, resolved, closed (by a person) or news. It fires since `starts`; `fired` and `event_id` are of
    the last firing, `ended_by` is the event of the end. `words` are what single receivers are told instead of
    `subject` and `body`: receiver to event, subject and body.
    """

    __tablename__ = "alert"
    __table_args__ = (
        some("ix_alert_held", ("fingerprint",), "status", ("firing", "closed")),
        some("ix_alert_newest", ("incident_id", "starts"), "status", ("firing",)),
    )

    incident_id: UUID = Field(primary_key=True, foreign_key="incident.id")
    fingerprint: UUID = Field(primary_key=True)
    identity: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    status: str
    severity: str
    subject: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    labels: dict[str, str] = Field(sa_type=Json)
    items: list[str] = Field(sa_type=Json)
    total: int
    words: dict[str, list[str]] = Field(sa_type=Json)
    event_id: UUID
    ended_by: UUID | None = None
    starts: datetime = Field(sa_type=UtcDateTime)
    fired: datetime = Field(sa_type=UtcDateTime)
    ends: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Delivery(SQLModel, table=True):
    """The outbox: this receiver must learn that revision of that incident.

    `due` is when the next try may begin; while one is under way (`sending`, owned by `lease`) it is when the lease is
    over. `since` is when the receiver began to wait, also through revisions that superseded each other. `maybe_told`
    says that some try may have arrived.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("incident_id", "receiver", "revision"),
        some("ix_delivery_calls", ("receiver", "since"), "action", ("trigger",)),
        some("ix_delivery_live", ("receiver", "due"), "state", ("pending", "sending", "unknown")),
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
    """One try, as it went. Rows are added, never changed; a test message has no delivery.

    `waited_ms` is how long it was due before its turn came: the receiver's rate, or others in front of it.
    """

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
    waited_ms: int = 0
    size: int
    reason: str | None = Field(default=None, sa_type=Text)


class ReceiverState(SQLModel, table=True):
    """What a receiver asked for: leave me alone until `not_before`. A restart does not forget it."""

    __tablename__ = "receiver_state"

    receiver: str = Field(primary_key=True)
    not_before: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reason: str | None = Field(default=None, sa_type=Text)

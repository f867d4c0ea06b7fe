"""Tables of routing and suppression: routes, mute windows, inhibitions, silences."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

import tocsin.store.tables  # noqa: F401 - sets how constraints are named, before any table here is made
from tocsin.store.types import Json, UtcDateTime

# Any, in this file: a definition as JSON.


class RouteRow(SQLModel, table=True):
    """A tree of routes, by the name of its root, as people wrote it."""

    __tablename__ = "route"

    name: str = Field(primary_key=True)
    definition: dict[str, Any] = Field(sa_type=Json)
    updated: datetime = Field(sa_type=UtcDateTime)


class MuteWindowRow(SQLModel, table=True):
    """A mute window that routes may name."""

    __tablename__ = "mute_window"

    name: str = Field(primary_key=True)
    definition: dict[str, Any] = Field(sa_type=Json)
    updated: datetime = Field(sa_type=UtcDateTime)


class InhibitionRow(SQLModel, table=True):
    """An inhibition by name."""

    __tablename__ = "inhibition"

    name: str = Field(primary_key=True)
    definition: dict[str, Any] = Field(sa_type=Json)
    updated: datetime = Field(sa_type=UtcDateTime)


class HoldRow(SQLModel, table=True):
    """That an alert of an incident keeps others quiet as long as it fires: by which inhibition, at which values.

    `both`: it is itself one of those that the inhibition is about.
    """

    __tablename__ = "inhibitor"

    incident_id: UUID = Field(primary_key=True)
    fingerprint: UUID = Field(primary_key=True)
    rule: str = Field(primary_key=True)
    key: str = Field(sa_type=Text)
    both: bool


class SilenceRow(SQLModel, table=True):
    """A silence: which alerts are kept quiet, from when until when. `expired` is when a person ended it early."""

    __tablename__ = "silence"
    __table_args__ = (Index(None, "ends"),)

    id: UUID = Field(primary_key=True)
    matchers: list[dict[str, str]] = Field(sa_type=Json)
    starts: datetime = Field(sa_type=UtcDateTime)
    ends: datetime = Field(sa_type=UtcDateTime)
    author: str
    comment: str = Field(sa_type=Text)
    created: datetime = Field(sa_type=UtcDateTime)
    expired: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RoutingStamp(SQLModel, table=True):
    """One row: another value with every change of the tables above, so that what was read of them can be kept."""

    __tablename__ = "routing_stamp"

    name: str = Field(primary_key=True)
    stamp: UUID

"""What channels keep beside deliveries: secrets by name, the pace of each, and the last word that came in."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

import tocsin.store.tables  # noqa: F401 - sets how constraints are named, before any table here is made
from tocsin.store.types import UtcDateTime


class Heard(SQLModel, table=True):
    """The newest word about an incident that a channel's own people have sent: older ones, and repeats, say nothing."""

    __tablename__ = "heard"

    receiver: str = Field(primary_key=True)
    incident_id: UUID = Field(primary_key=True, foreign_key="incident.id")
    word: str
    occurred: datetime = Field(sa_type=UtcDateTime)


class Pace(SQLModel, table=True):
    """When a receiver may be spoken to next under its rate; for every dispatcher, and after a restart too."""

    __tablename__ = "pace"

    receiver: str = Field(primary_key=True)
    free: datetime = Field(sa_type=UtcDateTime)

"""The tables that every room uses: the log, positions of its readers, leases, secrets."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from tocsin.store.types import Sequence, UtcDateTime

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class LogEntry(SQLModel, table=True):
    """One event in the order in which it became true; written in the transaction of the change that it tells.

    An id stands once a topic: whoever guesses the id of an event of ours and sends it first from outside takes nothing
    from it.
    """

    __tablename__ = "log"
    __table_args__ = (
        UniqueConstraint("id", "topic"),
        Index(None, "event", "seq"),
        Index(None, "key", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: int | None = Field(default=None, primary_key=True, sa_type=Sequence)
    id: UUID
    topic: str
    key: str
    event: str
    occurred: datetime = Field(sa_type=UtcDateTime)
    recorded: datetime = Field(sa_type=UtcDateTime)
    body: bytes = Field(sa_type=LargeBinary)


class Position(SQLModel, table=True):
    """How far a group of readers has come on one partition of a stream: the first offset not yet handled."""

    __tablename__ = "position"

    consumer: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    partition: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    next_offset: int = Field(sa_type=BigInteger)


class Lease(SQLModel, table=True):
    """Who may do a thing until when; `fence` grows with every change of hands."""

    __tablename__ = "lease"

    name: str = Field(primary_key=True)
    owner: str
    fence: int = Field(sa_type=BigInteger)
    expires: datetime = Field(sa_type=UtcDateTime)


class SecretRow(SQLModel, table=True):
    """A secret by name, sealed (`tocsin.store.vault`)."""

    __tablename__ = "secret"

    name: str = Field(primary_key=True)
    sealed: str = Field(sa_type=Text)
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)

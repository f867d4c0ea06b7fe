"""The table of variables: values by name that flows and deployments share."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

# The store's tables first: they set how constraints and indexes are named.
import tocsin.store.tables  # noqa: F401
from tocsin.store.types import Json, UtcDateTime


class VariableRow(SQLModel, table=True):
    """A value by name, as JSON. `written`: the request that wrote it last."""

    __tablename__ = "variable"

    name: str = Field(primary_key=True)
    value: str = Field(sa_type=Text)
    tags: list[str] = Field(default_factory=list, sa_type=Json)
    written: UUID
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)

"""The tables of blocks: configuration by type and name, with sealed secrets in it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

# The store's tables first: they set how constraints and indexes are named.
import tocsin.store.tables  # noqa: F401
from tocsin.store.types import Json, UtcDateTime


class BlockRow(SQLModel, table=True):
    """A block. `document`: its fields as JSON, secrets sealed; `written`: the request that wrote it last."""

    __tablename__ = "block"

    type: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    document: str = Field(sa_type=Text)
    written: UUID
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)


class BlockTypeRow(SQLModel, table=True):
    """A class of blocks: `entrypoint` says where its code is, `fields` is the JSON schema, for show."""

    __tablename__ = "block_type"

    slug: str = Field(primary_key=True)
    entrypoint: str
    description: str = Field(default="", sa_type=Text)
    # Any: a JSON schema.
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    updated: datetime = Field(sa_type=UtcDateTime)

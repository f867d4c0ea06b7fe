"""The table of hooks."""

from datetime import datetime
from typing import Any

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

# The store's tables first: they set how constraints and indexes are named.
import tocsin.store.tables  # noqa: F401
from tocsin.store.types import Json, UtcDateTime


class HookRow(SQLModel, table=True):
    """A hook: its definition with masked secrets in `config`, the secrets sealed in `secrets`."""

    __tablename__ = "hook"

    name: str = Field(primary_key=True)
    config: dict[str, Any] = Field(sa_type=Json)  # Any: the definition as JSON
    secrets: str = Field(sa_type=Text)
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)

"""The table of artifacts: what runs leave for people to look at."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

# The store's tables first: they set how constraints and indexes are named.
import tocsin.store.tables  # noqa: F401
from tocsin.store.types import Json, UtcDateTime


class ArtifactRow(SQLModel, table=True):
    """One version of an artifact. `body` is JSON; a large one is kept where `reference` says, with the results."""

    __tablename__ = "artifact"
    __table_args__ = (Index(None, "key", "created"), Index(None, "created"))

    id: UUID = Field(primary_key=True)
    key: str | None = None
    type: str
    description: str = Field(default="", sa_type=Text)
    body: str | None = Field(default=None, sa_type=Text)
    # Any: what `tocsin.flows.results.fetch` reads.
    reference: dict[str, Any] | None = Field(default=None, sa_type=Json)
    size: int
    flow_run_id: UUID | None = Field(default=None, index=True)
    task_run_id: UUID | None = Field(default=None, index=True)
    created: datetime = Field(sa_type=UtcDateTime)
    updated: datetime = Field(sa_type=UtcDateTime)

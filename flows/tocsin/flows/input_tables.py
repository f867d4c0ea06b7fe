"""The table of what runs ask people for while they are paused."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Field, SQLModel

from tocsin.store.types import Json, UtcDateTime


class RunInput(SQLModel, table=True):
    """A place in a flow run at which it asked for input, and the `input` that it was given when it was resumed.

    Whoever runs the flow again finds it under the same `key`, and does not ask a second time.
    """

    __tablename__ = "flow_run_input"

    flow_run_id: UUID = Field(primary_key=True)
    key: str = Field(primary_key=True)
    asked: datetime = Field(sa_type=UtcDateTime)
    answered: datetime | None = Field(default=None, sa_type=UtcDateTime)
    # Any: JSON of the shape that the flow asks for.
    input: Any = Field(default=None, sa_type=Json, nullable=True)

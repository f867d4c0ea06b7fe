"""The table of what is being computed for the cache; the results themselves are in `cache_entry`."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

from tocsin.store.types import UtcDateTime


class CacheFlight(SQLModel, table=True):
    """The task run that computes the result of a key, for which others wait; it counts while its `lease` lives.

    Inside a flow run it counts only while that is at work at this `attempt`.
    """

    __tablename__ = "cache_flight"

    key: str = Field(primary_key=True)
    task_run_id: UUID
    lease: str
    flow_run_id: UUID | None = None
    attempt: int | None = None
    since: datetime = Field(sa_type=UtcDateTime)

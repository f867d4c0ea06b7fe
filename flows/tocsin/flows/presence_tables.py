"""The table of those who can be seen to live."""

from datetime import datetime

from sqlmodel import Field, SQLModel

import tocsin.store.tables  # noqa: F401 - sets how constraints are named
from tocsin.store.types import UtcDateTime


class PresenceRow(SQLModel, table=True):
    """The lock that the holder of a lease keeps while it lives: its process cannot end and keep it.

    `kind` file: locked at `path` on `host`. `kind` session: an advisory lock on the lease's name, in the session
    `session` of the database server; it counts for as long as that server runs.
    """

    __tablename__ = "presence"

    lease: str = Field(primary_key=True)
    kind: str
    host: str
    path: str = ""
    session: str = ""
    since: datetime = Field(sa_type=UtcDateTime)

"""The table of what is counted of telling people."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

import tocsin.store.tables  # noqa: F401 - sets how constraints are named, before any table here is made


class TallyRow(SQLModel, table=True):
    """A counter, or a bucket of a histogram; what it comes to is the sum over its shards.

    `receiver` and `label` may be empty; of a bucket `label` is its bound in seconds.
    """

    __tablename__ = "notifier_tally"

    shard: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(primary_key=True)
    receiver: str = Field(primary_key=True)
    label: str = Field(primary_key=True)
    count: int = Field(sa_type=BigInteger)
    total_ms: int = Field(sa_type=BigInteger)

"""What a server remembers of posts that it has carried out, so that one that comes again is not carried out again."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Text
from sqlmodel import Field, SQLModel

# The store's tables first: they set how constraints and indexes are named.
import tocsin.store.tables  # noqa: F401
from tocsin.store.types import UtcDateTime


class AnsweredPost(SQLModel, table=True):
    """The answer to a post of an engine far away, in JSON."""

    __tablename__ = "answered_post"

    id: UUID = Field(primary_key=True)
    answer: str = Field(default="", sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime, index=True)

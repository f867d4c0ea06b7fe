"""Short forms for revisions: column types and the names of constraints. Frozen like the revisions that use them."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

NAME, TEXT, UUID, FLAG, NUMBER, BIG = sa.String(), sa.Text(), sa.Uuid(), sa.Boolean(), sa.Integer(), sa.BigInteger()
FLOAT, BYTES, TIME = sa.Float(), sa.LargeBinary(), sa.DateTime(timezone=True)
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Any, in this file: types and constraints of SQLAlchemy.


def table(name: str, *parts: Any, key: tuple[str, ...], **options: Any) -> None:
    """Make a table with these columns and constraints, and its primary key."""
    op.create_table(name, *parts, sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}")), **options)


def must(kind: Any, *names: str) -> list[sa.Column[Any]]:
    """Columns that always hold something; only a SEQUENCE draws its own numbers."""
    return [sa.Column(name, kind, nullable=False, autoincrement=kind is SEQUENCE) for name in names]


def may(kind: Any, *names: str) -> list[sa.Column[Any]]:
    """Columns that may hold nothing."""
    return [sa.Column(name, kind, nullable=True) for name in names]


def unique(table: str, *columns: str) -> sa.UniqueConstraint:
    """These columns together are unique."""
    return sa.UniqueConstraint(*columns, name=op.f("_".join(["uq", table, *columns])))


def reference(table: str, column: str, other: str, key: str) -> sa.ForeignKeyConstraint:
    """The column holds a key of the other table."""
    return sa.ForeignKeyConstraint([column], [f"{other}.{key}"], name=op.f(f"fk_{table}_{column}_{other}"))


def index(table: str, *columns: str, name: str | None = None, unique: bool = False, where: str | None = None) -> None:
    """Make an index; `where` keeps it to some rows."""
    some: dict[str, Any] = {f"{dialect}_where": sa.text(where) for dialect in ("sqlite", "postgresql")} if where else {}
    op.create_index(op.f(name or "_".join(["ix", table, *columns])), table, list(columns), unique=unique, **some)

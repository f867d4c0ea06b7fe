"""The insert of task runs. Every task writes here, so on SQLite it goes to the driver as it is, uncompiled."""

from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final

import msgspec
from sqlalchemy import JSON, Uuid
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import TypeEngine

from tocsin.flows.changes import TASK_RUN, Columns
from tocsin.store.engine import Transaction
from tocsin.store.types import UtcDateTime

# Any below: values of columns, and what SQLite's driver takes for them.

_INSERT: Final = insert(TASK_RUN).on_conflict_do_nothing()
_NAMES: Final = tuple(column.name for column in TASK_RUN.columns)
_VALUES: Final = f"({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))})"
_INSERT_SQLITE: Final = f"INSERT INTO {TASK_RUN.name} {_VALUES} ON CONFLICT DO NOTHING"


def insert_task_runs(session: Transaction, rows: list[Columns]) -> int:
    """Insert new task runs, those left out that are there; how many were new. `rows` hold every column."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        return connection.exec_driver_sql(_INSERT_SQLITE, [_for_sqlite(row) for row in rows]).rowcount
    return connection.execute(_INSERT, rows).rowcount


def _for_sqlite(row: Columns) -> tuple[Any, ...]:
    """The row as SQLAlchemy's types for SQLite would write it."""
    return tuple(row[name] if write is None or row[name] is None else write(row[name]) for name, write in _WRITERS)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _writer(kind: TypeEngine[Any]) -> Callable[[Any], Any] | None:
    if isinstance(kind, UtcDateTime):
        return _text
    if isinstance(kind, Uuid):
        return attrgetter("hex")
    return _json if isinstance(kind, JSON) else None


_WRITERS: Final = tuple((column.name, _writer(column.type)) for column in TASK_RUN.columns)

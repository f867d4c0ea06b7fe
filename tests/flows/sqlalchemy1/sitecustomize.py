"""Two calls of SQLAlchemy 1 that a lesson makes, for a program that is run with this folder on PYTHONPATH."""

from typing import Any

from sqlalchemy import Connection, Engine, text

_execute = Connection.execute

# Any below: what SQLAlchemy takes and gives.


def _engine_execute(engine: Engine, statement: str) -> None:
    """`engine.execute("…")`: a statement in a transaction of its own."""
    with engine.begin() as connection:
        connection.execute(text(statement))


def _connection_execute(self: Connection, statement: Any, *args: Any, **kwargs: Any) -> Any:
    """`connection.execute("…")`: text without `text()`; nothing of the engine's own SQL is text."""
    return _execute(self, text(statement) if isinstance(statement, str) else statement, *args, **kwargs)


Engine.execute = _engine_execute  # type: ignore[attr-defined]
Connection.execute = _connection_execute  # type: ignore[method-assign]

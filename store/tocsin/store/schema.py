"""A database is made whole or not at all: all rooms' tables, stamped with the revision they belong to."""

from importlib.metadata import entry_points
from typing import Final

from sqlalchemy import Connection, Engine, Table, event, inspect, text
from sqlmodel import SQLModel

from tocsin.events.errors import Invalid
from tocsin.store.tables import LogEntry

HEAD: Final = "0001"
"""The newest revision of `tocsin.server`'s migrations: what a database made by this version is stamped with."""

_MAKING: Final = 7_251_001
_VERSIONS: Final = "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"

# A number of the log is drawn after the transaction has its id, so a reader that meets a gap can tell when every
# transaction that might still fill it has ended (see `tocsin.store.log.Follower`).
NEXT_SEQ: Final = """
CREATE OR REPLACE FUNCTION tocsin_next_seq() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_current_xact_id();
  RETURN nextval('log_seq_seq');
END $$
"""
NEXT_SEQ_DEFAULT: Final = "ALTER TABLE log ALTER COLUMN seq SET DEFAULT tocsin_next_seq()"


@event.listens_for(SQLModel.metadata.tables[LogEntry.__tablename__], "after_create")
def _number_after_transaction(table: Table, connection: Connection, **_: object) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(NEXT_SEQ))
        connection.execute(text(NEXT_SEQ_DEFAULT))


def ensure(engine: Engine, create: bool) -> None:
    """See that the database has this version's tables; a new one is made when `create`.

    Raises `Invalid` with the command to run when the database is empty or of another revision.
    """
    with engine.connect() as connection:
        found = revision(connection)
    if found is None and create:
        _make(engine)
    elif found is None:
        raise Invalid(f"{_shown(engine)} holds no tocsin tables; make them with `tocsin db upgrade`")
    elif found != HEAD:
        raise Invalid(f"{_shown(engine)} is at revision {found}, this tocsin needs {HEAD}; run `tocsin db upgrade`")


def revision(connection: Connection) -> str | None:
    """The revision that the database is stamped with, or None for one without tocsin's tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def load_tables() -> None:
    """Import every room's tables, so that `SQLModel.metadata` is complete."""
    for room in entry_points(group="tocsin.tables"):
        room.load()


def _make(engine: Engine) -> None:
    load_tables()
    with engine.connect().execution_options(tocsin_write=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING})
        if revision(connection) is None:
            SQLModel.metadata.create_all(connection)
            connection.execute(text(_VERSIONS))
            connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _shown(engine: Engine) -> str:
    return f"database {engine.url.render_as_string(hide_password=True)}"

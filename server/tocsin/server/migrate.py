"""Migrations: bring a database to the form of this version, and tell where it differs."""

import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from sqlmodel import SQLModel

from tocsin.events.errors import Invalid, Unavailable
from tocsin.store import schema
from tocsin.store.engine import open_engine

_LOCK: Final = 7_251_002
_PAUSE_S: Final = 0.5


class Upgraded(NamedTuple):
    """What an upgrade did: the address without its password, the revisions before (None: empty) and after."""

    database: str
    before: str | None
    after: str


def head() -> str:
    """The newest revision there is."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    return newest


def upgrade(url: str | None = None, *, wait_s: float = 0) -> Upgraded:
    """Bring the database at `url` (default: as `Store.open`) to the newest revision; an empty one gets all tables.

    Two at once wait for each other. Raises Unavailable when it does not answer within `wait_s`, and Invalid for a
    database of a later version.
    """
    engine = open_engine(url)
    shown = engine.url.render_as_string(hide_password=True)
    try:
        _until_it_answers(engine, shown, wait_s)
        with engine.connect().execution_options(tocsin_write=True) as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            before = schema.revision(connection)
            if before is not None and before not in _known():
                raise Invalid(f"database {shown} is at revision {before}, of a later tocsin; install that version")
            command.upgrade(_config(connection), "head")
        return Upgraded(shown, before, head())
    finally:
        engine.dispose()


def differences(connection: Connection) -> list[Any]:  # Any: Alembic's own tuples
    """What the database lacks, or has too much, against the tables of the code; empty when they are the same."""
    schema.load_tables()
    return list(compare_metadata(MigrationContext.configure(connection, opts=_OPTIONS), SQLModel.metadata))


def configure(context: EnvironmentContext) -> None:
    """Tell Alembic's environment which connection and tables to work with."""
    connection: Connection = context.config.attributes["connection"]
    schema.load_tables()
    context.configure(connection=connection, target_metadata=SQLModel.metadata, **_OPTIONS)


_OPTIONS: Final[dict[str, Any]] = {  # Any: Alembic's own keyword arguments
    "compare_type": True,
    "compare_server_default": False,
    "render_as_batch": True,
    "transaction_per_migration": False,
}


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _until_it_answers(engine: Any, shown: str, wait_s: float) -> None:  # Any: an Engine
    end = time.monotonic() + wait_s
    while True:
        try:
            engine.connect().close()
        except OperationalError as error:
            if time.monotonic() >= end:
                raise Unavailable(f"database {shown}: {error.orig}") from error
            time.sleep(_PAUSE_S)
        else:
            return

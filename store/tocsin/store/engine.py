"""The Store: transactions on SQLite or PostgreSQL, for threads and for asyncio shells."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar, cast

import msgspec
from sqlalchemy import Connection, CursorResult, Engine, Insert, Select, create_engine, event, literal, make_url
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.sql.dml import ReturningInsert
from sqlmodel import Session, SQLModel
from sqlmodel.sql.expression import SelectOfScalar

from tocsin.events.errors import Invalid, TocsinError, Unavailable
from tocsin.store import schema
from tocsin.store.home import home
from tocsin.store.signals import Hub, Probe, Watch

T = TypeVar("T")
Rows = TypeVar("Rows", bound="Select[Any] | SelectOfScalar[Any]")

POLL_SQLITE: Final = timedelta(milliseconds=10)
POLL_POSTGRESQL: Final = timedelta(milliseconds=20)
BUSY_S: Final = 30.0
AWAY: Final = (DBAPIError, PoolTimeoutError, Unavailable)
"""What a transaction raises while the database does not answer, or others hold it: a service tries again."""

_TOUCHED: Final = "tocsin.touched"
# The log's indexes touch the same pages again and again: a checkpoint at 32 MB, not 4, writes them less often.
_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "cache_size=-16000",
    "wal_autocheckpoint=8000",
)


class Store:
    """One database. Transactions are synchronous; `run` and `look` carry them out beside an event loop."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._sqlite = engine.dialect.name == "sqlite"
        self._writer = threading.Lock()
        self._writing = threading.local()
        self._held: Connection | None = None
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="tocsin-store")
        self._probe = _SqliteProbe(engine.url) if self._sqlite else None
        self._hub = Hub(self._probe, POLL_SQLITE) if self._probe else Hub(_no_probe, POLL_POSTGRESQL)

    @classmethod
    def open(cls, url: str | None = None, *, create: bool | None = None) -> Self:
        """The store at `url` (default `$TOCSIN_DATABASE_URL`, else SQLite under `$TOCSIN_HOME`).

        A new SQLite file is made whole; on PostgreSQL that needs `create=True` or `tocsin db upgrade`. Raises
        `Invalid` for an address or a revision that does not fit, `Unavailable` when the server does not answer.
        """
        store = cls(open_engine(url))
        try:
            schema.ensure(store.engine, store._sqlite if create is None else create)
        except OperationalError as error:
            store.close()
            raise Unavailable(f"database {store.url}: {error.orig}") from error
        except BaseException:
            store.close()
            raise
        return store

    @property
    def url(self) -> str:
        """Where it is, without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which kind of database it is."""
        return "sqlite" if self._sqlite else "postgresql"

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A write transaction: committed at the end, rolled back on an error. It may not be nested in a thread.

        On SQLite it is this writer's turn from the first line on: a clock that is read inside goes with the order.
        """
        with (
            self._turn(),
            self._connection(write=True) as connection,
            Session(connection, expire_on_commit=False) as session,
            session.begin(),
        ):
            session.connection()
            yield session
        if channels := session.info.get(_TOUCHED):
            self._hub.tell(frozenset(channels))

    @contextmanager
    def write(self) -> Iterator["Statements"]:
        """As `begin`, for statements alone and at a fifth of its cost: no objects are kept track of."""
        with self._turn(), self._pen() as connection, connection.begin():
            statements = Statements(connection)
            yield statements
        if channels := statements.info.get(_TOUCHED):
            self._hub.tell(frozenset(channels))

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A read transaction: one snapshot on SQLite, one a statement on PostgreSQL."""
        with self._connection(write=False) as connection, Session(connection, expire_on_commit=False) as session:
            yield session

    async def run(self, work: Callable[[Session], T]) -> T:
        """The result of `work` in a write transaction, carried out in a thread."""
        return await self._in_thread(lambda: self._within(self.begin(), work))

    async def look(self, work: Callable[[Session], T]) -> T:
        """The result of `work` in a read transaction, carried out in a thread."""
        return await self._in_thread(lambda: self._within(self.read(), work))

    def watch(self, *channels: str) -> Watch:
        """Hear of committed changes on `channels`: at once in this process, within 25 ms from others."""
        return self._hub.watch(channels)

    @property
    def probe(self) -> Probe:
        """Tells whether another connection may have committed anything since; always None on PostgreSQL."""
        return self._hub.probe

    def close(self) -> None:
        """Let go of threads and connections; what is under way is finished first."""
        self._threads.shutdown()
        if self._held is not None:
            self._held.close()
        self.engine.dispose()
        if self._probe:
            self._probe.close()

    @staticmethod
    def _within(transaction: Any, work: Callable[[Session], T]) -> T:  # Any: contextmanager types hide their session
        with transaction as session:
            return work(session)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @contextmanager
    def _connection(self, *, write: bool) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection.execution_options(tocsin_write=write)

    @contextmanager
    def _pen(self) -> Iterator[Connection]:
        """A connection to write by: on SQLite always the same one, because it is only one writer's turn."""
        if not self._sqlite:
            with self._connection(write=True) as connection:
                yield connection
            return
        if self._held is None:
            self._held = self.engine.connect().execution_options(tocsin_write=True)
        yield self._held

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One writer at a time on SQLite: threads queue here, fairly, instead of asleep in its busy handler."""
        if getattr(self._writing, "now", False):
            raise TocsinError("a write transaction may not be begun inside another one of the same thread")
        self._writing.now = True
        try:
            if self._sqlite:
                with self._writer:
                    yield
            else:
                yield
        finally:
            self._writing.now = False


class Statements:
    """A transaction for statements: as much of a session as they need."""

    __slots__ = ("_connection", "info")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.info: dict[Any, Any] = {}  # Any: as a session's

    def connection(self) -> Connection:
        """What statements are executed on."""
        return self._connection


Transaction = Session | Statements


def touch(session: Transaction, *channels: str) -> None:
    """Say that this transaction changes something on `channels`; watches hear of it after the commit."""
    session.info.setdefault(_TOUCHED, set()).update(channels)


def claimable(session: Session, statement: Rows) -> Rows:
    """The statement that also locks its rows and leaves out those that others have locked.

    On SQLite the whole transaction is exclusive already.
    """
    if session.get_bind().dialect.name != "postgresql":
        return statement
    return cast(Rows, statement.with_for_update(skip_locked=True))


def insert_new(session: Session, table: type[SQLModel], rows: list[dict[str, Any]]) -> int:
    """Insert the rows that break no unique key; how many were new. Any: values of the table's columns."""
    if not rows:
        return 0
    if session.get_bind().dialect.name == "postgresql":
        return len(session.connection().execute(_postgresql_insert(table), rows).all())
    inserted = cast("CursorResult[tuple[()]]", session.connection().execute(_sqlite_insert(table), rows))
    return inserted.rowcount


# A statement that is kept carries its key of SQLAlchemy's cache of compiled statements: a fifth of a small insert.
@cache
def _postgresql_insert(table: type[SQLModel]) -> ReturningInsert[tuple[int]]:
    return insert_postgresql(table).on_conflict_do_nothing().returning(literal(1))


@cache
def _sqlite_insert(table: type[SQLModel]) -> Insert:
    return insert_sqlite(table).on_conflict_do_nothing()


def went_away(error: BaseException) -> bool:
    """Whether a transaction failed because the server went away, is on its way back, or let another one go first.

    Nobody knows then what became of it: it may have been committed. A file of SQLite does not go away.
    """
    if not isinstance(error, DBAPIError):
        return isinstance(error, PoolTimeoutError)
    lost = isinstance(error, InterfaceError | OperationalError) or error.connection_invalidated
    return lost and not isinstance(error.orig, sqlite3.Error)


class _SqliteProbe:
    """`PRAGMA data_version` on a connection of its own: it changes with every commit of any other connection."""

    def __init__(self, url: URL) -> None:
        self._path = url.database or ""
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def __call__(self, seen: int | None) -> int | None:
        with self._lock:
            if self._closed:
                return seen
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            return version

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection:
                self._connection.close()


def _no_probe(seen: int | None) -> int | None:
    return None


def open_engine(url: str | None = None) -> Engine:
    """The engine for `url` (default as `Store.open`), whatever the database holds; for migrations.

    Raises `Invalid` for an address that is none.
    """
    return _engine(_address(url or os.environ.get("TOCSIN_DATABASE_URL") or f"sqlite:///{home() / 'tocsin.db'}"))


def _address(text: str) -> URL:
    try:
        url = make_url(text)
    except Exception as error:
        raise Invalid("TOCSIN_DATABASE_URL is not an address such as sqlite:///tocsin.db or postgresql://…") from error
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise Invalid(f"database {url.drivername}: tocsin keeps its state in sqlite or postgresql")
    if not url.database or url.database == ":memory:":
        raise Invalid("database sqlite in memory: its threads would each see another one; name a file")
    return url


def _engine(url: URL) -> Engine:
    settings: dict[str, Any] = {  # Any: create_engine's own keyword arguments
        "json_serializer": _json_text,
        "json_deserializer": msgspec.json.decode,
        "pool_size": 10,
        "max_overflow": 20,
    }
    if url.drivername != "sqlite":
        return create_engine(url, pool_pre_ping=True, **settings)
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    arguments = {"isolation_level": None, "check_same_thread": False, "timeout": BUSY_S}
    engine = create_engine(url, connect_args=arguments, **settings)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _json_text(value: Any) -> str:  # Any: a column holds any JSON
    return msgspec.json.encode(value).decode()


def _prepare(connection: sqlite3.Connection, record: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("tocsin_write", False)
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    try:
        driver.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    except sqlite3.OperationalError as error:
        raise Unavailable(
            f"database {connection.engine.url.database}: {error} for {BUSY_S:g} s; who writes?"
        ) from error

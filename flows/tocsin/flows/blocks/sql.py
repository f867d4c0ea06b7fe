"""A database by name: its address sealed, its engine made at the first use, results fetched piece by piece."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationInfo, field_validator
from sqlalchemy import URL, Connection, CursorResult, Engine, Row, TextClause, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.sql import Executable

from tocsin.events.errors import Invalid
from tocsin.flows.blocks.block import Block

# Any below: parameters and rows are whatever the database takes and gives.
Operation = str | Executable
Parameters = Mapping[str, Any]


class ConnectionComponents(BaseModel):
    """An address in its parts. `driver` as SQLAlchemy names it: `postgresql+psycopg`, `sqlite`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    driver: str
    database: str | None = None
    username: str | None = None
    password: SecretStr | None = None
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    query: dict[str, str] = Field(default_factory=dict)

    def url(self) -> URL:
        """The address."""
        return URL.create(
            self.driver,
            username=self.username,
            password=self.password.get_secret_value() if self.password else None,
            host=self.host,
            port=self.port,
            database=self.database,
            query=self.query,
        )


class SQLAlchemyConnector(Block):
    """A database. `connection_info`: its address as a text, which is sealed, or its `ConnectionComponents`.

    As a context manager it lets go of its connections at the end. A `fetch_*` of the same operation and parameters
    goes on where the one before stopped; `reset_cursors` begins again.
    """

    type_slug: ClassVar[str] = "sqlalchemy-connector"
    connection_info: ConnectionComponents | SecretStr
    connect_args: dict[str, Any] = Field(default_factory=dict)
    fetch_size: int = Field(default=1, ge=1)
    _engine: Engine | None = PrivateAttr(default=None)
    _cursors: dict[tuple[str, str], tuple[Connection, CursorResult[Any]]] = PrivateAttr(default_factory=dict)

    @field_validator("connection_info")
    @classmethod
    def _is_address(cls, given: ConnectionComponents | SecretStr, info: ValidationInfo) -> Any:
        if isinstance(given, SecretStr):
            try:
                make_url(given.get_secret_value())
            except (ArgumentError, ValueError):
                raise ValueError("give an address such as postgresql://user:password@host/database") from None
        return given

    def url(self) -> URL:
        """The address; `postgresql://` means psycopg 3."""
        given = self.connection_info
        url = make_url(given.get_secret_value()) if isinstance(given, SecretStr) else given.url()
        return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url

    def get_engine(self, **options: Any) -> Engine:
        """The engine, made at the first call; with `options` of `create_engine` a new one of the caller's."""
        if options:
            return create_engine(self.url(), **{"connect_args": self.connect_args, **options})
        if self._engine is None:
            self._engine = create_engine(self.url(), connect_args=self.connect_args)
        return self._engine

    @contextmanager
    def get_connection(self, begin: bool = True) -> Iterator[Connection]:
        """A connection for a `with`: in a transaction, committed at the end, unless `begin` is False."""
        with self.get_engine().begin() if begin else self.get_engine().connect() as connection:
            yield connection

    def execute(self, operation: Operation, parameters: Parameters | None = None, **options: Any) -> int:
        """Carry out a statement in a transaction of its own; how many rows it changed (-1: not told).

        `options`: execution options of SQLAlchemy.
        """
        with self.get_connection() as connection:
            return connection.execute(_statement(operation), parameters, execution_options=options).rowcount

    def execute_many(self, operation: Operation, seq_of_parameters: Sequence[Parameters], **options: Any) -> int:
        """Carry out a statement once for each of the parameters, all in one transaction; how many rows it changed."""
        if not seq_of_parameters:
            return 0
        with self.get_connection() as connection:
            given = [dict(parameters) for parameters in seq_of_parameters]
            return connection.execute(_statement(operation), given, execution_options=options).rowcount

    def fetch_one(self, operation: Operation, parameters: Parameters | None = None, **options: Any) -> Row[Any] | None:
        """The next row; None after the last."""
        return next(iter(self.fetch_many(operation, parameters, size=1, **options)), None)

    def fetch_many(
        self, operation: Operation, parameters: Parameters | None = None, size: int | None = None, **options: Any
    ) -> list[Row[Any]]:
        """The next rows, `size` (default: `fetch_size`) at the most; none after the last."""
        return list(self._cursor(operation, parameters, options).fetchmany(size or self.fetch_size))

    def fetch_all(self, operation: Operation, parameters: Parameters | None = None, **options: Any) -> list[Row[Any]]:
        """All rows that are left."""
        return list(self._cursor(operation, parameters, options).fetchall())

    def reset_cursors(self) -> None:
        """Begin every fetch anew."""
        cursors, self._cursors = self._cursors, {}
        for connection, _ in cursors.values():
            connection.close()

    def close(self) -> None:
        """Let go of all connections; the next use opens new ones."""
        self.reset_cursors()
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cursor(
        self, operation: Operation, parameters: Parameters | None, options: Mapping[str, Any]
    ) -> CursorResult[Any]:
        key = str(operation), repr(sorted((parameters or {}).items()))
        if key not in self._cursors:
            connection = self.get_engine().connect()
            try:
                result = connection.execute(_statement(operation), parameters, execution_options=options)
                if not result.returns_rows:
                    raise Invalid("the statement gives no rows; use execute")
            except BaseException:
                connection.close()
                raise
            self._cursors[key] = connection, result
        return self._cursors[key][1]


def _statement(operation: Operation) -> Executable | TextClause:
    return text(operation) if isinstance(operation, str) else operation


SqlAlchemyConnector = SQLAlchemyConnector

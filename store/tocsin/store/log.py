"""The event log: what became true, in order. It is the outbox of every change and the bus of the embedded default."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Final, NamedTuple, TypeVar, cast
from uuid import UUID

import msgspec
from sqlalchemy import select as columns
from sqlalchemy import text
from sqlmodel import Session, col, select

from tocsin.events import codec
from tocsin.events.bus import Message, Record
from tocsin.events.clock import Micros, micros
from tocsin.events.errors import BadEvent
from tocsin.events.ids import uuid7
from tocsin.events.model import Event
from tocsin.events.topics import EVENTS, EXTERNAL
from tocsin.store.engine import Transaction, touch
from tocsin.store.tables import LogEntry

CHANNEL: Final = "log"
STREAM: Final = "log"
UNREAD: Final = "unread"
OVERTAKEN: Final = 2_000
"""How many entries may lie between two of which the later one was recorded before the earlier one."""

ASTRAY: Final = 60_000_000
"""By how much (microseconds) at most."""
HEARD: Final = "heard"
"""The topic, in the log only, of events that came from outside by a broker: kept for readers, never relayed back."""

_INSERT: Final = "INSERT INTO log (id, topic, key, event, occurred, recorded, body) VALUES ({}) ON CONFLICT DO NOTHING"
_INSERT_SQLITE: Final = _INSERT.format("?, ?, ?, ?, ?, ?, ?")
_INSERT_POSTGRESQL: Final = _INSERT.format("%s, %s, %s, %s, %s, %s, %s")
_INSERT_MANY: Final = """
    INSERT INTO log (id, topic, key, event, occurred, recorded, body)
    SELECT id, topic, key, event, occurred, recorded, body FROM unnest(
        %b::uuid[], %b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::timestamptz[], %b::bytea[]
    ) WITH ORDINALITY AS new (id, topic, key, event, occurred, recorded, body, place) ORDER BY place
    ON CONFLICT DO NOTHING
"""
MANY: Final = 16
"""From so many entries on PostgreSQL gets them by columns: a third of the time of as many inserts."""

_WRITERS: Final = """
    SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'log'::regclass AND mode = 'RowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_COLUMNS: Final = columns(
    col(LogEntry.topic), col(LogEntry.key), col(LogEntry.body), col(LogEntry.seq), col(LogEntry.recorded)
)

Entry = TypeVar("Entry", LogEntry, Record)


class Row(NamedTuple):
    """What is written of an entry, its columns in the order of the insert."""

    id: UUID
    topic: str
    key: str
    event: str
    occurred: datetime
    recorded: datetime
    body: bytes


def append(session: Transaction, events: Sequence[Event], topic: str = EVENTS, now: datetime | None = None) -> int:
    """Write `events` to the log in this transaction, in their order; how many were new. `now`: when (default: the
    machine's clock).

    An event whose id the log knows under this topic is left out. Append after the rows that the events tell of are
    locked: then events of one resource stand in the order in which they became true.
    """
    return append_packed(session, [(event, codec.encode(event)) for event in events], topic, now)


def append_packed(
    session: Transaction, packed: Sequence[tuple[Event, bytes]], topic: str = EVENTS, now: datetime | None = None
) -> int:
    """The same of events that stand beside their JSON (`codec.encode`, `codec.pack`)."""
    recorded = now or datetime.now(UTC)
    new = _insert(session, [_row(event, body, topic, recorded) for event, body in packed])
    if new:
        touch(session, CHANNEL)
    return new


def hear(session: Session, events: Sequence[Event]) -> int:
    """Keep events that came from outside by a broker, those left out that went there through this log; how many."""
    ours = select(LogEntry.id).where(LogEntry.topic == EXTERNAL, col(LogEntry.id).in_([event.id for event in events]))
    known = set(session.exec(ours)) if events else set()
    return append(session, [event for event in events if event.id not in known], HEARD)


class Follower:
    """Reads the log by number and never passes one that may still come.

    SQLite has one writer, so numbers become visible in order. On PostgreSQL a transaction draws its number before it
    commits, so a reader may see 8 while 7 is still on its way:

        7 ── insert ─────────────── commit        a reader that goes on to 9 after 8 has lost 7
        8 ───── insert ── commit

    A gap is passed only when every transaction that wrote to the log when it was first seen has ended: then it is
    filled, or it never will be (a rollback).
    """

    def __init__(self) -> None:
        self._settled = 0
        self._gap: tuple[int, frozenset[str]] | None = None
        self._read = 0
        self._received: Micros = 0

    def read(self, session: Session, after: int, limit: int) -> list[LogEntry]:
        """The next entries behind number `after`, at most `limit`, as far as nothing can come before them."""
        return self._certain(session, after, lambda: _entries(session, after, limit), number)

    def records(self, session: Session, after: int, limit: int) -> list[Record]:
        """The same as records of the bus, at a ninth of the cost; what comes later was not received earlier."""
        found = self._certain(session, after, lambda: _records(session, after, limit), _offset)
        if after != self._read:
            self._received = _received(session, after)
        for index, record in enumerate(found):
            self._received = ascending(self._received, record.received)
            if record.received != self._received:
                found[index] = msgspec.structs.replace(record, received=self._received)
        self._read = found[-1].offset if found else after
        return found

    def _certain(
        self, session: Session, after: int, look: Callable[[], list[Entry]], number: Callable[[Entry], int]
    ) -> list[Entry]:
        entries = look()
        if session.get_bind().dialect.name != "postgresql":
            return entries
        sure = self._sure(entries, after, number)
        if len(sure) == len(entries) or not self._passed(session, number(entries[-1])):
            return sure
        return self._sure(look(), after, number)

    def _sure(self, entries: list[Entry], after: int, number: Callable[[Entry], int]) -> list[Entry]:
        expected = after + 1
        for index, entry in enumerate(entries):
            seq = number(entry)
            if seq not in (expected, min(seq, self._settled)):
                return entries[:index]
            expected = seq + 1
        return entries

    def _passed(self, session: Session, last: int) -> bool:
        """Whether all transactions have ended that could fill a gap below the last number when it was first seen."""
        if self._gap is None:
            self._gap = last, writers(session)
        bound, then = self._gap
        if then & writers(session):
            return False
        self._settled, self._gap = bound, None
        return True


def writers(session: Session) -> frozenset[str]:
    """The transactions on PostgreSQL that have begun to write to the log and have not ended.

    A snapshot does not tell: it knows nothing of a transaction that is younger than all that have ended. The lock on
    the table is taken before the first number is drawn.
    """
    return frozenset(session.connection().scalars(text(_WRITERS)))


def publish(session: Session, messages: Sequence[Message], now: datetime | None = None) -> None:
    """Write messages to the log as they are, readable or not: whoever reads them buries what is no event."""
    recorded = now or datetime.now(UTC)
    _insert(session, [_raw(message, recorded) for message in messages])
    touch(session, CHANNEL)


def number(entry: LogEntry) -> int:
    """The number under which an entry stands in the log."""
    assert entry.seq is not None
    return entry.seq


def _entries(session: Session, after: int, limit: int) -> list[LogEntry]:
    statement = select(LogEntry).where(col(LogEntry.seq) > after).order_by(col(LogEntry.seq)).limit(limit)
    return list(session.exec(statement))


def _records(session: Session, after: int, limit: int) -> list[Record]:
    statement = _COLUMNS.where(col(LogEntry.seq) > after).order_by(col(LogEntry.seq)).limit(limit)
    return [
        Record(topic, key, body, STREAM, 0, cast(int, seq), micros(recorded))
        for topic, key, body, seq, recorded in session.connection().execute(statement)
    ]


def ascending(before: Micros, recorded: Micros) -> Micros:
    """When an entry was received that stands behind one that was received at `before`: not earlier.

    Its writer's clock, and its commit, may have been overtaken. By more than `ASTRAY` nothing is: then the clock of
    the one before was wrong, and is not followed.
    """
    return before if recorded < before <= recorded + ASTRAY else recorded


def _received(session: Session, until: int) -> Micros:
    """When the entry of number `until` was received."""
    near = select(LogEntry.recorded).where(col(LogEntry.seq) > until - OVERTAKEN, col(LogEntry.seq) <= until)
    return reduce(ascending, map(micros, session.exec(near.order_by(col(LogEntry.seq)))), 0)


def _offset(record: Record) -> int:
    return record.offset


def _insert(session: Transaction, rows: list[Row]) -> int:
    """Insert the rows whose id is new; how many were.

    Every change writes here, so the statement goes to the driver as it is: half the time of a compiled one.
    """
    if not rows:
        return 0
    connection = session.connection()
    sqlite = connection.dialect.name == "sqlite"
    if not sqlite and len(rows) >= MANY:
        return connection.exec_driver_sql(_INSERT_MANY, tuple(map(list, zip(*rows, strict=True)))).rowcount
    values: list[tuple[Any, ...]] = [_for_sqlite(row) for row in rows] if sqlite else list(rows)
    return connection.exec_driver_sql(_INSERT_SQLITE if sqlite else _INSERT_POSTGRESQL, values).rowcount


def _row(event: Event, body: bytes, topic: str, recorded: datetime) -> Row:
    return Row(event.id, topic, event.resource_id, event.event, event.occurred, recorded, body)


def _raw(message: Message, recorded: datetime) -> Row:
    try:
        event = codec.decode(message.body)
    except BadEvent:
        return Row(uuid7(), message.topic, message.key, UNREAD, recorded, recorded, message.body)
    return Row(event.id, message.topic, message.key, event.event, event.occurred, recorded, message.body)


def _for_sqlite(row: Row) -> tuple[Any, ...]:  # Any: what its driver takes
    """The row as SQLAlchemy's types for SQLite would write it."""
    return row.id.hex, row.topic, row.key, row.event, _text(row.occurred), _text(row.recorded), row.body


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")

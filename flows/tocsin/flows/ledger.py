"""What this process writes down about its runs, and when.

A change that may wait (a task begins, a log line) is written behind: with the next change that may not, or after
100 ms. A change that may not wait (a task ends) is in the database when `settle` returns. Threads that settle at the
same time share a transaction: the first writes for all.

    task 1  begin ─ buffer        end ─ settle ──┐
    task 2     begin ─ buffer  end ─ settle ─────┼─ one transaction: rows, events, log lines
    log lines ──────── buffer ───────────────────┘
"""

import atexit
import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, SQLModel

from tocsin.events.clock import Clock, SystemClock
from tocsin.events.model import Event
from tocsin.flows import tables
from tocsin.flows.beat import Heart
from tocsin.flows.changes import FLOW_RUN, TASK_RUN, Columns, being_stopped
from tocsin.flows.errors import Superseded
from tocsin.flows.request import Request
from tocsin.flows.rows import insert_task_runs
from tocsin.store import log
from tocsin.store.engine import Store

BEHIND_S: Final = 0.1
_OWNED: Final = frozenset({"RUNNING", "CANCELLING"})
_LOG_LINE: Final = SQLModel.metadata.tables[str(tables.LogLine.__tablename__)]
_INSERT_LINE: Final = insert(_LOG_LINE)
T = TypeVar("T")

logger = logging.getLogger(__name__)


class Slot:
    """Where a task run stands in the database: the version that is stored (0: none yet)."""

    __slots__ = ("stored",)

    def __init__(self, stored: int = 0) -> None:
        self.stored = stored


class Change(msgspec.Struct, eq=False):
    """One state of a task run to be stored. `fence`: the flow run and the attempt under which it may be."""

    row: Columns
    event: Event
    slot: Slot
    fence: tuple[UUID, int] | None = None
    written: bool = False
    error: BaseException | None = None


class Ledger:
    """The book of one process on one store."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self.store = store
        self.clock = clock or SystemClock()
        self._changes: list[Change] = []
        self._lines: list[Columns] = []
        self._queue = threading.Lock()
        self._pen = threading.RLock()
        self._heart: Heart | None = None
        self.cancelling: frozenset[UUID] = frozenset()
        """Runs of this process that somebody wants to stop; looked up with every renewal of the lease."""
        self._due = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def lease(self) -> str:
        """The name of this process's lease; taken at the first use."""
        if self._heart is None:
            with self._pen:
                if self._heart is None:
                    heart = Heart(self.store, self.clock, also=self._look_for_cancelling)
                    heart.start()
                    self._heart = heart
        return self._heart.name

    def later(self, change: Change) -> None:
        """Write it behind."""
        with self._queue:
            self._changes.append(change)
        self._arm()

    def line(self, line: Columns) -> None:
        """Write a log line behind."""
        with self._queue:
            self._lines.append(line)
        self._arm()

    def settle(self, change: Change) -> None:
        """Return when the change, and all that was buffered before it, is stored.

        Raises Superseded when the run is no longer this process's.
        """
        with self._queue:
            self._changes.append(change)
        with self._pen:
            if not change.written:
                self._flush()
        if change.error is not None:
            raise change.error

    def flush(self) -> None:
        """Write what is buffered."""
        with self._pen:
            self._flush()

    def transact(self, work: Callable[[Session], T]) -> T:
        """`work` in a write transaction, after all that was buffered before it."""
        with self._pen:
            changes, lines = self._take()
            try:
                with self.store.begin() as session:
                    self._write(session, changes, lines)
                    answer = work(session)
            except BaseException:
                self._give_back(changes, lines)
                raise
            self._mark(changes)
            return answer

    def ask(self, request: Request) -> Any:  # Any: each request says what it answers
        """Carry out the request, after all that was buffered before it when it writes; its answer."""
        if request.writes:
            return self.transact(request.perform)
        with self.store.read() as session:
            return request.perform(session)

    def close(self) -> None:
        """Write everything, give up the lease, let go of the database."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._due.set()
        if self._thread:
            self._thread.join()
        self.flush()
        if self._heart:
            self._heart.stop()
        self.store.close()

    def _look_for_cancelling(self, session: Session, lease: str) -> None:
        self.cancelling = frozenset(being_stopped(session, lease))

    def _arm(self) -> None:
        if self._due.is_set():
            return
        self._due.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_behind, name="tocsin-ledger", daemon=True)
            self._thread.start()

    def _write_behind(self) -> None:
        while not self._closed.is_set():
            self._due.wait()
            self._closed.wait(BEHIND_S)
            self._due.clear()
            try:
                self.flush()
            except SQLAlchemyError as error:
                logger.warning("changes could not be stored yet, they stay buffered: %s", error)
                self._due.set()

    def _flush(self) -> None:
        if self._changes or self._lines:
            self.transact(_nothing)

    def _take(self) -> tuple[list[Change], list[Columns]]:
        with self._queue:
            changes, self._changes = self._changes, []
            lines, self._lines = self._lines, []
        return changes, lines

    def _write(self, session: Session, changes: list[Change], lines: list[Columns]) -> None:
        self._refuse_superseded(session, changes)
        newest = {change.slot: change for change in changes if change.error is None}
        new = [change.row for slot, change in newest.items() if not slot.stored]
        if new:
            insert_task_runs(session, new)
        for slot, change in newest.items():
            if slot.stored and not _update(session, change):
                _refuse(changes, slot, f"task run {change.row['name']} was given up by somebody else")
        if events := [change.event for change in changes if change.error is None]:
            log.append(session, events)
        if lines:
            session.connection().execute(_INSERT_LINE, lines)

    def _refuse_superseded(self, session: Session, changes: list[Change]) -> None:
        for change in changes:
            change.error = None
        for run_id, attempt in {change.fence for change in changes if change.fence}:
            statement = select(FLOW_RUN.c.attempt, FLOW_RUN.c.state_type).where(FLOW_RUN.c.id == run_id)
            row = session.connection().execute(statement.with_for_update(read=True)).one()
            if row.attempt == attempt and row.state_type in _OWNED:
                continue
            for change in changes:
                if change.fence == (run_id, attempt):
                    why = f"flow run {run_id} is {row.state_type} at attempt {row.attempt}; this was attempt {attempt}"
                    change.error = Superseded(f"task run {change.row['name']}: {why}")

    def _give_back(self, changes: list[Change], lines: list[Columns]) -> None:
        with self._queue:
            self._changes[:0] = changes
            self._lines[:0] = lines

    @staticmethod
    def _mark(changes: list[Change]) -> None:
        for change in changes:
            if change.error is None:
                change.slot.stored = change.row["version"]
            change.written = True


def _nothing(session: Session) -> None:
    """The work of a transaction that only writes what is buffered."""


def _update(session: Session, change: Change) -> bool:
    where = TASK_RUN.c.id == change.row["id"], TASK_RUN.c.version == change.slot.stored
    return bool(session.connection().execute(update(TASK_RUN).where(*where).values(**change.row)).rowcount)


def _refuse(changes: list[Change], slot: Slot, why: str) -> None:
    for change in changes:
        if change.slot is slot:
            change.error = Superseded(why)


_opening = threading.Lock()
_open: dict[tuple[str, ...], Ledger] = {}


def current() -> Ledger:
    """The ledger on the store that the environment names at this moment.

    When the environment names another store than before, the book on the former one is closed.
    """
    key = tuple(os.environ.get(name, "") for name in ("TOCSIN_DATABASE_URL", "TOCSIN_HOME"))
    ledger = _open.get(key)
    return ledger if ledger is not None else _turn_to(key)


def close() -> None:
    """Write down what is buffered and let go of the database; the next run opens it again."""
    with _opening:
        for ledger in _open.values():
            ledger.close()
        _open.clear()


def _turn_to(key: tuple[str, ...]) -> Ledger:
    with _opening:
        if key not in _open:
            fresh = Ledger(Store.open())
            for ledger in _open.values():
                ledger.close()
            _open.clear()
            _open[key] = fresh
        return _open[key]


def _forget() -> None:
    """A forked child has no threads and may not use its parent's connections: it opens its own book."""
    global _opening
    _opening = threading.Lock()
    _open.clear()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

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

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import Invalid
from tocsin.flows.beat import Heart
from tocsin.flows.changes import Columns, being_stopped
from tocsin.flows.errors import Superseded
from tocsin.flows.request import Request
from tocsin.flows.writing import Change, Write
from tocsin.store.engine import Store

BEHIND_S: Final = 0.1
T = TypeVar("T")

logger = logging.getLogger(__name__)


class _Entry:
    """A change in the buffer, and what became of it."""

    __slots__ = ("change", "refused", "written")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.written = False
        self.refused: str | None = None


class Ledger:
    """The book of one process on one store."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self.store = store
        self.clock = clock or SystemClock()
        self._changes: list[_Entry] = []
        self._lines: list[Columns] = []
        self._queue = threading.Lock()
        self._pen = threading.RLock()
        self._heart: Heart | None = None
        self.lent = False
        """The store is somebody else's, who closes it."""
        self.cancelling: frozenset[UUID] = frozenset()
        """Runs of this process that somebody wants to stop; looked up with every renewal of the lease."""
        self._told: frozenset[UUID] = frozenset()
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
            self._changes.append(_Entry(change))
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
        entry = _Entry(change)
        with self._queue:
            self._changes.append(entry)
        with self._pen:
            if not entry.written:
                self._flush()
        if entry.refused is not None:
            raise Superseded(f"task run {change.row['name']}: {entry.refused}")

    def flush(self) -> None:
        """Write what is buffered."""
        with self._pen:
            self._flush()

    def transact(self, work: Callable[[Session], T]) -> T:
        """`work` in a write transaction, after all that was buffered before it."""
        with self._pen:
            entries, lines = self._take()
            write = Write(changes=[entry.change for entry in entries], lines=lines)
            try:
                with self.store.begin() as session:
                    refused = write.perform(session) if entries or lines else {}
                    answer = work(session)
            except BaseException:
                self._give_back(entries, lines)
                raise
            for place, entry in enumerate(entries):
                entry.refused, entry.written = refused.get(place), True
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
        if not self.lent:
            self.store.close()

    def tell_to_stop(self, run_id: UUID, *, stop: bool = True) -> None:
        """The next task of this run does not begin; `stop=False` takes that back."""
        with self._queue:
            self._told = self._told | {run_id} if stop else self._told - {run_id}
            self.cancelling = self.cancelling | {run_id} if stop else self.cancelling - {run_id}

    def _look_for_cancelling(self, session: Session, lease: str) -> None:
        found = being_stopped(session, lease)
        with self._queue:
            self.cancelling = self._told.union(found)

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

    def _take(self) -> tuple[list[_Entry], list[Columns]]:
        with self._queue:
            entries, self._changes = self._changes, []
            lines, self._lines = self._lines, []
        return entries, lines

    def _give_back(self, entries: list[_Entry], lines: list[Columns]) -> None:
        with self._queue:
            self._changes[:0] = entries
            self._lines[:0] = lines


def _nothing(session: Session) -> None:
    """The work of a transaction that only writes what is buffered."""


_opening = threading.Lock()
_open: dict[tuple[str, ...], Ledger] = {}


def current() -> Ledger:
    """The ledger on the store that the environment names at this moment.

    When the environment names another store than before, the book on the former one is closed.
    """
    key = _key()
    ledger = _open.get(key)
    return ledger if ledger is not None else _turn_to(key)


def adopt(store: Store) -> Ledger:
    """The book that `current` gives from here on: one on this store, which stays its owner's to close.

    One that is open on the same database already is kept. Raises Invalid when it is on another one.
    """
    with _opening:
        book = _open.get(_key())
        if book is None:
            book = _open[_key()] = Ledger(store)
            book.lent = True
        elif book.store.url != store.url:
            raise Invalid(f"runs of this process are written into {book.store.url}, not into {store.url}")
        return book


def give_back(book: Ledger) -> None:
    """Close a book that was adopted."""
    if not book.lent:
        return
    with _opening:
        for key in [key for key, found in _open.items() if found is book]:
            del _open[key]
    book.close()


def close() -> None:
    """Write down what is buffered and let go of the database; the next run opens it again."""
    with _opening:
        for ledger in _open.values():
            ledger.close()
        _open.clear()


def _key() -> tuple[str, ...]:
    return tuple(os.environ.get(name, "") for name in ("TOCSIN_DATABASE_URL", "TOCSIN_HOME"))


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

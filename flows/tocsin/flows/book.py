"""What this process writes down about its runs, and when; where it goes is the business of the two kinds of book.

A change that may wait (a task begins, a log line) is written behind: with the next change that may not, or after
100 ms. A change that may not wait (a task ends) is stored when `settle` returns. Threads that settle at the same time
share a transaction: the first writes for all.

    task 1  begin ─ buffer        end ─ settle ──┐
    task 2     begin ─ buffer  end ─ settle ─────┼─ one transaction: rows, events, log lines
    log lines ──────── buffer ───────────────────┘

What is logged is never thrown away: from 10,000 lines on in the buffer whoever logs is slowed down to a line a second.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from tocsin.events.clock import Clock
from tocsin.events.errors import TocsinError
from tocsin.flows.changes import Columns
from tocsin.flows.errors import Superseded
from tocsin.flows.request import Request
from tocsin.flows.writing import Change, Write
from tocsin.store.bell import Bell

BEHIND_S: Final = 0.1
MOST_LINES: Final = 10_000
SLOWED_S: Final = 1.0

logger = logging.getLogger(__name__)


Told = Callable[[BaseException | None], None]
"""Called when a change is stored, with None; or with why it is not."""


class Entry:
    """A change in the buffer, and what became of it. `told` is called once, and does not block."""

    __slots__ = ("change", "refused", "told", "written")

    def __init__(self, change: Change, told: Told | None = None) -> None:
        self.change, self.told = change, told
        self.written = False
        self.refused: str | None = None

    @property
    def error(self) -> Superseded | None:
        """Why it was refused, if it was."""
        return None if self.refused is None else Superseded(f"task run {self.change.row['name']}: {self.refused}")

    def tell(self, error: BaseException | None) -> None:
        """Tell who waits for it, if somebody does."""
        told, self.told = self.told, None
        if told is not None:
            told(error)


class Batch:
    """What is written at once."""

    def __init__(self, entries: list[Entry], lines: list[Columns]) -> None:
        self.entries, self.lines = entries, lines

    @property
    def write(self) -> Write | None:
        """The request that stores it; None for nothing."""
        if not self.entries and not self.lines:
            return None
        return Write(changes=[entry.change for entry in self.entries], lines=self.lines)

    def mark(self, refused: dict[int, str]) -> None:
        """Note what became of the changes."""
        for place, entry in enumerate(self.entries):
            entry.refused, entry.written = refused.get(place), True
            entry.tell(entry.error)


class Book(ABC):
    """The book of one process: changes and log lines in their order, and what engines ask."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._changes: list[Entry] = []
        self._lines: list[Columns] = []
        self._queue = threading.Lock()
        self._pen = threading.RLock()
        self.cancelling: frozenset[UUID] = frozenset()
        """Runs of this process that somebody wants to stop; looked up with every renewal of the lease."""
        self._told: frozenset[UUID] = frozenset()
        self._room = threading.Event()
        self._due = threading.Event()
        self._hurry = threading.Event()
        """Somebody waits for what is due."""
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    @abstractmethod
    def lease(self) -> str:
        """The name of this process's lease; taken at the first use."""

    @abstractmethod
    def ask(self, request: Request) -> Any:  # Any: each request says what it answers
        """Carry out the request, after all that was buffered before it when it writes; its answer."""

    @abstractmethod
    def bell(self, channel: str) -> Bell:
        """A bell that rings when somebody tells of changes on the channel. Raises Unavailable."""

    @abstractmethod
    def _deliver(self) -> None:
        """Store what is buffered; called with the pen in hand."""

    @abstractmethod
    def _let_go(self) -> None:
        """Give up the lease, and what the book is written into."""

    def later(self, change: Change) -> None:
        """Write it behind."""
        with self._queue:
            self._changes.append(Entry(change))
        self._arm()

    def line(self, line: Columns) -> None:
        """Write a log line behind."""
        with self._queue:
            self._lines.append(line)
            full = len(self._lines) >= MOST_LINES
            if full:
                self._room.clear()
        self._arm()
        if full:
            self._room.wait(SLOWED_S)

    def settle(self, change: Change) -> None:
        """Return when the change, and all that was buffered before it, is stored.

        Raises Superseded when the run is no longer this process's.
        """
        entry = Entry(change)
        with self._queue:
            self._changes.append(entry)
        with self._pen:
            if not entry.written:
                self._deliver()
        if entry.error is not None:
            raise entry.error

    def settle_soon(self, change: Change, told: Told) -> None:
        """Have this book's own thread store it at once, with all that comes meanwhile; `told` hears how it went."""
        with self._queue:
            self._changes.append(Entry(change, told))
        self._arm()
        self._hurry.set()
        if self._closed.is_set():  # that thread has gone
            self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        with self._pen:
            if self._changes or self._lines:
                self._deliver()

    def close(self) -> None:
        """Write everything, give up the lease, let go of what it is written into."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._due.set()
        self._hurry.set()
        if self._thread:
            self._thread.join()
        self.flush()
        self._let_go()

    def tell_to_stop(self, run_id: UUID, *, stop: bool = True) -> None:
        """The next task of this run does not begin; `stop=False` takes that back."""
        with self._queue:
            self._told = self._told | {run_id} if stop else self._told - {run_id}
            self.cancelling = self.cancelling | {run_id} if stop else self.cancelling - {run_id}

    def _heard_of(self, cancelling: list[UUID]) -> None:
        with self._queue:
            self.cancelling = self._told.union(cancelling)

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
            self._hurry.wait(BEHIND_S)
            self._due.clear()
            self._hurry.clear()
            try:
                self.flush()
            except Exception as error:  # whoever waits is told: nobody else writes for them
                known = isinstance(error, SQLAlchemyError | TocsinError)
                logger.warning("changes could not be stored yet, they stay buffered: %s", error, exc_info=not known)
                self._tell(error)
                self._closed.wait(BEHIND_S)
                self._due.set()

    def _tell(self, error: BaseException) -> None:
        with self._queue:
            waiting = [entry for entry in self._changes if entry.told is not None]
        for entry in waiting:
            entry.tell(error)

    def _take(self) -> Batch:
        with self._queue:
            batch = Batch(self._changes, self._lines)
            self._changes, self._lines = [], []
            self._room.set()
        return batch

    def _give_back(self, batch: Batch) -> None:
        with self._queue:
            self._changes[:0] = batch.entries
            self._lines[:0] = batch.lines

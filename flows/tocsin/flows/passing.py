"""Runs that nobody will ask about: `TOCSIN_DATABASE_URL=memory:`, for notebooks, tests and hot loops.

Flow runs, limits, variables and the cache are in a temporary database until the process ends; task runs, their events
and log lines are not written at all. Everything else is as always: retries, timeouts, hooks, futures, states.
"""

import threading
from tempfile import TemporaryDirectory
from typing import Any, Final

from tocsin.events.clock import SystemClock
from tocsin.flows.beat import Heart
from tocsin.flows.book import Book, Told
from tocsin.flows.changes import Columns
from tocsin.flows.request import Request
from tocsin.flows.writing import Change
from tocsin.store.bell import Bell, bell
from tocsin.store.engine import Store

URL: Final = "memory:"


class PassingBook(Book):
    """The book of a process that keeps nothing."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self._folder = TemporaryDirectory(prefix="tocsin-")
        self._store = Store.open(f"sqlite:///{self._folder.name}/passing.db")
        self._heart: Heart | None = None
        self._beginning = threading.Lock()

    @property
    def lease(self) -> str:
        """The name of this process's lease; taken at the first use."""
        with self._beginning:
            if self._heart is None:
                self._heart = Heart(self._store, self.clock)
                self._heart.start()
            return self._heart.name

    def ask(self, request: Request) -> Any:  # Any: each request says what it answers
        """Carry out the request in the temporary database."""
        with self._store.begin() if request.writes else self._store.read() as session:
            return request.perform(session)

    def bell(self, channel: str) -> Bell:
        """A bell that rings when this process tells of changes on the channel."""
        return bell(self._store, channel)

    def later(self, change: Change) -> None:
        """Let it pass."""

    def line(self, line: Columns) -> None:
        """Let it pass; it has been shown."""

    def settle(self, change: Change) -> None:
        """Let it pass."""

    def settle_soon(self, change: Change, told: Told) -> None:
        """Let it pass, and say so."""
        told(None)

    def _deliver(self) -> None:
        """There is nothing."""

    def _let_go(self) -> None:
        if self._heart:
            self._heart.stop()
        self._store.close()
        self._folder.cleanup()

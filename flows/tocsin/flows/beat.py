"""The lease of this process: one row, renewed while it lives. A run whose lease is over has crashed."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col

from tocsin.events.clock import Clock
from tocsin.events.ids import uuid7
from tocsin.flows.presence import presence_of
from tocsin.store import leases, tables
from tocsin.store.engine import Store

TTL: Final = timedelta(seconds=10)
INTERVAL: Final = timedelta(seconds=3)

logger = logging.getLogger(__name__)


def here() -> str:
    """This process, for a person who looks for it: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Heart:
    """Holds a lease from `start` to `stop` with one daemon thread."""

    def __init__(
        self, store: Store, clock: Clock, kind: str = "process", also: Callable[[Session, str], None] | None = None
    ) -> None:
        """`also` is called with each renewal, in its transaction, with the lease's name."""
        self.name = f"{kind}:{uuid7()}"
        self._store, self._clock, self._also = store, clock, also
        self._presence = presence_of(store, clock, kind)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the lease and begin to renew it."""
        self.beat()
        self._presence.take(self.name)
        self._thread = threading.Thread(target=self._run, name="tocsin-heart", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Renew the lease, or take it again when this process was asleep beyond its end."""
        with self._store.begin() as session:
            leases.acquire(session, self.name, here(), self._clock.now(), TTL)
            if self._also:
                self._also(session, self.name)

    def stop(self) -> None:
        """Give the lease up: what still runs under it has crashed."""
        self._stopped.set()
        if self._thread:
            self._thread.join()
            self._presence.leave()
        table = tables.Lease
        with self._store.begin() as session:
            session.connection().execute(delete(table).where(col(table.name) == self.name))

    def _run(self) -> None:
        every(INTERVAL, self._stopped, self.beat)


def every(interval: timedelta, stopped: threading.Event, beat: Callable[[], None]) -> None:
    """Call `beat` at this interval until `stopped`; a database that is away for a moment is tried again."""
    while not stopped.wait(interval.total_seconds()):
        try:
            beat()
        except SQLAlchemyError as error:
            logger.warning("the lease could not be renewed, trying again: %s", error)

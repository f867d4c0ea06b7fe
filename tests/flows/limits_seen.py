"""What tests of limits look at: who is inside, how a limit stands."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.flows.conftest import Book
from tocsin.flows.limits import Status, get_limit

PATIENCE_S: Final = 30.0


def now() -> datetime:
    return datetime.now(UTC)


class Meter:
    """Counts who is inside at once."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self._lock = threading.Lock()

    @contextmanager
    def count(self) -> Iterator[None]:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self.entered.acquire(timeout=PATIENCE_S)


def status(book: Book, kind: str, name: str) -> Status:
    with book.store.read() as session:
        return get_limit(session, kind, name, now())


def met(condition: Callable[[], Any]) -> None:
    """Return when the condition holds."""
    tick, end = threading.Event(), datetime.now(UTC) + timedelta(seconds=PATIENCE_S)
    while not condition():
        assert datetime.now(UTC) < end
        tick.wait(0.005)

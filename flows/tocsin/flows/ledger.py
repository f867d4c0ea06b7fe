"""The book of this process on a database, and which book it is that the environment names."""

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import Session

from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import Invalid
from tocsin.flows.beat import Heart
from tocsin.flows.book import Book
from tocsin.flows.changes import being_stopped
from tocsin.flows.request import Request
from tocsin.flows.writing import Write
from tocsin.store.bell import Bell, bell
from tocsin.store.engine import Store, went_away

PATIENCE_S: Final = 600.0
"""How long what a run reports waits for a database that is away."""
SOONEST_S: Final = 0.05
LATEST_S: Final = 2.0

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Ledger(Book):
    """The book of one process on one store."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        super().__init__(clock or SystemClock())
        self.store = store
        self.lent = False
        """The store is somebody else's, who closes it."""
        self._heart: Heart | None = None

    @property
    def lease(self) -> str:
        """The name of this process's lease; taken at the first use."""
        if self._heart is None:
            with self._pen:
                if self._heart is None:
                    heart = Heart(self.store, self.clock, also=self._look_for_cancelling)
                    self._patiently(heart.start)
                    self._heart = heart
        return self._heart.name

    def ask(self, request: Request) -> Any:  # Any: each request says what it answers
        """Carry out the request, after all that was buffered before it when it writes; its answer."""
        if request.writes:
            return self.transact(request.perform)
        return self._patiently(lambda: self._looked_up(request))

    def bell(self, channel: str) -> Bell:
        """A bell that rings when somebody tells of changes on the channel. Raises Unavailable."""
        return bell(self.store, channel)

    def transact(self, work: Callable[[Session], T]) -> T:
        """`work` in a write transaction, after all that was buffered before it.

        While the database is away it is tried again: `work` has to leave, carried out twice, what it leaves when
        carried out once, because nobody knows what became of a transaction whose connection was lost in its commit.
        """
        with self._pen:
            batch = self._take()
            try:
                refused, answer = self._patiently(lambda: self._written(batch.write, work))
            except BaseException:
                self._give_back(batch)
                raise
            batch.mark(refused)
            return answer

    def _written(self, write: Write | None, work: Callable[[Session], T]) -> tuple[dict[int, str], T]:
        with self.store.begin() as session:
            return write.perform(session) if write else {}, work(session)

    def _looked_up(self, request: Request) -> Any:  # Any: as `ask`
        with self.store.read() as session:
            return request.perform(session)

    def _patiently(self, work: Callable[[], T]) -> T:
        """What `work` gives; while the database is away it is tried again, for ten minutes."""
        end, wait = time.monotonic() + PATIENCE_S, SOONEST_S
        while True:
            try:
                return work()
            except (DBAPIError, PoolTimeoutError) as error:
                if not went_away(error) or time.monotonic() > end:
                    raise
                logger.warning("the database does not answer, trying again: %s", error.__cause__ or error)
            time.sleep(wait)
            wait = min(2 * wait, LATEST_S)

    def _deliver(self) -> None:
        batch = self._take()
        try:
            batch.mark(self._patiently(lambda: self._stored(batch.write)))
        except BaseException:
            self._give_back(batch)
            raise

    def _stored(self, write: Write | None) -> dict[int, str]:
        if write is None:
            return {}
        with self.store.write() as statements:
            return write.perform(statements)

    def _let_go(self) -> None:
        if self._heart:
            self._heart.stop()
        if not self.lent:
            self.store.close()

    def _look_for_cancelling(self, session: Session, lease: str) -> None:
        self._heard_of(being_stopped(session, lease))


_opening = threading.Lock()
_open: dict[tuple[str, ...], Book] = {}


def current() -> Book:
    """The book that the environment names at this moment: of the server at TOCSIN_API_URL, else on the database.

    When the environment names another one than before, the former is closed.
    """
    key = _key()
    book = _open.get(key)
    return book if book is not None else _turn_to(key)


def local() -> Ledger:
    """The book on the database itself. Raises Invalid where a server stands between."""
    book = current()
    if not isinstance(book, Ledger):
        raise Invalid("this needs the database itself: set TOCSIN_DATABASE_URL, and not TOCSIN_API_URL")
    return book


def use(store: Store, clock: Clock) -> Ledger:
    """A book on this store and by this clock, which `current` gives while the environment stays; `close` ends both."""
    with _opening:
        book = Ledger(store, clock)
        _put(_key(), book)
        return book


def adopt(store: Store) -> Ledger:
    """The book that `current` gives from here on: one on this store, which stays its owner's to close.

    One that is open on the same database already is kept. Raises Invalid when it is on another one.
    """
    with _opening:
        book = _open.get(_key())
        if book is None:
            lent = _open[_key()] = Ledger(store)
            lent.lent = True
            return lent
        if not isinstance(book, Ledger) or book.store.url != store.url:
            raise Invalid(f"runs of this process are written into another book, not into {store.url}")
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
    return tuple(os.environ.get(name, "") for name in ("TOCSIN_API_URL", "TOCSIN_DATABASE_URL", "TOCSIN_HOME"))


def _turn_to(key: tuple[str, ...]) -> Book:
    with _opening:
        if key not in _open:
            _put(key, _fresh(key[0]))
        return _open[key]


def _put(key: tuple[str, ...], fresh: Book) -> None:
    for book in _open.values():
        book.close()
    _open.clear()
    _open[key] = fresh


def _fresh(api_url: str) -> Book:
    if not api_url and os.environ.get("TOCSIN_DATABASE_URL") == "memory:":
        from tocsin.flows.passing import PassingBook

        return PassingBook()
    if not api_url:
        return Ledger(Store.open())
    from tocsin.flows.remote import RemoteBook

    return RemoteBook(api_url, os.environ.get("TOCSIN_API_KEY", ""))


def _forget() -> None:
    """A forked child has no threads and may not use its parent's connections: it opens its own book."""
    global _opening
    _opening = threading.Lock()
    _open.clear()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

"""A bell that any process may ring, for threads that wait for it.

PostgreSQL passes it on by NOTIFY. On SQLite every commit of another connection looks like a ring, noticed within 10 ms:
who is woken looks whether it was meant.
"""

import select
import socket
import threading
import time
from typing import Any, Final, Protocol

from sqlalchemy import text
from sqlmodel import Session

from tocsin.events.errors import Unavailable
from tocsin.store.engine import POLL_SQLITE, Store, touch

_NOTIFY: Final = text("SELECT pg_notify(:channel, '')")
_PREFIX: Final = "tocsin_"


def ring(session: Session, channel: str) -> None:
    """Wake those who wait on the channel, as soon as this transaction is committed."""
    touch(session, channel)
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(_NOTIFY, {"channel": _PREFIX + channel})


class Bell(Protocol):
    """Heard by one thread, rung by any process. `exact`: it is heard only when it was meant for this channel."""

    exact: bool

    def wait(self, timeout_s: float) -> bool:
        """Return True as soon as it may have been rung since the last `wait`, False after `timeout_s`."""
        ...

    def wake(self) -> None:
        """Make `wait` return True; callable from any thread of this process."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


def bell(store: Store, channel: str) -> Bell:
    """A bell on the channel. It raises Unavailable while the database does not answer, and may be asked again."""
    return _Probing(store) if store.dialect == "sqlite" else _Listening(store, channel)


class _Probing:
    """Looks every 10 ms whether another connection has committed anything."""

    exact = False

    def __init__(self, store: Store) -> None:
        self._probe = store.probe
        self._woken = threading.Event()
        self._seen = self._probe(None)

    def wait(self, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while True:
            before, self._seen = self._seen, self._probe(self._seen)
            if self._woken.is_set() or self._seen != before:
                self._woken.clear()
                return True
            rest = end - time.monotonic()
            if rest <= 0:
                return False
            self._woken.wait(min(rest, POLL_SQLITE.total_seconds()))

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        return


class _Listening:
    """A connection of its own that listens; one that was lost is made anew, and counts as a ring."""

    exact = True

    def __init__(self, store: Store, channel: str) -> None:
        self._engine, self._channel = store.engine, _PREFIX + channel
        self._inner, self._outer = socket.socketpair()
        self._raw: Any = None  # Any: sqlalchemy's connection of a pool, with the driver's inside

    def wait(self, timeout_s: float) -> bool:
        try:
            if self._raw is None:
                self._raw = self._connected()
                return True
            return self._heard() or self._selected(timeout_s)
        except self._engine.dialect.loaded_dbapi.Error as error:
            self._let_go()
            raise Unavailable(f"channel {self._channel}: {error}") from error

    def wake(self) -> None:
        self._outer.send(b".")

    def close(self) -> None:
        self._inner.close()
        self._outer.close()
        self._let_go()

    def _selected(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._raw.dbapi_connection, self._inner], [], [], max(0.0, timeout_s))
        if self._inner in ready:
            self._inner.recv(4096)
            return True
        return bool(ready) and self._heard()

    def _heard(self) -> bool:
        """Reads all that has come, so that it is told once."""
        return len(list(self._raw.dbapi_connection.notifies(timeout=0))) > 0

    def _let_go(self) -> None:
        if self._raw is not None:
            self._raw.close()
        self._raw = None

    def _connected(self) -> Any:  # Any: sqlalchemy's connection of a pool, with the driver's inside
        raw: Any = self._engine.raw_connection()
        raw.detach()
        raw.dbapi_connection.autocommit = True
        raw.dbapi_connection.execute(f'LISTEN "{self._channel}"')
        return raw

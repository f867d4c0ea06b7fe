"""A lease tells that its holder lived some seconds ago; a presence tells whether it lives now.

The holder locks something that the operating system or the database server lets go of in the moment in which the
process ends, whatever ends it. Who wants to know tries the lock: free means dead. A process that only stands still
(SIGSTOP, a host that is gone) keeps its lock, or seems to: its lease decides, as it does without a presence.

    worker on PostgreSQL     an advisory lock in a session of its own     seen from everywhere
    all others               a lock on a file under TOCSIN_HOME           seen from the same machine
"""

import fcntl
import logging
import os
import select
import socket
import threading
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import delete, update
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from tocsin.events.clock import Clock
from tocsin.flows.presence_tables import PresenceRow
from tocsin.store.engine import Store, insert_new
from tocsin.store.home import home

FOLDER: Final = "alive"
_LOCK: Final = "SELECT pg_advisory_lock_shared(%s)"
_SESSION: Final = "SELECT pg_postmaster_start_time()::text || '/' || pg_backend_pid()"

logger = logging.getLogger(__name__)


class Presence(Protocol):
    """Held from `take` to `leave` by one process for one lease."""

    def take(self, lease: str) -> None:
        """Hold it; a presence that cannot be held is done without."""
        ...

    def leave(self) -> None:
        """Let go of it: in order, not dead."""
        ...


def presence_of(store: Store, clock: Clock, kind: str) -> Presence:
    """The presence that fits a `worker` or another `kind` of process on this store."""
    if kind == "worker" and store.dialect == "postgresql":
        return SessionLock(store, clock)
    return FileLock(store, clock)


class FileLock:
    """A lock on a file of its own, which ends with the process, and with those that it forked."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._lease, self._path = "", Path()
        self._file: int | None = None

    def take(self, lease: str) -> None:
        """Lock the file, then tell of it."""
        try:
            folder = home() / FOLDER
            folder.mkdir(mode=0o700, exist_ok=True)
            path = folder / f"{lease.replace(':', '-')}.lock"
            file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            logger.warning("whether this process lives is known by its lease only: %s", error)
            return
        self._lease, self._path, self._file = lease, path, file
        os.register_at_fork(after_in_child=self._forget)
        _tell(self._store, lease, kind="file", path=str(path), since=self._clock.now())

    def leave(self) -> None:
        """Take back what was told, then unlock."""
        if self._file is None:
            return
        _take_back(self._store, self._lease)
        self._path.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        """A forked child that kept the file open would keep the lock."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.close(file)


class SessionLock:
    """An advisory lock in a session of its own, taken again when that session breaks."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._lease = ""
        self._inner, self._outer = socket.socketpair()
        self._thread: threading.Thread | None = None
        self._raw: Any = None  # Any: sqlalchemy's connection of a pool, with the driver's inside

    def take(self, lease: str) -> None:
        """Lock, tell of it, and begin to look after the session."""
        self._lease = lease
        self._lock()
        os.register_at_fork(after_in_child=self._forget)
        self._thread = threading.Thread(target=self._look_after, name="tocsin-presence", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Take back what was told, then unlock."""
        self._outer.close()
        if self._thread:
            self._thread.join()
        _take_back(self._store, self._lease)
        self._let_go()
        self._inner.close()

    def _lock(self) -> None:
        errors = (SQLAlchemyError, self._store.engine.dialect.loaded_dbapi.Error)
        try:
            self._raw = self._store.engine.raw_connection()
            self._raw.detach()
            connection = self._raw.dbapi_connection
            connection.autocommit = True
            connection.execute(_LOCK, (lock_key(self._lease),))
            session, now = connection.execute(_SESSION).fetchone()[0], self._clock.now()
            _tell(self._store, self._lease, kind="session", session=session, since=now)
        except errors as error:
            logger.warning("whether this process lives is known by its lease only, for now: %s", error)
            self._let_go()

    def _look_after(self) -> None:
        """A session that ends is noticed at once, by its socket."""
        while True:
            if self._raw is None:
                ready, _, _ = select.select([self._inner], [], [], 1.0)
                if ready:
                    return
                self._lock()
                continue
            ready, _, _ = select.select([self._inner, self._raw.dbapi_connection], [], [])
            if self._inner in ready:
                return
            self._let_go()
            self._lock()

    def _let_go(self) -> None:
        if self._raw is not None:
            with suppress(self._store.engine.dialect.loaded_dbapi.Error):
                self._raw.close()
        self._raw = None

    def _forget(self) -> None:
        """A forked child that kept the socket open would keep the session."""
        raw, self._raw = self._raw, None
        if raw is not None:
            with suppress(OSError):
                os.close(raw.dbapi_connection.fileno())


def lock_key(lease: str) -> int:
    """The number of a lease's advisory lock, 64 bits with a sign."""
    return int.from_bytes(blake2b(lease.encode(), digest_size=8).digest(), "big", signed=True)


@cache
def machine() -> str:
    """This machine since it was started: files on it are seen from nowhere else."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}/{boot}"


def _tell(store: Store, lease: str, **also: Any) -> None:  # Any: values of columns
    """By statements: the first use of an object would have SQLAlchemy look at every table there is."""
    row = {"lease": lease, "host": machine(), "path": "", "session": "", **also}
    with store.begin() as session:
        if not insert_new(session, PresenceRow, [row]):
            session.connection().execute(update(PresenceRow).where(col(PresenceRow.lease) == lease).values(**row))


def _take_back(store: Store, lease: str) -> None:
    with store.begin() as session:
        session.connection().execute(delete(PresenceRow).where(col(PresenceRow.lease) == lease))

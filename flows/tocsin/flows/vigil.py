"""Sees who is dead by trying their locks, and ends the runs that they held."""

import asyncio
import fcntl
import logging
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy import delete, text
from sqlmodel import Session, col, select

from tocsin.events.clock import Clock, SystemClock
from tocsin.flows import watchdog
from tocsin.flows.presence import lock_key, machine
from tocsin.flows.presence_tables import PresenceRow
from tocsin.store.engine import AWAY, Store
from tocsin.store.signals import first

EVERY: Final = timedelta(seconds=0.5)
GONE: Final = "its process is gone: it has let go of its lock"

_SERVER: Final = text("SELECT pg_postmaster_start_time()::text")
_HELD: Final = text(
    "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
    "AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)

logger = logging.getLogger(__name__)

Seen = frozenset[tuple[str, str]]
"""Presences by lease and session: one that was taken anew is another one."""


class Vigil:
    """Looks twice a second. A session that is found broken is given until the next look to be made anew."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store, self._clock = store, clock or SystemClock()
        self._suspects: Seen = frozenset()

    async def serve(self, stop: asyncio.Event) -> None:
        """Look until `stop`."""
        while not stop.is_set():
            try:
                for run in await self.look():
                    logger.warning("flow run %s has crashed: %s", run, GONE)
            except AWAY as error:
                self._suspects = frozenset()
                logger.warning("the database does not answer, trying again: %s", type(error).__name__)
            await first(stop.wait(), asyncio.sleep(EVERY.total_seconds()))

    async def look(self) -> list[UUID]:
        """Look once; the runs that have crashed."""
        free = await self._store.look(free_presences)
        broken = frozenset(seen(free, "session"))
        dead = [*seen(free, "file"), *(broken & self._suspects)]
        self._suspects = broken
        if not dead:
            return []
        now = self._clock.now()
        return await self._store.run(lambda session: bury(session, dead, now))


def seen(rows: Iterable[PresenceRow], kind: str) -> list[tuple[str, str]]:
    """Lease and session of the presences of this kind."""
    return [(row.lease, row.session) for row in rows if row.kind == kind]


def free_presences(session: Session) -> list[PresenceRow]:
    """The presences whose lock nobody holds, as far as that can be told from here."""
    rows = session.exec(select(PresenceRow)).all()
    if not rows:
        return []
    here = machine()
    files = [row for row in rows if row.kind == "file" and row.host == here and unlocked(Path(row.path))]
    sessions = [row for row in rows if row.kind == "session"]
    return [*files, *(_ended(session, sessions) if sessions else [])]


def unlocked(path: Path) -> bool:
    """Whether the file is there and nobody holds its lock. A file that is not there says nothing."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(file)


def bury(session: Session, dead: Collection[tuple[str, str]], now: datetime) -> list[UUID]:
    """End what the dead held, and their leases; the runs that have crashed. One that is told of anew lives."""
    gone = []
    for lease, known in dead:
        same = (col(PresenceRow.lease) == lease, col(PresenceRow.session) == known)
        row = session.exec(select(PresenceRow).where(*same)).one_or_none()
        if row is not None:
            session.connection().execute(delete(PresenceRow).where(*same))
            gone.append(lease)
            if row.path:
                with suppress(OSError):
                    Path(row.path).unlink()
    return watchdog.bury(session, gone, GONE, now)


def _ended(session: Session, rows: list[PresenceRow]) -> list[PresenceRow]:
    """Those whose session is over, of the server that runs now: one that was started anew has forgotten all locks."""
    server = session.connection().execute(_SERVER).scalar_one()
    held = set(session.connection().execute(_HELD).scalars())
    return [row for row in rows if row.session.startswith(f"{server}/") and lock_key(row.lease) not in held]

"""The watchdog as a service: what no process tells of itself, it finds, again and again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlmodel import Session, select

from tocsin.events.clock import Clock
from tocsin.flows import posts
from tocsin.flows.beat import TTL
from tocsin.flows.watchdog import LATE_AFTER, end_pauses, mark_late, sweep
from tocsin.store.engine import AWAY, Store
from tocsin.store.tables import Lease

EVERY: Final = timedelta(seconds=2)
STOOD_STILL: Final = timedelta(seconds=6)

logger = structlog.get_logger(__name__)


class Sweeping:
    """Sweeps every two seconds; any number of processes may. Runs that nobody took are late after `late_after`.

    Silence tells of a death only where others could be heard: when this process itself stood still (a machine that
    slept, or was far too busy) or the database was away, everybody has the time of a lease to renew theirs first.
    """

    def __init__(self, store: Store, clock: Clock, late_after: timedelta = LATE_AFTER) -> None:
        self._store, self._clock, self._late_after = store, clock, late_after
        self._looked: datetime | None = None
        self._listens_until = datetime.min.replace(tzinfo=UTC)

    async def serve(self, stop: asyncio.Event) -> None:
        """Sweep until `stop`."""
        while not stop.is_set():
            await self.look()
            await _pause(stop)

    async def look(self) -> None:
        """Sweep once, or listen once more."""
        now = self._clock.now()
        if self._looked is not None and now - self._looked > STOOD_STILL:
            self._listens_until = now + TTL
        self._looked = now
        try:
            if now < self._listens_until:
                await self._store.look(_any_lease)
                return
            await self._store.run(lambda session: mark_late(session, now, self._late_after))
            await self._store.run(lambda session: end_pauses(session, now))
            await self._store.run(lambda session: posts.forget(session, now))
            for run in await self._store.run(lambda session: sweep(session, now)):
                logger.warning("a flow run's process fell silent", run=str(run), state="CRASHED")
        except AWAY as error:
            logger.warning("the database does not answer, trying again", reason=type(error).__name__)
            self._listens_until = self._clock.now() + TTL


def _any_lease(session: Session) -> str | None:
    """Fails while the database is away."""
    return session.exec(select(Lease.name).limit(1)).first()


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(EVERY.total_seconds()):
            await stop.wait()
    except TimeoutError:
        return

"""Tidying as a service: expired entries of the cache go every few minutes, files to which no row refers once a day."""

import asyncio
from datetime import datetime, timedelta
from typing import Final

import structlog

from tocsin.events.clock import Clock
from tocsin.events.errors import Invalid
from tocsin.flows.cache_shelf import clear
from tocsin.flows.cache_sweep import sweep_files
from tocsin.store.engine import AWAY, Store

EVERY: Final = timedelta(seconds=30)
ENTRIES: Final = timedelta(minutes=5)
FILES: Final = timedelta(days=1)
FIRST: Final = timedelta(minutes=10)
"""After the start; one that is started again and again does not list the storage each time."""

logger = structlog.get_logger(__name__)


class Tidying:
    """Tidies the database and the storage that is configured here; any number of processes may."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._entries = clock.now()
        self._files = clock.now() + FIRST

    async def serve(self, stop: asyncio.Event) -> None:
        """Tidy until `stop`."""
        while not stop.is_set():
            await self.look()
            try:
                async with asyncio.timeout(EVERY.total_seconds()):
                    await stop.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Do what is due."""
        now = self._clock.now()
        try:
            if now >= self._entries:
                self._entries = now + ENTRIES
                await self._store.run(lambda session: clear(session, now, expired=True))
            if now >= self._files:
                self._files = now + FILES
                await self._sweep(now)
        except AWAY as error:
            logger.warning("the database or the storage does not answer, trying again", reason=type(error).__name__)

    async def _sweep(self, now: datetime) -> None:
        try:
            swept = await asyncio.to_thread(sweep_files, self._store)
        except Invalid as error:
            logger.warning("results that nobody refers to stay", reason=str(error), at=now.isoformat())
            return
        if swept.files:
            logger.info("results that nobody refers to were taken away", files=swept.files, bytes=swept.size)

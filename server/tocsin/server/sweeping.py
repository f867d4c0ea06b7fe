"""The watchdog as a service: runs whose process fell silent become CRASHED, again and again."""

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from tocsin.events.clock import Clock
from tocsin.flows.watchdog import sweep
from tocsin.store.engine import AWAY, Store

EVERY: Final = timedelta(seconds=2)

logger = structlog.get_logger(__name__)


class Sweeping:
    """Sweeps every two seconds; any number of processes may."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def serve(self, stop: asyncio.Event) -> None:
        """Sweep until `stop`."""
        while not stop.is_set():
            try:
                for run in await self._store.run(lambda session: sweep(session, self._clock.now())):
                    logger.warning("a flow run's process fell silent", run=str(run), state="CRASHED")
            except AWAY as error:
                logger.warning("the database does not answer, trying again", reason=type(error).__name__)
            await _pause(stop)


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(EVERY.total_seconds()):
            await stop.wait()
    except TimeoutError:
        return

"""What wakes a worker: whatever changes runs rings a bell, in this process or in any other."""

import asyncio
import logging
import threading
from datetime import timedelta
from typing import Final, Protocol

from tocsin.events.errors import Unavailable
from tocsin.flows.changes import RUNS
from tocsin.store.bell import bell
from tocsin.store.engine import Store
from tocsin.store.signals import Watch

LISTENS_S: Final = 60.0
RETRY_S: Final = 1.0

logger = logging.getLogger(__name__)


class Waking(Protocol):
    """Heard by one event loop."""

    async def wait(self, timeout: timedelta) -> bool:
        """Return True as soon as runs may have changed since the last `wait`, False after `timeout`."""
        ...

    def close(self) -> None:
        """Stop hearing."""
        ...


def waking(store: Store) -> Waking | Watch:
    """On PostgreSQL a listener, which costs nothing while nothing happens; on SQLite the store's own watch."""
    return Listener(store) if store.dialect == "postgresql" else store.watch(RUNS)


class Listener:
    """A thread that waits for the bell. While the database is away it looks every second whether it is back."""

    def __init__(self, store: Store) -> None:
        self._loop, self._rung = asyncio.get_running_loop(), asyncio.Event()
        self._bell, self._stopped = bell(store, RUNS), threading.Event()
        self._thread = threading.Thread(target=self._listen, name="tocsin-waking", daemon=True)
        self._thread.start()

    async def wait(self, timeout: timedelta) -> bool:
        """Return True as soon as it rang since the last `wait`, False after `timeout`."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    def close(self) -> None:
        """Stop listening."""
        self._stopped.set()
        self._bell.wake()
        self._thread.join()
        self._bell.close()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                rung = self._bell.wait(LISTENS_S)
            except Unavailable as error:
                logger.warning("nobody can be heard until the database answers: %s", error)
                rung = True
                self._stopped.wait(RETRY_S)
            if rung and not self._stopped.is_set():
                self._loop.call_soon_threadsafe(self._rung.set)

"""Containers that outlived their worker: found by their labels, judged by the database, removed.

Another worker's containers are nobody's leftovers while their attempts are under way. So is what the database does
not know: it may be of another installation on the same engine.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from tocsin.events.errors import TocsinError
from tocsin.flows.containers import Attempt
from tocsin.flows.orders import standing_of
from tocsin.store.engine import Store

EVERY: Final = timedelta(minutes=1)
"""Also the time that a container has to end when its run is over."""

logger = logging.getLogger(__name__)


def over(session: Session, attempts: Collection[Attempt]) -> frozenset[Attempt]:
    """Which of them are not under way any more."""
    rows = standing_of(session, [run for run, _ in attempts])
    known = ((attempt, rows[attempt[0]]) for attempt in attempts if attempt[0] in rows)
    return frozenset(it for it, row in known if row["attempt"] != it[1] or row["lease"] is None)


class Sweep:
    """Removes what was over at two looks in succession. `find`: whose is what is there; `remove`: one of them."""

    def __init__(
        self,
        store: Store,
        find: Callable[[], Awaitable[Mapping[str, Attempt]]],
        remove: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store, self._find, self._remove = store, find, remove
        self._before: frozenset[Attempt] = frozenset()

    async def serve(self) -> None:
        """Look now and then until it is cancelled."""
        while True:
            try:
                await self.look()
            except (TocsinError, SQLAlchemyError) as error:
                logger.warning("leftover containers could not be looked for, trying again: %s", error)
            await asyncio.sleep(EVERY.total_seconds())

    async def look(self) -> list[str]:
        """Look once; what was removed."""
        found = await self._find()
        gone = await self._store.look(lambda session: over(session, set(found.values()))) if found else frozenset()
        removed = sorted(name for name, attempt in found.items() if attempt in gone & self._before)
        self._before = gone
        for name in removed:
            await self._remove(name)
            logger.warning("%s: removed, it had outlived its worker", name)
        return removed

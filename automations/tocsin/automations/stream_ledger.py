"""Third stage: decisions into the database's ledger; and events from outside into the log, once."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, Generic, TypeVar

from sqlalchemy.exc import DataError, IntegrityError
from sqlmodel import Session

from tocsin.automations.recording import record
from tocsin.automations.stream_decisions import Told, decisions, together
from tocsin.automations.stream_route import GROUP as ROUTED
from tocsin.events import codec
from tocsin.events.bus import Bus, Record, Subscription
from tocsin.events.clock import Clock
from tocsin.events.errors import BadEvent, Conflict, Unavailable
from tocsin.events.model import Event
from tocsin.events.topics import EXTERNAL, INVOCATIONS
from tocsin.store import positions
from tocsin.store.engine import AWAY, Store
from tocsin.store.log import append, hear

GROUP: Final = "automations-ledger"
HEARING: Final = "automations-hear"
BATCH: Final = 100
HEARD: Final = 500
WAIT: Final = timedelta(milliseconds=500)
PAUSE_S: Final = 1.0

T = TypeVar("T")

_LOG = logging.getLogger("tocsin.automations.stream")


class Keeper(Generic[T]):
    """One member of a group that writes records of `topic` down, in one transaction a batch."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        group: str,
        topic: str,
        batch: int,
        read: Callable[[Record], T],
        write: Callable[[Session, Sequence[T]], None],
        buries: bool = True,
    ) -> None:
        self._store, self._bus, self._group, self._topic, self._batch = store, bus, group, topic, batch
        self._read, self._write, self._buries = read, write, buries
        self.count = 0

    async def serve(self, stop: asyncio.Event) -> None:
        """Write until `stop`; a database that is away is waited for. Raises `Unavailable` when the broker is away."""
        async with self._bus.subscribe(self._group, (self._topic,)) as subscription:
            while not stop.is_set():
                await self._turn(subscription, stop)

    async def _turn(self, subscription: Subscription, stop: asyncio.Event) -> None:
        records = await subscription.fetch(self._batch, WAIT)
        if not records or not await self._keep(subscription, records, stop):
            return
        try:
            await subscription.commit(records)
        except Conflict:
            _LOG.info("some records were written by two members; the second time changes nothing")
        self.count += len(records)

    async def _keep(self, subscription: Subscription, records: Sequence[Record], stop: asyncio.Event) -> bool:
        """Write the records; one by one when they cannot be written together. False when `stop` came first."""
        while not stop.is_set():
            try:
                bad = await self._store.run(lambda session: self._written(session, records))
                for one, reason in bad:
                    await self._bury(subscription, one, reason)
                return True
            except (DataError, IntegrityError) as error:
                if len(records) == 1:
                    await self._bury(subscription, records[0], str(error.orig))
                    return True
                return all([await self._keep(subscription, [one], stop) for one in records])
            except AWAY as error:
                _LOG.warning("what was decided waits for the database: %s", error)
                await _pause(stop)
        return False

    def _written(self, session: Session, records: Sequence[Record]) -> list[tuple[Record, str]]:
        """Write what has not been written yet, and how far that is; those that cannot be read, and why."""
        handled = positions.offsets(session, self._group)
        fresh = [one for one in records if one.offset >= handled.get((one.stream, one.partition), 0)]
        found, bad = [], []
        for one in fresh:
            try:
                found.append(self._read(one))
            except BadEvent as error:
                bad.append((one, str(error)))
        if not fresh:
            return []
        if not positions.advance(session, self._group, fresh):
            raise Unavailable("the same records are written by another member")
        if found:
            self._write(session, found)
        return bad

    async def _bury(self, subscription: Subscription, record: Record, reason: str) -> None:
        if self._buries:
            _LOG.warning("a record of %s is buried: %s", record.stream, reason)
            await subscription.bury(record, reason)


def deciding(store: Store, bus: Bus, clock: Clock) -> Keeper[Told]:
    """Writes decisions into the ledger."""

    def write(session: Session, found: Sequence[Told]) -> None:
        record(session, together(found), clock.now())
        for one in found:
            append(session, one.notices)
            positions.reach(session, ROUTED, {(stream, number): offset for stream, number, offset in one.routed})

    return Keeper(store, bus, GROUP, INVOCATIONS, BATCH, lambda one: decisions(one.body), write)


def hearing(store: Store, bus: Bus, clock: Clock) -> Keeper[Event]:
    """Keeps events of others in the log. What cannot be read is buried by those who route it."""

    def read(one: Record) -> Event:
        return codec.read(one.body, clock.now())

    def write(session: Session, found: Sequence[Event]) -> None:
        hear(session, found)

    return Keeper(store, bus, HEARING, EXTERNAL, HEARD, read, write, buries=False)


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(PAUSE_S):
            await stop.wait()
    except TimeoutError:
        return

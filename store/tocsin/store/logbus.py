"""The log as a bus: the embedded default, with no broker and any number of processes on one database."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from sqlmodel import Session, col, func, select

from tocsin.events.bus import DEFAULT_WAIT, DeadLetter, Message, Record
from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import Conflict
from tocsin.events.topics import EVENTS
from tocsin.store import leases, positions
from tocsin.store.engine import Store
from tocsin.store.log import CHANNEL, STREAM, Follower, publish, writers
from tocsin.store.tables import LogEntry

SEAT: Final = timedelta(seconds=6)
"""How long a member that fell silent keeps its group's seat."""

WRITING: Final = timedelta(milliseconds=50)
"""How long to wait for what is being written, before it is known how much has not been read."""

PAUSE_S: Final = 0.002
STANDBY: Final = timedelta(seconds=1)


class LogBus:
    """The log as a bus: durable, for any number of processes on one database; no broker."""

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store, self._clock = store, clock or SystemClock()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Append, in order; durable at return."""
        if messages:
            await self._store.run(lambda session: publish(session, messages, self._clock.now()))

    def subscribe(self, group: str, topics: Sequence[str] = (EVENTS,)) -> "LogSubscription":
        """A member of `group`; the one that holds the group's lease reads, the others stand by."""
        return LogSubscription(self._store, self._clock, group, frozenset(topics))

    async def close(self) -> None:
        """Nothing to let go of: the store is its owner's."""


class LogSubscription:
    """A member of a group that follows the log."""

    def __init__(self, store: Store, clock: Clock, group: str, topics: frozenset[str]) -> None:
        self._store, self._clock, self._group, self._topics = store, clock, group, topics
        self._owner = str(uuid4())
        self._lease: leases.Lease | None = None
        self._follower = Follower()
        self._after = 0

    async def __aenter__(self) -> Self:
        self._watch = self._store.watch(CHANNEL)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.close()
        if (lease := self._lease) is not None:
            self._lease = None
            await self._store.run(lambda session: leases.release(session, lease))

    async def fetch(self, limit: int = 500, wait: timedelta = DEFAULT_WAIT) -> list[Record]:
        """The next records of the topics, in the order of the log."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait.total_seconds()
        while True:
            if await self._seated() and (records := await self._store.look(lambda session: self._read(session, limit))):
                return records
            rest = timedelta(seconds=end - loop.time())
            if rest <= timedelta(0):
                return []
            await self._watch.wait(min(rest, STANDBY))

    async def commit(self, records: Sequence[Record]) -> None:
        """Move the group past these records. Raises `Conflict` when another member has handled some of them."""
        if records:
            await self._store.run(lambda session: self._commit(session, records))

    async def bury(self, record: Record, reason: str) -> None:
        """Append the record to the dead letters with its reason."""
        letter = DeadLetter.of(record, self._group, reason).message()
        await self._store.run(lambda session: publish(session, [letter]))

    async def rewind(self) -> None:
        """Back to the committed position."""
        self._after = await self._store.look(self._committed)

    async def lag(self) -> int:
        """Entries of the topics behind the committed position; of those that are being written now, none is left out.

        On PostgreSQL a transaction that takes longer than `WRITING` is not waited for.
        """
        if self._store.dialect == "sqlite":
            return await self._store.run(self._behind)  # whoever writes has ended when it is our turn to
        then, end = await self._store.look(writers), asyncio.get_running_loop().time() + WRITING.total_seconds()
        while then and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(PAUSE_S)
            then &= await self._store.look(writers)
        return await self._store.look(self._behind)

    async def _seated(self) -> bool:
        """Whether this member holds its group's seat: taken when free, renewed before it runs out."""
        now = self._clock.now()
        if self._lease is not None and self._lease.expires - now > SEAT / 2:
            return True
        held, group = self._lease, f"log/{self._group}"
        self._lease = await self._store.run(lambda session: leases.acquire(session, group, self._owner, now, SEAT))
        if self._lease is not None and (held is None or held.fence != self._lease.fence):
            await self.rewind()
        return self._lease is not None

    def _read(self, session: Session, limit: int) -> list[Record]:
        """The next records of the topics; entries of other topics are passed over for good."""
        while found := self._follower.records(session, self._after, limit):
            self._after = found[-1].offset
            if records := [record for record in found if record.topic in self._topics]:
                return records
        return []

    def _committed(self, session: Session) -> int:
        """The number of the last entry that the group has handled."""
        return positions.offsets(session, self._group).get((STREAM, 0), 1) - 1

    def _commit(self, session: Session, records: Sequence[Record]) -> None:
        handled = self._committed(session)
        rest = [record for record in records if record.offset > handled]
        if rest and not positions.advance(session, self._group, rest):
            raise Conflict(f"group {self._group}: another member has handled these records")

    def _behind(self, session: Session) -> int:
        waiting = select(func.count()).where(
            col(LogEntry.seq) > self._committed(session), col(LogEntry.topic).in_(self._topics)
        )
        return session.exec(waiting).one()

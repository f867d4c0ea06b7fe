"""The relay: moves the log to Kafka, in order, and loses nothing wherever it is killed.

    log (database) ── read ──▶ publish, acknowledged by every replica ──▶ position moves, under the lease

A relay that dies between the last two sends those records again: each arrives at least once, and the first arrivals of
a key stand in the order of the log. One relay works at a time; one that slept through the end of its lease is fenced
off by the database and moves no position.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, cast
from uuid import uuid4

import msgspec
import structlog
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, func, select

from tocsin.events.bus import Bus, DeadLetter, Message, Record
from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import BadEvent, Conflict, Invalid, Unavailable
from tocsin.events.topics import TOPICS
from tocsin.store import leases, positions
from tocsin.store.engine import Store
from tocsin.store.log import CHANNEL, STREAM, Follower
from tocsin.store.signals import first
from tocsin.store.tables import LogEntry

GROUP: Final = "relay"
BATCH: Final = 1000
LEASE: Final = timedelta(seconds=10)
STANDBY: Final = timedelta(seconds=1)
FIRST_DELAY: Final = timedelta(milliseconds=200)
LONGEST_DELAY: Final = timedelta(seconds=5)
RELAYED: Final = frozenset(topic.name for topic in TOPICS)

Report = Callable[[int, int], None]
"""Told how far the bus lies behind, and how many attempts have failed in a row."""

_log = structlog.get_logger(__name__)


class Relay:
    """Moves what stands in the log of `store` to the same topics of `bus`, at most `batch` records at a time.

    `ttl` is how long another relay waits for one that has fallen silent. Relays of one `group` take turns, under one
    position.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        clock: Clock | None = None,
        *,
        batch: int = BATCH,
        ttl: timedelta = LEASE,
        group: str = GROUP,
        report: Report | None = None,
    ) -> None:
        self._store, self._bus, self._clock = store, bus, clock or SystemClock()
        self._batch, self._ttl, self._group, self._report = batch, ttl, group, report
        self._owner = str(uuid4())
        self._follower = Follower()
        self._lease: leases.Lease | None = None
        self._after: int | None = None

    async def serve(self, stop: asyncio.Event) -> None:
        """Move records as they come until `stop`; while the broker or the database is away, wait and lose nothing."""
        failures = 0
        with self._store.watch(CHANNEL) as watch:
            while not stop.is_set():
                error = await self._turn(stop)
                failures = self._back(failures) if error is None else self._away(failures, error)
                await self._told(failures)
                if failures or self._lease is None:
                    await first(asyncio.sleep(delay(failures).total_seconds()), stop.wait())
                else:
                    await first(watch.wait(STANDBY), stop.wait())
        await self._leave()

    async def lag(self) -> int:
        """How many numbers the bus lies behind the log; a number that was rolled back counts as well."""
        return await self._store.look(self._behind)

    async def _turn(self, stop: asyncio.Event) -> Exception | None:
        """Move what is there; what stood in the way, if it may pass by itself."""
        try:
            if await self._leads():
                await self._move(stop)
        except Conflict as error:
            self._lease = None
            _log.info("relay.fenced", group=self._group, reason=str(error))
        except (Unavailable, Invalid, OperationalError) as error:
            self._after = None
            return error
        return None

    async def _leads(self) -> bool:
        """Whether this relay holds the lease; one that takes it, or that failed, begins at the stored position."""
        now, held = self._clock.now(), self._lease
        if held is None or held.expires - now < self._ttl / 2:
            self._lease = await self._store.run(
                lambda session: leases.acquire(session, self._group, self._owner, now, self._ttl)
            )
        if self._lease is None:
            return False
        if held is None or held.fence != self._lease.fence or self._after is None:
            self._after = await self._store.look(self._position)
        return True

    async def _move(self, stop: asyncio.Event) -> None:
        """Publish batch after batch; the next is read and the last is marked while one is on its way."""
        sent: Sequence[Record] = []
        batch = await self._read()
        while batch and not stop.is_set():
            steps = self._publish(batch), self._read(), self._mark(sent)
            published, following, marked = await asyncio.gather(*steps, return_exceptions=True)
            for outcome in (marked, published, following):
                if isinstance(outcome, BaseException):
                    raise outcome
            sent, batch = batch, cast(list[Record], following)
        await self._mark(sent)

    async def _read(self) -> list[Record]:
        """The next records of the log; `_after` moves on with them."""
        after = self._after or 0
        records = await self._store.look(lambda session: self._follower.records(session, after, self._batch))
        if records:
            self._after = records[-1].offset
        return records

    async def _publish(self, records: Sequence[Record]) -> None:
        wanted = [record for record in records if record.topic in RELAYED]
        try:
            await self._bus.publish([_message(record) for record in wanted])
        except BadEvent:
            for record in wanted:
                await self._publish_alone(record, _message(record), self._bus)

    async def _publish_alone(self, record: Record, message: Message, letters: Bus) -> None:
        try:
            await self._bus.publish([message])
        except BadEvent as error:
            await self._bury(record, str(error), letters)

    async def _bury(self, record: Record, reason: str, letters: Bus) -> None:
        letter = DeadLetter.of(record, self._group, f"{reason}; its body stays in the log under this offset")
        await letters.publish([_without_body(letter).message()])

    async def _mark(self, records: Sequence[Record]) -> None:
        """Store that these records are on the bus. Raises `Conflict` when the lease has gone to another relay."""
        if records:
            self._lease = await self._store.run(lambda session: self._marked(session, records[-1]))
            await self._told(0)

    async def _told(self, failures: int) -> None:
        if self._report is not None:
            with contextlib.suppress(OperationalError):
                self._report(await self.lag(), failures)

    def _marked(self, session: Session, last: Record) -> leases.Lease:
        assert self._lease is not None
        lease = leases.renew(session, self._lease, self._clock.now(), self._ttl)
        if lease is None or not positions.advance(session, self._group, [last]):
            raise Conflict("relay: another one has taken over")
        return lease

    def _position(self, session: Session) -> int:
        """The number of the last entry that is on the bus."""
        return positions.offsets(session, self._group).get((STREAM, 0), 1) - 1

    def _behind(self, session: Session) -> int:
        newest = session.exec(select(func.max(LogEntry.seq))).one()
        return max(0, (newest or 0) - self._position(session))

    def _away(self, failures: int, error: Exception) -> int:
        """One failure more; only the first of an outage is told."""
        if failures == 0:
            _log.warning("relay.waiting", group=self._group, reason=str(error))
        return failures + 1

    def _back(self, failures: int) -> int:
        if failures:
            _log.info("relay.resumed", group=self._group, failures=failures)
        return 0

    async def _leave(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            with contextlib.suppress(OperationalError):
                await self._store.run(lambda session: leases.release(session, lease))


def delay(failures: int) -> timedelta:
    """The wait after so many failures in a row, doubled each time up to `LONGEST_DELAY`; without one: of a stand-by."""
    return min(FIRST_DELAY * (1 << min(failures - 1, 10)), LONGEST_DELAY) if failures else STANDBY


def _without_body(letter: DeadLetter) -> DeadLetter:
    return msgspec.structs.replace(letter, body=b"")


def _message(record: Record) -> Message:
    return Message(record.topic, record.key, record.body)

"""The log, followed once and handed to many readers; a slow one is told what it missed."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from tocsin.server import history
from tocsin.store.engine import Store
from tocsin.store.log import CHANNEL, Follower, number
from tocsin.store.signals import first
from tocsin.store.tables import LogEntry

QUEUE: Final = 1_000
PAGE: Final = 500
_IDLE: Final = timedelta(seconds=1)

logger = structlog.get_logger(__name__)


class Reader:
    """One reader's bounded queue. Use it as a context manager, so that the feed lets go of it."""

    def __init__(self, feed: "Feed", size: int) -> None:
        self._feed = feed
        self._entries: deque[LogEntry] = deque()
        self._size = size
        self._dropped = 0
        self._filled = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._feed.forget(self)

    def give(self, entries: Sequence[LogEntry]) -> None:
        """Put entries into the queue; those that find it full are counted instead."""
        room = max(0, self._size - len(self._entries))
        self._entries.extend(entries[:room])
        self._dropped += max(0, len(entries) - room)
        if entries:
            self._filled.set()

    def wake(self) -> None:
        """Make `take` return."""
        self._filled.set()

    async def take(self, timeout: timedelta) -> tuple[list[LogEntry], int]:
        """What came, and how many were dropped after it since the last call; empty after `timeout`."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await self._filled.wait()
        except TimeoutError:
            return [], 0
        self._filled.clear()
        entries, dropped = list(self._entries), self._dropped
        self._entries.clear()
        self._dropped = 0
        return entries, dropped


class Feed:
    """Follows the log while anybody reads; `position` is the sequence number up to which readers were given all."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._readers: set[Reader] = set()
        self._wanted = asyncio.Event()
        self._follower = Follower()
        self.position = 0
        self._closed = asyncio.Event()

    def join(self, seq: int, size: int = QUEUE) -> Reader | None:
        """A reader of everything behind `seq`; None while others have been given more: page up to them first."""
        if not self._readers:
            self.position = seq
        if seq < self.position:
            return None
        reader = Reader(self, size)
        self._readers.add(reader)
        self._wanted.set()
        return reader

    def forget(self, reader: Reader) -> None:
        """Give nothing more to `reader`."""
        self._readers.discard(reader)
        if not self._readers:
            self._wanted.clear()

    def close(self) -> None:
        """End `serve`, and every reader's stream at its next look."""
        self._closed.set()
        self._wanted.set()
        for reader in self._readers:
            reader.wake()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed.is_set()

    async def head(self) -> int:
        """The log's newest sequence number."""
        return await self._store.look(history.latest)

    async def page(self, seq: int, follower: Follower) -> list[LogEntry]:
        """The next entries after `seq`, at most `PAGE`."""
        return await self._store.look(lambda session: follower.read(session, seq, PAGE))

    async def serve(self) -> None:
        """Hand out what the log gains, until `close`."""
        while not self.closed:
            await self._wanted.wait()
            with self._store.watch(CHANNEL) as watch:
                while self._readers and not self.closed:
                    if not await self._hand_out():
                        await first(watch.wait(_IDLE), self._closed.wait())

    async def _hand_out(self) -> bool:
        position = self.position
        try:
            entries = await self.page(position, self._follower)
        except SQLAlchemyError as error:
            logger.warning("feed cannot read the log", reason=str(error))
            return False
        if self.position != position:  # everybody left, and somebody came who begins elsewhere
            return True
        for reader in self._readers:
            reader.give(entries)
        if entries:
            self.position = number(entries[-1])
        return bool(entries)

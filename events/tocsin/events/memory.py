"""The bus inside one process: for tests and for programs that need no durability."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from itertools import islice
from types import TracebackType
from typing import Self

from tocsin.events.bus import DEFAULT_WAIT, DeadLetter, Message, Record
from tocsin.events.clock import Clock, SystemClock, micros
from tocsin.events.topics import EVENTS


class MemoryBus:
    """Each topic is one partition, a list; lives as long as the object."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._topics: dict[str, list[Record]] = defaultdict(list)
        self._positions: dict[tuple[str, str], int] = defaultdict(int)
        self._seats: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._grown = asyncio.Condition()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Append, in order, and wake every reader."""
        received = micros(self._clock.now())
        async with self._grown:
            for message in messages:
                lane = self._topics[message.topic]
                lane.append(Record(message.topic, message.key, message.body, message.topic, 0, len(lane), received))
            self._grown.notify_all()

    def subscribe(self, group: str, topics: Sequence[str] = (EVENTS,)) -> "MemorySubscription":
        """A member of `group`; while another member is open it gets nothing."""
        return MemorySubscription(self, group, tuple(topics))

    async def close(self) -> None:
        """Nothing to let go of."""


class MemorySubscription:
    """A member of a group; the first to come reads, the others wait for its seat."""

    def __init__(self, bus: MemoryBus, group: str, topics: tuple[str, ...]) -> None:
        self._bus, self._group, self._topics = bus, group, topics
        self._next: dict[str, int] = {}
        self._seated = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._seated:
            self._seat.release()
            self._seated = False

    async def fetch(self, limit: int = 500, wait: timedelta = DEFAULT_WAIT) -> list[Record]:
        """The next records, topic by topic."""
        try:
            async with asyncio.timeout(wait.total_seconds()):
                return await self._fetch(limit)
        except TimeoutError:
            return []

    async def commit(self, records: Sequence[Record]) -> None:
        """Move the group's position past these records."""
        for record in records:
            place = (self._group, record.topic)
            self._bus._positions[place] = max(self._bus._positions[place], record.offset + 1)

    async def bury(self, record: Record, reason: str) -> None:
        """Publish the record to the dead letters with its reason."""
        await self._bus.publish([DeadLetter.of(record, self._group, reason).message()])

    async def rewind(self) -> None:
        """Back to the committed position."""
        self._next = {topic: self._bus._positions[self._group, topic] for topic in self._topics}

    async def lag(self) -> int:
        """Records behind the committed position."""
        return sum(len(self._bus._topics[topic]) - self._bus._positions[self._group, topic] for topic in self._topics)

    @property
    def _seat(self) -> asyncio.Lock:
        return self._bus._seats[self._group]

    async def _fetch(self, limit: int) -> list[Record]:
        await self._sit()
        async with self._bus._grown:
            await self._bus._grown.wait_for(self._waiting)
        return self._take(limit)

    async def _sit(self) -> None:
        if not self._seated:
            await self._seat.acquire()
            self._seated = True
            await self.rewind()

    def _waiting(self) -> bool:
        return any(self._next[topic] < len(self._bus._topics[topic]) for topic in self._topics)

    def _take(self, limit: int) -> list[Record]:
        taken: list[Record] = []
        for topic in self._topics:
            start, room = self._next[topic], limit - len(taken)
            taken += islice(self._bus._topics[topic], start, start + room)
            self._next[topic] = min(start + room, len(self._bus._topics[topic]))
        return taken

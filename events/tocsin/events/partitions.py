"""Single partitions of a Kafka topic: written to, read from their start, measured, cut."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tocsin.events.bus import Record
from tocsin.events.kafka import KafkaBus, partition
from tocsin.events.lanes import end_consumer

AT_ONCE = 2_000


class Partitions:
    """The partitions of `topic` on a bus, each by its number."""

    def __init__(self, bus: KafkaBus, topic: str) -> None:
        self._bus, self.topic = bus, topic
        self._stream = bus.prefix + topic

    async def width(self) -> int:
        """How many there are. Raises `Invalid` when there is no such topic."""
        return await self._bus.width(self.topic)

    async def write(self, bodies: Mapping[int, Sequence[bytes]]) -> dict[int, int]:
        """Return when all bodies are durable, in their order: the last offset of each partition."""
        return await self._bus.place(self.topic, bodies)

    async def read(self, number: int, start: int = 0) -> AsyncIterator[list[Record]]:
        """What lies between offset `start` and the end of a partition as it is at the call, in batches."""
        async with self._reading(number) as (consumer, place):
            first, end = (await self._bounds(consumer, [place]))[place]
            consumer.seek(place, max(first, start))
            while await self._bus.ask(consumer.position(place)) < end:
                found = await self._bus.ask(consumer.getmany(place, timeout_ms=1000, max_records=AT_ONCE))
                yield [self._record(one) for one in found.get(place, ()) if one.offset < end]

    async def bounds(self, numbers: Sequence[int]) -> dict[int, tuple[int, int]]:
        """The first offset of each partition, and the one behind its last."""
        places = [partition(self._stream, number) for number in numbers]
        async with self._reading(0) as (consumer, _):
            return {place.partition: found for place, found in (await self._bounds(consumer, places)).items()}

    async def cut(self, number: int, offset: int) -> None:
        """Forget what lies before `offset`."""
        await self._bus.cut(partition(self._stream, number), offset)

    @asynccontextmanager
    async def _reading(self, number: int) -> AsyncIterator[tuple[Any, Any]]:  # Any: aiokafka has no types
        place = partition(self._stream, number)
        consumer = await self._bus.reader(place)
        try:
            yield consumer, place
        finally:
            await end_consumer(consumer)

    async def _bounds(self, consumer: Any, places: Sequence[Any]) -> dict[Any, tuple[int, int]]:  # Any: the same
        first, ends = await self._bus.ask(
            asyncio.gather(consumer.beginning_offsets(places), consumer.end_offsets(places))
        )
        return {place: (first[place], ends[place]) for place in places}

    def _record(self, one: Any) -> Record:  # Any: aiokafka's ConsumerRecord
        return Record(self.topic, "", one.value or b"", self._stream, one.partition, one.offset, 1000 * one.timestamp)

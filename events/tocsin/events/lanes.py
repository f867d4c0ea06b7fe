"""What is done with aiokafka's producers and consumers partition by partition; its door passes them in."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.events.bus import Message
from tocsin.events.clock import Micros
from tocsin.events.farewell import end

Headers = list[tuple[str, bytes]]
# Any, below: aiokafka has no types; a lane is a TopicPartition.


async def send_lanes(producer: Any, lanes: Mapping[Any, Sequence[Message]], headers: Headers) -> dict[Any, int]:
    """Deliver the messages of each lane; the offset of the last one in each. Lanes do not wait for one another.

    Raises the first error when all have ended.
    """
    work = (_send(producer, place, lane, headers) for place, lane in lanes.items())
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    offsets = {}
    for place, outcome in zip(lanes, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            raise outcome
        offsets[place] = outcome
    return offsets


async def _send(producer: Any, place: Any, messages: Sequence[Message], headers: Headers) -> int:
    """Deliver messages of one partition in their order.

    A single message shares aiokafka's batches with others that are on their way; several are batches of their own,
    at a sixth of the cost, and each waits for the one before: behind a failed batch nothing may be written.
    """
    sealed = [(message.key.encode(), message.body) for message in messages]
    if len(sealed) == 1:
        [(key, body)] = sealed
        sent = await (await producer.send(place.topic, body, key, partition=place.partition, headers=headers))
        return int(sent.offset)
    batch, held = producer.create_batch(), 0
    for key, body in sealed:
        if batch.append(timestamp=None, key=key, value=body, headers=headers) is None:
            await _send_batch(producer, place, batch)
            batch, held = producer.create_batch(), 0
            batch.append(timestamp=None, key=key, value=body, headers=headers)
        held += 1
    return await _send_batch(producer, place, batch) + held - 1


async def _send_batch(producer: Any, place: Any, batch: Any) -> int:
    """Deliver a batch; the offset of its first message."""
    batch.close()
    sent = await (await producer.send_batch(batch, place.topic, partition=place.partition))
    return int(sent.offset)


@dataclass(frozen=True, slots=True)
class End:
    """The end of a partition as the broker gave it at `at`: everything before `offset` had been fetched by then."""

    topic: str
    stream: str
    partition: int
    offset: int
    at: Micros


async def ends(consumer: Any, prefix: str, cluster: str) -> list[End]:
    """The ends that the consumer has come to."""
    found = []
    for place in consumer.assignment():
        high = consumer.highwater(place)
        if high is not None and await consumer.position(place) >= high:
            topic, stream = place.topic.removeprefix(prefix), f"{cluster}/{place.topic}"
            found.append(End(topic, stream, place.partition, high, 1000 * consumer.last_poll_timestamp(place)))
    return found


async def end_consumer(consumer: Any) -> None:
    """Stop a consumer, be its broker away."""
    await end(consumer.stop, consumer._client.close)

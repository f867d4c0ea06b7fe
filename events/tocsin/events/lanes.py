"""What is done with aiokafka's producers and consumers partition by partition; its door passes them in."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.events.brokertime import MS, SKEW, BrokerTime
from tocsin.events.bus import Message
from tocsin.events.clock import Micros
from tocsin.events.farewell import end

ENDS_S = 0.5
Headers = list[tuple[str, bytes]]
BY_BROKER = 1
"""A timestamp's type, LogAppendTime: the broker's clock, not the sender's."""

# Any, below: aiokafka has no types; a lane is a TopicPartition.


async def send_lanes(
    producer: Any, lanes: Mapping[Any, Sequence[Message]], headers: Headers, times: BrokerTime
) -> dict[Any, int]:
    """Deliver the messages of each lane; the offset of the last one in each. Lanes do not wait for one another.

    `times` learns when the brokers stamped them. Raises the first error when all have ended.
    """
    work = (_send(producer, place, lane, headers, times) for place, lane in lanes.items())
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    offsets = {}
    for place, outcome in zip(lanes, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            raise outcome
        offsets[place] = outcome
    return offsets


async def _send(producer: Any, place: Any, messages: Sequence[Message], headers: Headers, times: BrokerTime) -> int:
    """Deliver messages of one partition in their order.

    A single message shares aiokafka's batches with others that are on their way; several are batches of their own,
    at a sixth of the cost, and each waits for the one before: behind a failed batch nothing may be written.
    """
    sealed = [(one.key.encode(), one.body, [*headers, *one.headers]) for one in messages]
    if len(sealed) == 1:
        [(key, body, told)], asked, leader = sealed, _now(), _leader(producer.client, place)
        with times.writing(leader, asked):
            sent = await (await producer.send(place.topic, body, key, partition=place.partition, headers=told))
        if leader == _leader(producer.client, place):
            times.note(leader, asked, _now(), MS * sent.timestamp if sent.timestamp_type == BY_BROKER else None)
        return int(sent.offset)
    batch, held = producer.create_batch(), 0
    for key, body, told in sealed:
        if batch.append(timestamp=None, key=key, value=body, headers=told) is None:
            await _send_batch(producer, place, batch, times)
            batch, held = producer.create_batch(), 0
            batch.append(timestamp=None, key=key, value=body, headers=told)
        held += 1
    return await _send_batch(producer, place, batch, times) + held - 1


async def _send_batch(producer: Any, place: Any, batch: Any, times: BrokerTime) -> int:
    """Deliver a batch; the offset of its first message."""
    batch.close()
    with times.writing(_leader(producer.client, place), _now()):
        sent = await (await producer.send_batch(batch, place.topic, partition=place.partition))
    return int(sent.offset)


@dataclass(frozen=True, slots=True)
class End:
    """The end of a partition, to which all has been fetched: what was stamped up to `at` lies before `offset`.

    `at` is in the broker's time; 0 while that is not known, which lasts until something has been written.
    """

    topic: str
    stream: str
    partition: int
    offset: int
    at: Micros


async def ends(consumer: Any, asker: Any, prefix: str, cluster: str, times: BrokerTime) -> list[End]:
    """The ends that the consumer has come to, as `asker` is told them now; none when it is not told them soon.

    It is another consumer, for the broker answers one after another, and a fetch lasts while nothing comes.
    """
    places, asked, wall = list(consumer.assignment()), _now(), time.time_ns() // 1000
    unanswered = times.unanswered()
    try:
        async with asyncio.timeout(ENDS_S):
            highs = await asker.end_offsets(places)
    except TimeoutError:  # a partition has no leader: what the others hold must not wait for it
        return []
    here = [place for place in places if place in consumer.assignment() and consumer.highwater(place) is not None]
    there = [place for place in here if await consumer.position(place) >= highs[place]]
    leaders = {place: _leader(asker._client, place) for place in there}
    reached = times.reached({*leaders.values()}, asked, unanswered)
    unknown = 0 if times.stamps else wall - SKEW
    return [
        End(
            place.topic.removeprefix(prefix),
            f"{cluster}/{place.topic}",
            place.partition,
            highs[place],
            reached.get(leaders[place], unknown),
        )
        for place in there
    ]


async def end_consumer(consumer: Any) -> None:
    """Stop a consumer, be its broker away."""
    await end(consumer.stop, consumer._client.close)


def _leader(client: Any, place: Any) -> int:
    """The broker that a partition is written to; -1 while that is not known."""
    found = client.cluster.leader_for_partition(place)
    return -1 if found is None else int(found)


def _now() -> Micros:
    """Of a clock that nobody sets."""
    return time.monotonic_ns() // 1000

"""The bus on Kafka; the only door to aiokafka.

Messages go out through an idempotent producer (acks=all), partitioned by key as every Kafka client does it (murmur2).
Members of a group read with manual commits. When a group is dealt anew, a member first hands over what it holds:

    fetch ── records held ── commit ──▶ revoked ──▶ the next member starts behind the commit
    fetch ── records held ── (silent for `handover`) ──▶ revoked: its commit is refused, the next one starts over
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.partitioner import murmur2

from tocsin.events import topic_plan
from tocsin.events.administration import create, settled, widths
from tocsin.events.brokertime import BrokerTime
from tocsin.events.bus import DEFAULT_WAIT, DeadLetter, Message, Record
from tocsin.events.errors import BadEvent, Conflict, Invalid, TocsinError, Unavailable
from tocsin.events.farewell import end
from tocsin.events.holdings import Membership, Place
from tocsin.events.hush import Discreet, Hush, hush
from tocsin.events.kafka_access import OPEN, Access
from tocsin.events.lanes import End, Headers, end_consumer, ends, send_lanes
from tocsin.events.topic_plan import MAX_MESSAGE_BYTES
from tocsin.events.topics import EVENTS, TOPICS, Topic

_SIZES: Final = {"max_batch_size": 128 * 1024, "max_request_size": MAX_MESSAGE_BYTES}
_GROUPLESS: Final = ("enable_auto_commit", "auto_offset_reset", "max_partition_fetch_bytes")
_MS: Final = timedelta(milliseconds=1)
_GONE: Final = "some of these records went to another member of the group; they are handled there"

hush("aiokafka", Hush())
hush("aiokafka", Discreet())
Lanes = dict[TopicPartition, list[Message]]


class KafkaBus:
    """The bus on the Kafka cluster at `bootstrap_servers` ("host:port, …").

    `topic_prefix` stands before every topic and group of this bus, so that installations can share a cluster.
    `idempotent=False` is for brokers without idempotent producers: a lost answer may then double a message.
    `access`: TLS and SASL; Invalid when its files are no good. Nothing connects before the first use; publishing gives
    up after `delivery_timeout`.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        topic_prefix: str = "",
        idempotent: bool = True,
        delivery_timeout: timedelta = timedelta(seconds=30),
        request_timeout: timedelta = timedelta(seconds=10),
        session_timeout: timedelta = timedelta(seconds=8),
        heartbeat: timedelta = timedelta(seconds=1),
        handover: timedelta = timedelta(seconds=5),
        access: Access = OPEN,
    ) -> None:
        self.address, self.prefix, self.handover, self.access = bootstrap_servers, topic_prefix, handover, access
        self._delivery_s = delivery_timeout.total_seconds()
        self.patience_s = 2 * request_timeout.total_seconds()
        timeout = {"request_timeout_ms": request_timeout // _MS}
        self._connection = {"bootstrap_servers": bootstrap_servers, **timeout, **access.client_settings()}
        self._writing = {"enable_idempotence": idempotent, "acks": "all", **_SIZES}
        self._reading = {
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "max_partition_fetch_bytes": MAX_MESSAGE_BYTES,
            "session_timeout_ms": session_timeout // _MS,
            "heartbeat_interval_ms": heartbeat // _MS,
            "rebalance_timeout_ms": (handover + session_timeout) // _MS,
        }
        self._opening, self.times = asyncio.Lock(), BrokerTime()
        self._cluster: str | None = None
        self._producer: AIOKafkaProducer | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when every replica in sync has all `messages`; order is kept per key.

        Raises `Unavailable` (some may have arrived all the same), `Invalid` when a topic is missing or forbidden,
        `BadEvent` when a message is too large.
        """
        await self._deliver(messages, [])

    def subscribe(self, group: str, topics: Sequence[str] = (EVENTS,)) -> "KafkaSubscription":
        """A member of consumer group `group`; its partitions are dealt out by Kafka."""
        return KafkaSubscription(self, group, topics)

    async def bury(self, letter: DeadLetter) -> None:
        """Put a letter among the dead letters, its reason as a header too; the body is left out if it is too large."""
        headers = [("reason", letter.reason.encode())]
        try:
            await self._deliver([letter.message()], headers)
        except BadEvent:
            short = msgspec.structs.replace(letter, body=b"", reason=f"{letter.reason} (body too large to keep)")
            await self._deliver([short.message()], headers)

    async def prepare(self, topics: Sequence[Topic] = TOPICS) -> None:
        """Create the topics that are missing. Raises `Invalid`, naming the mend, for those that do not fit."""
        async with self._administered() as admin:
            found = await self.ask(widths(admin))
            if missing := topic_plan.missing(topics, self.prefix, found):
                await self.ask(create(admin, missing, self.prefix, NewTopic))
                await self.ask(settled(admin, topics, self.prefix))

    async def close(self) -> None:
        """Let go of the connections; a publish that is still under way fails."""
        if self._producer is not None:
            self._abandon(self._producer)
        while self._ending:
            await asyncio.wait(self._ending)

    async def cluster(self) -> str:
        """The id of the cluster: offsets kept elsewhere mean nothing on another one, or on this one made anew."""
        if self._cluster is None:
            async with self._administered() as admin:
                self._cluster = str((await self.ask(admin.describe_cluster())).get("cluster_id") or "")
        return self._cluster

    async def consumer(self, group: str, topics: Sequence[str]) -> AIOKafkaConsumer:
        """A started consumer that belongs to the group and has not subscribed yet."""
        consumer = AIOKafkaConsumer(group_id=self.prefix + group, **self._reading, **self._connection)
        try:
            await self.ask(consumer.start())
            if missing := {self.prefix + topic for topic in topics} - await self.ask(consumer.topics()):
                raise self._missing(min(missing))
        except BaseException:
            await end_consumer(consumer)
            raise
        return consumer

    async def reader(self, *places: TopicPartition) -> AIOKafkaConsumer:
        """A started consumer without a group, at the beginning of these partitions; end it with `end_consumer`."""
        consumer = AIOKafkaConsumer(**{name: self._reading[name] for name in _GROUPLESS}, **self._connection)
        try:
            await self.ask(consumer.start())
        except BaseException:
            await end_consumer(consumer)
            raise
        if places:
            consumer.assign(places)
        return consumer

    async def width(self, topic: str) -> int:
        """How many partitions a topic has. Raises `Invalid` when it does not exist."""
        async with self._administered() as admin:
            found: dict[str, int] = await self.ask(widths(admin))
        if (width := found.get(self.prefix + topic)) is None:
            raise self._missing(self.prefix + topic)
        return width

    async def cut(self, place: TopicPartition, offset: int) -> None:
        """Let the broker forget what lies before `offset`."""
        async with self._administered() as admin:
            await self.ask(admin.delete_records({place: RecordsToDelete(offset)}))

    async def ask(self, question: Awaitable[Any]) -> Any:  # Any: whatever aiokafka answers
        """The answer, within the request time-out. Raises our errors for aiokafka's."""
        try:
            async with asyncio.timeout(self.patience_s):
                return await question
        except (errors.KafkaError, TimeoutError) as error:
            raise self.translated(error) from error

    def translated(self, error: Exception) -> TocsinError:
        """The error that a caller can act on."""
        match error:
            case errors.MessageSizeTooLargeError():
                return BadEvent(f"message too large for Kafka at {self.address}: raise the topic's max.message.bytes")
            case errors.UnknownTopicOrPartitionError():
                return self._missing("a topic")
            case errors.TopicAuthorizationFailedError() | errors.GroupAuthorizationFailedError():
                return Invalid(f"Kafka at {self.address} refuses us: {error}; grant tocsin's principal access")
            case TimeoutError():
                return self._away("no answer in time")
            case _:
                return self._away(str(error) or type(error).__name__)

    def _away(self, why: str) -> Unavailable:
        return Unavailable(f"Kafka at {self.address}: {why}; see that it runs there and lets us in by {self.access}")

    def _missing(self, topic: str) -> Invalid:
        return Invalid(f"Kafka at {self.address}: {topic} does not exist; `tocsin db upgrade` makes tocsin's own")

    async def place(self, topic: str, bodies: Mapping[int, Sequence[bytes]]) -> dict[int, int]:
        """Return when all `bodies` lie on the partitions given, in their order: the last offset of each partition.

        Raises like `publish`.
        """
        lanes = {
            TopicPartition(self.prefix + topic, number): [Message(topic, "", body) for body in lane]
            for number, lane in bodies.items()
            if lane
        }
        offsets = await self._deliver([message for lane in lanes.values() for message in lane], [], lanes)
        return {place.partition: offset for place, offset in offsets.items()}

    async def _deliver(
        self, messages: Sequence[Message], headers: Headers, lanes: Lanes | None = None
    ) -> dict[TopicPartition, int]:
        """Deliver to the partitions that the keys belong to, unless `lanes` says where; the last offset of each."""
        if not messages:
            return {}
        topic_plan.refuse_large(messages)
        producer = await self._opened()
        try:
            async with asyncio.timeout(self._delivery_s):
                return await send_lanes(producer, lanes or await self._lanes(producer, messages), headers, self.times)
        except (errors.KafkaError, TimeoutError) as error:
            self._abandon(producer)
            raise self.translated(error) from error

    async def _lanes(self, producer: AIOKafkaProducer, messages: Sequence[Message]) -> Lanes:
        """The messages by the partition that their key belongs to, in their order."""
        topics = {message.topic for message in messages}
        width = {topic: len(await producer.partitions_for(self.prefix + topic)) for topic in topics}
        lanes: dict[tuple[str, int], list[Message]] = defaultdict(list)
        for message in messages:
            lanes[message.topic, partition_of(message.key, width[message.topic])].append(message)
        return {TopicPartition(self.prefix + topic, number): lane for (topic, number), lane in lanes.items()}

    async def _opened(self) -> AIOKafkaProducer:
        """The producer; a new one after a failure, for Kafka refuses what comes behind a gap in the numbers."""
        async with self._opening:
            if self._producer is None:
                if self._ending:
                    await asyncio.wait(self._ending)
                producer = AIOKafkaProducer(**self._writing, **self._connection)
                try:
                    await self.ask(producer.start())
                except BaseException:
                    await _end_producer(producer)
                    raise
                self._producer = producer
            return self._producer

    def _abandon(self, producer: AIOKafkaProducer) -> None:
        if producer is self._producer:
            self._producer = None
            ending = asyncio.create_task(_end_producer(producer))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    @asynccontextmanager
    async def _administered(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**self._connection)
        try:
            await self.ask(admin.start())
            yield admin
        finally:
            await admin.close()


class KafkaSubscription:
    """A member of a consumer group."""

    def __init__(self, bus: KafkaBus, group: str, topics: Sequence[str]) -> None:
        self._bus, self._group, self._topics = bus, group, tuple(topics)
        self._consumer: AIOKafkaConsumer | None = None
        self._asker: AIOKafkaConsumer | None = None
        self._member, self._cluster = Membership(bus.handover), ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def fetch(self, limit: int = 500, wait: timedelta = DEFAULT_WAIT) -> list[Record]:
        """The next records of the partitions that this member was dealt. Raises `Unavailable`, `Invalid`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait.total_seconds()
        consumer = await self._joined()
        if not await self._member.wait(end - loop.time()):
            return []
        try:
            found = await consumer.getmany(timeout_ms=int(1000 * max(0.0, end - loop.time())), max_records=limit)
        except errors.KafkaError as error:
            await self._leave()
            raise self._bus.translated(error) from error
        return [self._hand_out(place, record) for place, records in found.items() for record in records]

    async def commit(self, records: Sequence[Record]) -> None:
        """Move the group past these records. Raises `Conflict` when some of them went to another member meanwhile."""
        moves, all_ours = self._member.holdings.moves(records)
        if moves and self._consumer is not None:
            await self._bus.ask(_taken(self._consumer, moves))
            self._member.committed(moves)
        if not all_ours:
            raise Conflict(_GONE)

    async def bury(self, record: Record, reason: str) -> None:
        """Publish the record to the dead letters with its reason, which stands in the header `reason` too."""
        await self._bus.bury(DeadLetter.of(record, self._group, reason))

    async def rewind(self) -> None:
        """Back to the committed position of every partition that this member holds."""
        if self._consumer is not None and self._member.reading:
            for place, offset in self._member.holdings.positions().items():
                self._consumer.seek(_partition(place), offset)

    async def lag(self) -> int:
        """Records behind the group's committed position on the partitions that this member was dealt."""
        consumer = await self._joined()
        if not await self._member.wait(self._bus.patience_s):
            raise self._bus.translated(TimeoutError())
        places = list(consumer.assignment())
        asked = consumer.beginning_offsets(places), consumer.end_offsets(places), *map(consumer.committed, places)
        first, ends, *committed = await self._bus.ask(asyncio.gather(*asked))
        handled = dict(zip(places, committed, strict=True))
        return sum(max(0, ends[place] - max(first[place], handled[place] or 0)) for place in places)

    async def ends(self) -> list[End]:
        """The partitions of this member of which everything is fetched that the broker has at the call."""
        if (consumer := self._consumer) is None or not self._member.reading:
            return []
        self._asker = self._asker or await self._bus.reader()
        return list(await self._bus.ask(ends(consumer, self._asker, self._bus.prefix, self._cluster, self._bus.times)))

    def end(self, place: Place) -> int | None:
        """The offset behind the last record of a partition, as of the last fetch; None while it is not known."""
        return None if self._consumer is None else self._consumer.highwater(_partition(place))

    async def _joined(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            self._cluster = await self._bus.cluster()
            self._consumer = await self._bus.consumer(self._group, self._topics)
            names = [self._bus.prefix + topic for topic in self._topics]
            self._consumer.subscribe(topics=names, listener=_Rebalance(self._member))
        return self._consumer

    async def _leave(self) -> None:
        leaving, self._consumer, self._asker = (self._consumer, self._asker), None, None
        self._member.left()
        for one in filter(None, leaving):
            await end_consumer(one)

    def _hand_out(self, place: TopicPartition, record: Any) -> Record:  # Any: aiokafka's ConsumerRecord
        stream, headers = f"{self._cluster}/{place.topic}", tuple((name, held or b"") for name, held in record.headers)
        self._member.holdings.hand_out((stream, place.partition), record.offset)
        key, received = (record.key or b"").decode(errors="replace"), 1000 * record.timestamp
        topic = place.topic.removeprefix(self._bus.prefix)
        return Record(topic, key, record.value or b"", stream, place.partition, record.offset, received, headers)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Passes aiokafka's calls on; it awaits them, whatever its annotations say."""

    def __init__(self, member: Membership) -> None:
        self._member = member

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # pyright: ignore
        await self._member.revoked()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._member.dealt()


@lru_cache(maxsize=65_536)
def partition_of(key: str, width: int) -> int:
    """The partition of `key` in a topic of `width` partitions, the same that Java's and librdkafka's murmur2 choose."""
    hashed: int = murmur2(key.encode())
    return (hashed & 0x7FFF_FFFF) % width


async def _taken(consumer: AIOKafkaConsumer, moves: Mapping[Place, int]) -> None:
    try:
        await consumer.commit({_partition(place): offset for place, offset in moves.items()})
    except (errors.CommitFailedError, errors.IllegalStateError) as error:
        raise Conflict(_GONE) from error


def partition(topic: str, number: int) -> TopicPartition:
    """A partition by the full name of its topic."""
    return TopicPartition(topic, number)


def _partition(place: Place) -> TopicPartition:
    """The partition that a place ("cluster/topic", number) stands for."""
    return partition(place[0].partition("/")[2], place[1])


async def _end_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer; what it could not send by now it must not send later, behind its successor."""
    producer._message_accumulator.fail_all(errors.KafkaError("given up"))
    await end(producer.stop, producer.client.close)

"""The Bus: how events travel. Three forms (memory, the database log, Kafka) keep one contract.

What every form promises, and `tests/events/test_bus_contract.py` checks:

- `publish` returns when all messages are durable (memory: as durable as the process);
- messages of one key are read in the order in which they were published;
- a record is delivered again to its group until it is committed or buried;
- two members of a group never hold the same uncommitted record, unless one of them is taken for dead.
"""

from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

import msgspec

from tocsin.events import codec
from tocsin.events.model import Event
from tocsin.events.topics import DEAD_LETTERS, EVENTS

DEFAULT_WAIT = timedelta(seconds=1)


class Message(msgspec.Struct, frozen=True, gc=False):
    """Bytes on their way to a topic; `key` decides what stays in order with what. Only Kafka carries `headers`."""

    topic: str
    key: str
    body: bytes
    headers: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def of(cls, event: Event, topic: str = EVENTS) -> Self:
        """The message that carries `event`, keyed by its resource."""
        return cls(topic, event.resource_id, codec.encode(event))


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message as it lies on the bus. `offset` counts within (`stream`, `partition`) and only grows.

    `received` is when it came there, in microseconds since 1970 by the clock of the bus. Our own records have no
    `headers`.
    """

    topic: str
    key: str
    body: bytes
    stream: str
    partition: int
    offset: int
    received: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


class DeadLetter(msgspec.Struct, frozen=True):
    """What is kept of a record that nobody could read: where it lay, why, and its bytes (base64 in JSON)."""

    reason: str
    group: str
    topic: str
    key: str
    stream: str
    partition: int
    offset: int
    body: bytes

    @classmethod
    def of(cls, record: Record, group: str, reason: str) -> Self:
        """The letter for `record`, which `group` could not read because of `reason`."""
        return cls(reason, group, record.topic, record.key, record.stream, record.partition, record.offset, record.body)

    def message(self) -> Message:
        """The message that carries the letter to the dead letters."""
        return Message(DEAD_LETTERS, self.key, msgspec.json.encode(self))


class Subscription(Protocol):
    """One member of a consumer group; use it as an async context manager."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def fetch(self, limit: int = 500, wait: timedelta = DEFAULT_WAIT) -> list[Record]:
        """The next records, at most `limit`; returns as soon as there is one, or empty after `wait`."""
        ...

    async def commit(self, records: Sequence[Record]) -> None:
        """Move the group's position past these records; the next member goes on from there."""
        ...

    async def bury(self, record: Record, reason: str) -> None:
        """Put an unreadable record among the dead letters, durably. Commit it afterwards like any other."""
        ...

    async def rewind(self) -> None:
        """Go back to the committed position: what was fetched since is delivered again."""
        ...

    async def lag(self) -> int:
        """How many records wait behind the group's committed position, over all partitions this member reads."""
        ...


class Bus(Protocol):
    """How messages travel between processes."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when all `messages` are durable. Raises `Unavailable` when the bus does not answer."""
        ...

    def subscribe(self, group: str, topics: Sequence[str] = (EVENTS,)) -> Subscription:
        """A new member of consumer group `group` reading `topics` from the group's position (at first: the start)."""
        ...

    async def close(self) -> None:
        """Let go of connections; subscriptions are closed by their own context."""
        ...

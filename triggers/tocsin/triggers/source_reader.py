"""Reading a source: from somebody's topic into our log, each message once.

```text
fetch ─▶ map ─┬─ events ──▶ one transaction: the log, and how far the source has come ──▶ commit to Kafka
              └─ the rest ─▶ dead letters, each with the reason ──┘ (before)
```

A crash anywhere loses nothing and doubles nothing: the position in the database decides, Kafka's is a hint.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from tocsin.events import codec
from tocsin.events.bus import Bus, DeadLetter, Record
from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import BadEvent, Conflict, Invalid, Unavailable
from tocsin.events.kafka import KafkaBus, KafkaSubscription
from tocsin.events.model import Event
from tocsin.events.topics import EXTERNAL
from tocsin.store import positions
from tocsin.store.engine import Store
from tocsin.store.log import append_packed
from tocsin.store.positions import Place
from tocsin.triggers.source import KafkaSource, event_of

BATCH: Final = 2_000
WAIT: Final = timedelta(milliseconds=500)
PAUSE_S: Final = 2.0

_LOG = logging.getLogger("tocsin.triggers.source_reader")


@dataclass
class Taken:
    """What records lead to: events in their order, each with its JSON, and why others are bad, by their place."""

    events: list[tuple[Event, bytes]] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)


class Moved(Exception):
    """Another member has handled some of these records meanwhile."""


class SourceReader:
    """One member of the group that reads a source; any number may run, Kafka deals the partitions out."""

    def __init__(
        self,
        source: KafkaSource,
        store: Store,
        letters: Bus,
        outside: KafkaBus,
        *,
        group_prefix: str = "",
        clock: Clock | None = None,
        batch: int = BATCH,
    ) -> None:
        self.source = source
        self._store, self._letters, self._outside = store, letters, outside
        self._group = source.group or f"{group_prefix}{source.consumer}"
        self._clock, self._batch = clock or SystemClock(), batch
        self._handled: dict[Place, int] | None = None
        self.taken = self.buried = 0

    async def serve(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set. What is away (broker, topic, database) is waited for."""
        while not stop.is_set():
            try:
                async with self._outside.subscribe(self._group, (self.source.topic,)) as subscription:
                    while not stop.is_set():
                        await self.turn(subscription)
            except (Unavailable, Conflict, Invalid, OperationalError) as error:
                _LOG.warning("source %s waits: %s", self.source.name, error)
            except Exception:  # one source must not end the process that decides for all others
                _LOG.exception("a defect of tocsin, met by source %s", self.source.name)
            self._handled = None
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PAUSE_S)

    async def turn(self, subscription: KafkaSubscription, wait: timedelta = WAIT) -> int:
        """Handle what the topic has now, at most one batch; how many records it was."""
        records = await subscription.fetch(self._batch, wait)
        if not records:
            return 0
        buried: set[Record] = set()
        while True:
            fresh = await self._fresh(subscription, records)
            taken = await asyncio.to_thread(take, self.source, fresh, self._clock.now())
            await self._bury(fresh, taken, buried)
            try:
                await self._keep(fresh, taken)
                break
            except Moved:
                self._handled = None
        self.taken += len(taken.events)
        with suppress(Conflict):  # dealt to another member meanwhile, which finds them handled
            await subscription.commit(records)
        return len(records)

    async def _fresh(self, subscription: KafkaSubscription, records: Sequence[Record]) -> list[Record]:
        """Those of the records that are not handled yet."""
        if self._handled is None:
            self._handled = await self._store.look(lambda session: positions.offsets(session, self.source.consumer))
        handled = self._handled
        for place in {(one.stream, one.partition) for one in records}:
            end = subscription.end(place)
            if end is not None and end < handled.get(place, 0):
                _LOG.warning("source %s: topic %s was made anew; it is read from its start", self.source.name, place[0])
                await self._forget(place)
                del handled[place]
        return [one for one in records if one.offset >= handled.get((one.stream, one.partition), 0)]

    async def _forget(self, place: Place) -> None:
        await self._store.run(lambda session: positions.forget(session, self.source.consumer, place))

    async def _keep(self, records: Sequence[Record], taken: Taken) -> None:
        await self._store.run(lambda session: self._write(session, records, taken))

    def _write(self, session: Session, records: Sequence[Record], taken: Taken) -> None:
        if records and not positions.advance(session, self.source.consumer, records):
            raise Moved
        append_packed(session, taken.events, EXTERNAL)

    async def _bury(self, records: Sequence[Record], taken: Taken, buried: set[Record]) -> None:
        """Bury the bad ones that are not in their grave already."""
        for index, reason in taken.bad.items():
            record = records[index]
            if record not in buried:
                _LOG.warning("%s/%d/%d is buried: %s", record.stream, record.partition, record.offset, reason)
                await bury(self._letters, DeadLetter.of(record, self._group, f"source {self.source.name}: {reason}"))
                buried.add(record)
                self.buried += 1


def take(source: KafkaSource, records: Sequence[Record], now: datetime) -> Taken:
    """What the records lead to."""
    taken = Taken()
    for index, record in enumerate(records):
        try:
            event = event_of(source, record, now)
            if event is not None:
                taken.events.append((event, codec.pack(event)))
        except BadEvent as error:
            taken.bad[index] = str(error)
        except Exception as error:  # a defect of ours on one message must not stop its partition
            _LOG.exception("a defect of tocsin, met at one message")
            taken.bad[index] = f"{type(error).__name__}: {error}"
    return taken


async def bury(bus: Bus, letter: DeadLetter) -> None:
    """Put a letter among the dead letters of the installation."""
    if isinstance(bus, KafkaBus):
        await bus.bury(letter)
    else:
        await bus.publish([letter.message()])

"""First stage: events to packed signals. Batches of records in, one pack a partition out, then the offsets move."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from tocsin.automations.stream_decisions import tally
from tocsin.automations.stream_pack import Packer, clock_pack
from tocsin.automations.stream_rules import Rulebook, Rules
from tocsin.events import codec
from tocsin.events.bus import Record
from tocsin.events.clock import Clock, Micros
from tocsin.events.errors import BadEvent, Conflict
from tocsin.events.kafka import KafkaBus, KafkaSubscription
from tocsin.events.partitions import Partitions
from tocsin.events.topics import EVENTS, EXTERNAL, INVOCATIONS, SIGNALS

GROUP: Final = "automations-route"
TOPICS: Final = (EVENTS, EXTERNAL)
BATCH: Final = 2_000
WAIT: Final = timedelta(milliseconds=250)
TELL_EVERY_S: Final = 1.0
TELL_SOON_S: Final = 0.05
"""How often the partitions are told how far the sources are: while deadlines may wait for it, soon."""

_LOG = logging.getLogger("tocsin.automations.stream")


@dataclass
class Routed:
    """What a batch of records leads to: packs by partition, and why a record cannot be read, by its place."""

    packs: Mapping[int, Sequence[bytes]] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)


def routed(rules: Rules, width: int, records: Sequence[Record], now: datetime) -> Routed:
    """The signals of `records`, packed for `width` partitions. Pure."""
    packer, bad = Packer(width, rules.revision, rules.marks), {}
    for place, record in enumerate(records):
        try:
            if record.topic == EXTERNAL:
                event = codec.read(record.body, now)
                signals = rules.index.route(event, record.received)
                body = msgspec.json.encode(event) if signals else b""
            else:
                event, body = codec.decode(record.body), record.body
                signals = rules.index.route(event, record.received)
        except BadEvent as error:
            bad[place] = str(error)
        except Exception as error:  # a defect of ours on one event must not stop all others
            _LOG.exception("a defect of tocsin, met at one event")
            bad[place] = f"{type(error).__name__}: {error}"
        else:
            if signals:
                packer.add(signals, body, f"{record.topic}/{record.partition}", record.offset)
    return Routed(packer.close(), bad)


class Router:
    """One member of the group that routes."""

    def __init__(self, bus: KafkaBus, rulebook: Rulebook, clock: Clock) -> None:
        self._bus, self._rulebook, self._clock = bus, rulebook, clock
        self._signals, self._decisions = Partitions(bus, SIGNALS), Partitions(bus, INVOCATIONS)
        self._counted, self._errors = 0, dict[str, tuple[int, str]]()
        self._ends: set[tuple[str, int, int]] = set()
        self._reached: dict[str, Micros] = {}
        self._told: dict[str, Micros] = {}
        self._told_at, self._count_at, self._behind = 0.0, 0.0, False
        self.count = 0

    async def serve(self, stop: asyncio.Event) -> None:
        """Route until `stop`. Raises `Unavailable` when the broker is away."""
        width = await self._signals.width()
        async with self._bus.subscribe(GROUP, TOPICS) as subscription:
            while not stop.is_set():
                await self.turn(subscription, width)
                await self._tell(subscription, width)

    async def turn(self, subscription: KafkaSubscription, width: int) -> None:
        """Route what the bus has now, at most one batch."""
        pause = timedelta(seconds=max(0.0, self._tell_at - asyncio.get_running_loop().time()))
        records = await subscription.fetch(BATCH, min(WAIT, pause))
        self._behind = len(records) == BATCH
        if not records:
            return
        found = routed(self._rulebook.rules, width, records, self._clock.now())
        for place, reason in found.bad.items():
            _LOG.warning("a record of %s is buried: %s", records[place].stream, reason)
            await subscription.bury(records[place], reason)
        await self._signals.write(found.packs)
        try:
            await subscription.commit(records)
        except Conflict:
            _LOG.info("some records were routed by two members; the second time changes nothing")
        self.count += len(records)
        for record in records:
            self._reached[f"{record.topic}/{record.partition}"] = record.received - 1

    @property
    def _tell_at(self) -> float:
        soon = self._rulebook.rules.timed and not self._behind
        return self._told_at + (TELL_SOON_S if soon else TELL_EVERY_S)

    async def _tell(self, subscription: KafkaSubscription, width: int) -> None:
        """Tell every partition how far the sources are: deadlines wait for it."""
        now = asyncio.get_running_loop().time()
        if now < self._tell_at:
            return
        ends = await subscription.ends()
        took = asyncio.get_running_loop().time() - now
        self._told_at = now + max(0.0, 2 * took - TELL_SOON_S)  # asking takes half of the time at most
        for end in ends:
            source = f"{end.topic}/{end.partition}"
            self._reached[source] = max(self._reached.get(source, 0), end.at)
        news = {source: at for source, at in self._reached.items() if at and self._told.get(source) != at}
        if news or not all(end.at for end in ends):  # it is the answer that tells the broker's time
            await self._signals.write({number: [clock_pack(news)] for number in range(width)})
            self._told |= news
        if now >= self._count_at:
            self._count_at = now + TELL_EVERY_S
            await self._count([(end.stream, end.partition, end.offset) for end in ends])

    async def _count(self, routed: Sequence[tuple[str, int, int]]) -> None:
        """Tell how many events there were, how far that is, and which conditions have failed since the last time."""
        errors = dict(self._rulebook.rules.index.errors)
        since = {name: (count - self._errors.get(name, (0, ""))[0], reason) for name, (count, reason) in errors.items()}
        failed = {name: found for name, found in since.items() if found[0] > 0}
        moved = [one for one in routed if one not in self._ends]
        if self.count == self._counted and not failed and not moved:
            return
        await self._decisions.write({0: [tally(events=self.count - self._counted, errors=failed, routed=moved)]})
        self._counted, self._errors, self._ends = self.count, errors, {*routed}

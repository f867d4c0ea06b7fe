"""Second stage, one partition: takes it over, decides what comes, publishes, and writes the changelog.

    packs ─▶ decide ─▶ decisions published ─▶ changelog written ─▶ remembered ─▶ offsets may move

Whatever breaks in between, the batch is done again, here or elsewhere, and leads to the same ids.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import msgspec

from tocsin.automations import stream_decisions
from tocsin.automations.stream_decide import Outcome, adopt, pass_time, work
from tocsin.automations.stream_decisions import overflowed
from tocsin.automations.stream_pack import Packer, Unpacked, earliest, unpack
from tocsin.automations.stream_rules import Rulebook
from tocsin.automations.stream_shard import Shard, chunk, claim, deltas
from tocsin.automations.trace import Evaluation
from tocsin.events.bus import DeadLetter, Record
from tocsin.events.clock import Clock, Micros, micros
from tocsin.events.errors import BadEvent, Conflict
from tocsin.events.kafka import KafkaBus
from tocsin.events.partitions import Partitions
from tocsin.events.topics import CHANGELOG, INVOCATIONS, SIGNALS

GROUP: Final = "automations-decide"
QUEUE: Final = 32
AT_ONCE: Final = 16
TELL_EVERY_S: Final = 1.0

_LOG = logging.getLogger("tocsin.automations.stream")


@dataclass(frozen=True)
class Arrived:
    """A record of the signals; `done` lets the group's offset move past it."""

    offset: int
    body: bytes
    done: Callable[[], object]


@dataclass(frozen=True)
class Room:
    """What the lanes of one member share. `sources`: whose progress makes the clock; `width`: of the signals."""

    bus: KafkaBus
    rulebook: Rulebook
    clock: Clock
    changelog: Partitions
    signals: Partitions
    decisions: Partitions
    sources: Sequence[str]
    width: int

    @classmethod
    def of(cls, bus: KafkaBus, rulebook: Rulebook, clock: Clock, sources: Sequence[str], width: int) -> "Room":
        """The topics on this bus."""
        changelog, signals, decisions = (Partitions(bus, topic) for topic in (CHANGELOG, SIGNALS, INVOCATIONS))
        return cls(bus, rulebook, clock, changelog, signals, decisions, sources, width)


class Lane:
    """The owner of one partition, from its taking over until it is cancelled.

    `recovered`: it has taken over; `next`: the first offset that it has not handled; `count`: signals so far.
    """

    def __init__(self, room: Room, shard: Shard) -> None:
        self._room, self.shard = room, shard
        self._name = str(uuid4())
        self._queue: asyncio.Queue[Arrived] = asyncio.Queue(QUEUE)
        self._reached: dict[str, Micros] = {}
        self._traces: list[Evaluation] = []
        self._concerned, self._refused = Counter[str](), Counter[str]()
        self._tell_at = 0.0
        self.recovered, self.next, self.count = False, 0, 0

    async def put(self, arrived: Arrived) -> None:
        """Hand in a record; waits while the lane has enough to do."""
        await self._queue.put(arrived)

    def close(self) -> None:
        """Let go whoever waits with a record."""
        while not self._queue.empty():
            self._queue.get_nowait()

    async def serve(self) -> None:
        """Decide until cancelled. Raises `Conflict` when the partition has another owner, `Unavailable`."""
        await self.recover()
        while True:
            await self.turn()

    async def recover(self) -> None:
        """Read the changelog, claim the partition, and go on only when the claim has been read."""
        number, changelog = self.shard.number, self._room.changelog
        first, _ = (await changelog.bounds([number]))[number]
        if first > self.shard.read:  # somebody else owned it meanwhile, and cut off what this shard has not read
            self.shard = Shard(number, read=first)
        while self.shard.by != self._name:
            await self._read_on()
            if self.shard.by != self._name:
                await changelog.write({number: [claim(self.shard, self._name)]})
        _, end = (await self._room.signals.bounds([number]))[number]
        if self.shard.handled > end:
            _LOG.warning(
                "the signals of partition %d begin anew: %d handled, %d there", number, self.shard.handled, end
            )
            self.shard.handled = 0
        _LOG.info("partition %d is taken over: %d places, %d bytes", number, len(self.shard), self.shard.size)
        self.recovered, self.next = True, self.shard.handled

    async def turn(self) -> None:
        """Decide what has come, at most so much; waits for something to come."""
        arrived = [await self._queue.get()]
        while len(arrived) < AT_ONCE and not self._queue.empty():
            arrived.append(self._queue.get_nowait())
        fresh = [one for one in arrived if one.offset >= self.shard.handled]
        packs = [pack for one in fresh if (pack := await self._read(one)) is not None]
        if any(pack.pack.revision > self._room.rulebook.rules.revision for pack in packs):
            await self._room.rulebook.refresh()
        handled = max(self.shard.handled, arrived[-1].offset + 1)
        await self._adopt()
        await self._settle(work(self.shard, self._room.rulebook.rules, packs), handled)
        await self._pass_time(packs, handled)
        await self._tell()
        await self._roll()
        for one in arrived:
            one.done()
        self.next = handled
        self.count += sum(len(pack.signals) for pack in packs)

    async def _adopt(self) -> None:
        """Follow the rules, if they have changed since the states did."""
        rules, known = self._room.rulebook.rules, self.shard.rules
        if rules.revision == known:
            return
        revision, now = rules.revision, micros(self._room.clock.now())
        names = await self._room.rulebook.since(known)
        outcome = adopt(self.shard, rules, names, self._room.width, now)
        self.shard.rules = revision
        try:
            await self._settle(outcome, self.shard.handled)
        except BaseException:  # a cancelled one too: the shard may be kept, and must follow them again
            self.shard.rules = known
            raise

    async def _pass_time(self, packs: Sequence[Unpacked], handled: int) -> None:
        for pack in packs:
            for source, at in pack.pack.reached.items():
                self._reached[source] = max(at, self._reached.get(source, 0))
        clock = earliest(self._reached, self._room.sources)
        while clock is not None:
            outcome = pass_time(self.shard, self._room.rulebook.rules, clock)
            if not outcome.changed:
                return
            await self._settle(outcome, handled)

    async def _settle(self, outcome: Outcome, handled: int) -> None:
        """Publish what was decided, write what is remembered of it, then remember it."""
        number = self.shard.number
        for signal, reason in outcome.bad:
            await self._bury(msgspec.json.encode(signal), signal.automation, -1, reason)
        for place, reason in outcome.lost:
            _LOG.error("what %r counted under %r is given up, a defect of tocsin: %s", *place, reason)
        if outcome.moved:
            await self._room.signals.write(self._rerouted(outcome))
        if outcome.firings:
            await self._room.decisions.write({number: stream_decisions.records(outcome.firings)})
        if outcome.changed:
            await self._write(deltas(self.shard, outcome.changed, handled, outcome.sources))
            for place, held in outcome.changed.items():
                self.shard.keep(place, held)
            self.shard.handled = handled
        self.shard.sources |= outcome.sources
        self._traces += outcome.traces
        self._concerned += outcome.concerned
        self._refused += outcome.refused

    async def _tell(self) -> None:
        """Once a second: what was counted, and why the rest fired nothing."""
        now = asyncio.get_running_loop().time()
        if now < self._tell_at or not (self._traces or self._concerned or self._refused):
            return
        number, wall = self.shard.number, self._room.clock.now()
        notices = [overflowed(name, number, count, wall) for name, count in self._refused.items()]
        told = stream_decisions.tally(self._traces, self._concerned, notices=notices)
        await self._room.decisions.write({number: [told]})
        self._traces, self._tell_at = [], now + TELL_EVERY_S
        self._concerned.clear()
        self._refused.clear()

    async def _write(self, records: Sequence[bytes], bucket: int = -1) -> None:
        """Write to the changelog. Raises `Conflict` when the partition has another owner by now."""
        expected = self.shard.read + len(records) - 1
        found = await self._room.changelog.write({self.shard.number: records})
        if found[self.shard.number] == expected:
            self.shard.wrote(records, bucket)
            return
        await self._read_on()  # somebody else has written too: the next owner, or the last one, late
        if self.shard.by != self._name:
            raise Conflict(f"partition {self.shard.number} of the signals has another owner")

    async def _read_on(self) -> None:
        """Take in what lies in the changelog behind what has been read."""
        async for records in self._room.changelog.read(self.shard.number, self.shard.read):
            for record in records:
                self._recall(record)

    async def _roll(self) -> None:
        """Write a bucket anew when it is time, and cut off what that makes useless."""
        if (bucket := self.shard.roll()) is None:
            return
        before = self.shard.useless()
        await self._write(chunk(self.shard, bucket), bucket)
        useless = self.shard.useless()
        if useless is not None and useless != before:
            await self._room.changelog.cut(self.shard.number, useless)

    def _recall(self, record: Record) -> None:
        try:
            self.shard.apply(record.body, record.offset)
        except BadEvent as error:
            _LOG.error("a record of the changelog is left out: %s", error)

    def _rerouted(self, outcome: Outcome) -> dict[int, list[bytes]]:
        """Signals of automations that have changed since, as they are routed now."""
        rules = self._room.rulebook.rules
        packer = Packer(self._room.width, rules.revision, rules.marks)
        seen: set[tuple[str, object]] = set()
        for one in outcome.moved:
            if (one.automation, one.event.id) in seen:
                continue
            seen.add((one.automation, one.event.id))
            now = [new for new in rules.index.route(one.event, one.received) if new.automation == one.automation]
            packer.add(now, msgspec.json.encode(one.event))
        return packer.close()

    async def _read(self, arrived: Arrived) -> Unpacked | None:
        try:
            return unpack(arrived.body)
        except BadEvent as error:
            await self._bury(arrived.body, "", arrived.offset, str(error))
            return None

    async def _bury(self, body: bytes, key: str, offset: int, reason: str) -> None:
        _LOG.warning("signals of partition %d are buried: %s", self.shard.number, reason)
        stream = self._room.bus.prefix + SIGNALS
        record = Record(SIGNALS, key, body, stream, self.shard.number, offset)
        await self._room.bus.bury(DeadLetter.of(record, GROUP, reason))

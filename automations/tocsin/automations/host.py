"""The embedded host: reads the bus, decides, and puts the decisions down.

A batch is decided outside of any write, from a snapshot: the automations, the states of the triggers, the reader's
position. Then one transaction checks that none of them has changed and writes the new position, states, firings,
invocations and the events that tell of them. If one has changed, nothing is written and the batch is decided again.
"""

import asyncio
import logging
from collections import ChainMap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from tocsin.automations import ledger, lifecycle, store
from tocsin.automations.episode import State
from tocsin.automations.evaluate import Place, decide, places, signals_of
from tocsin.automations.ledger import Remembered
from tocsin.automations.plan import Invocation, plan
from tocsin.automations.route import Index
from tocsin.events import codec
from tocsin.events.bus import Bus, Record, Subscription
from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import BadEvent, Conflict, Unavailable
from tocsin.events.model import Event
from tocsin.events.topics import EVENTS, EXTERNAL
from tocsin.store import positions
from tocsin.store.engine import Store, touch
from tocsin.store.log import STREAM, append, hear
from tocsin.triggers.window import Firing, Signal

BATCH: Final = 500
WAIT: Final = timedelta(milliseconds=500)
PAUSE_S: Final = 1.0

_LOG = logging.getLogger("tocsin.automations.host")


@dataclass
class Batch:
    """What a batch of records leads to, before any of it is written down.

    `heard`: events that came by a broker and are not in the log yet; `bad`: why, by place in the batch.
    """

    revision: int
    records: list[Record]
    read: Remembered = field(default_factory=dict)
    states: dict[Place, State] = field(default_factory=dict)
    firings: list[Firing] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    heard: list[Event] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)


class Host:
    """One member of the group that evaluates automations; any number may run on one database."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        *,
        group: str = "automations",
        topics: Sequence[str] = (EVENTS, EXTERNAL),
        clock: Clock | None = None,
        batch: int = BATCH,
    ) -> None:
        self._store, self._bus, self._group, self._topics = store, bus, group, tuple(topics)
        self._batch = batch
        self._clock = clock or SystemClock()
        self._index, self._revision = Index(()), -1

    async def serve(self, stop: asyncio.Event) -> None:
        """Handle records until `stop` is set. What is away (broker, database) is waited for."""
        while not stop.is_set():
            try:
                async with self._bus.subscribe(self._group, self._topics) as subscription:
                    while not stop.is_set():
                        await self.turn(subscription)
            except (Unavailable, Conflict, OperationalError) as error:
                _LOG.warning("automations wait: %s", error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), PAUSE_S)

    async def turn(self, subscription: Subscription, wait: timedelta = WAIT) -> int:
        """Handle what the bus has now, at most one batch; how many records it was."""
        records = await subscription.fetch(self._batch, wait)
        if not records:
            return 0
        buried: set[int] = set()
        while not await self._handle(subscription, records, buried):
            pass
        await subscription.commit(records)
        return len(records)

    def decide(self, session: Session, records: Sequence[Record]) -> Batch:
        """What `records` lead to, as things stand in the database; those that were handled before lead to nothing."""
        self._refresh(session)
        handled = positions.offsets(session, self._group)
        fresh = {
            index: one for index, one in enumerate(records) if one.offset >= handled.get((one.stream, one.partition), 0)
        }
        batch = Batch(self._revision, list(fresh.values()))
        signals = self._signals(batch, fresh)
        wanted = places(self._index, (signal for found in signals.values() for signal in found))
        batch.read = ledger.read_states(session, wanted)
        states = ChainMap(batch.states, {place: state for place, (state, _) in batch.read.items()})
        for index, found in signals.items():
            try:
                self._take(batch, states, found)
            except Exception as error:  # a defect of ours on one event must not stop all others
                _LOG.exception("a defect of tocsin, met at one event")
                batch.bad[index] = f"{type(error).__name__}: {error}"
        return batch

    def write(self, session: Session, batch: Batch) -> None:
        """Write `batch` down; raises when what it was decided from has changed, and nothing is written."""
        now = self._clock.now()
        if store.revision(session) != batch.revision:
            raise Stale
        if not positions.advance(session, self._group, batch.records):
            raise Stale
        if not ledger.write_states(session, batch.states, batch.read, now):
            raise Stale
        hear(session, batch.heard)
        if not batch.firings:
            return
        ledger.write_firings(session, batch.firings, now)
        ledger.write_invocations(session, batch.invocations, now)
        append(session, [*batch.events, *_refusals(batch.invocations, now)])
        touch(session, ledger.CHANNEL)

    async def _handle(self, subscription: Subscription, records: Sequence[Record], buried: set[int]) -> bool:
        """Decide and write; False when it has to be done again. `buried`: the bad ones that are in their grave."""
        batch = await self._store.look(lambda session: self.decide(session, records))
        for index, reason in batch.bad.items():
            if index not in buried:
                await self._bury(subscription, records[index], reason)
                buried.add(index)
        if not batch.records:
            return True
        try:
            await self._store.run(lambda session: self.write(session, batch))
        except Stale:
            return False
        return True

    @staticmethod
    async def _bury(subscription: Subscription, record: Record, reason: str) -> None:
        _LOG.warning("record %s/%d/%d is buried: %s", record.stream, record.partition, record.offset, reason)
        await subscription.bury(record, reason)

    def _refresh(self, session: Session) -> None:
        revision = store.revision(session)
        if revision != self._revision:
            self._index, self._revision = Index(store.load(session)), revision

    def _signals(self, batch: Batch, records: Mapping[int, Record]) -> dict[int, list[Signal]]:
        """The signals of each record that concerns anybody; unreadable ones are noted as bad."""
        found = {}
        for index, record in records.items():
            try:
                event = self._read(record)
                signals = signals_of(self._index, [event])
            except BadEvent as error:
                batch.bad[index] = str(error)
                continue
            if record.topic == EXTERNAL and record.stream != STREAM:
                batch.heard.append(event)
            if signals:
                found[index] = signals
        return found

    def _read(self, record: Record) -> Event:
        """The event of a record: ours as it is, anybody else's with every doubt."""
        if record.topic == EXTERNAL:
            return codec.read(record.body, self._clock.now())
        return codec.decode(record.body)

    def _take(self, batch: Batch, states: Mapping[Place, State], signals: list[Signal]) -> None:
        """Add to `batch` what the signals of one event lead to: all of it, or nothing when it fails."""
        decided = decide(self._index, states, signals)
        events = [lifecycle.fired(firing) for firing in decided.firings]
        invocations = [
            one for firing in decided.firings for one in plan(self._index.automations[firing.automation], firing)
        ]
        batch.states |= decided.states
        batch.firings += decided.firings
        batch.invocations += invocations
        batch.events += events


class Stale(Exception):
    """What a batch was decided from has changed since."""


def _refusals(invocations: Sequence[Invocation], now: datetime) -> list[Event]:
    return [
        lifecycle.outcome(one, "failed", now, {"reason": one.refused}) for one in invocations if one.refused is not None
    ]

"""The embedded host: reads the bus, decides, and puts the decisions down.

A batch is decided outside of any write, from a snapshot: the automations, the states of the triggers, the reader's
position. Then one transaction checks that none of them has changed and writes the new position, states, firings,
invocations and the events that tell of them. If one has changed, nothing is written and the batch is decided again.

Deadlines are rows too: a state says when it is due. The host wakes what was due before the last record it read was
received; when it has read all there is, it wakes what is due by the clock.
"""

import asyncio
import gc
import logging
from collections import ChainMap, Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from tocsin.automations import ledger, recording, store
from tocsin.automations.episode import State
from tocsin.automations.evaluate import Decided, Place, decide, places, wake
from tocsin.automations.ledger import Remembered
from tocsin.automations.recording import Decision, Decisions, decisions
from tocsin.automations.route import Index
from tocsin.events import codec
from tocsin.events.bus import Bus, Record, Subscription
from tocsin.events.clock import Clock, Micros, SystemClock, instant, micros
from tocsin.events.errors import BadEvent, Conflict, Unavailable
from tocsin.events.model import Event
from tocsin.events.topics import EVENTS, EXTERNAL
from tocsin.store import positions
from tocsin.store.engine import Store
from tocsin.store.log import STREAM, hear
from tocsin.triggers.steps import Signal

BATCH: Final = 1_000
WAIT: Final = timedelta(milliseconds=500)
PAUSE_S: Final = 1.0
REPORT_S: Final = 10.0
MANY: Final = 1_000
SETTLED: Final = 10_000
"""How long (microseconds) an event may be on its way from its instant of reception into its writer's transaction."""

Errors = Mapping[str, tuple[int, str]]

_LOG = logging.getLogger("tocsin.automations.host")


@dataclass
class Batch:
    """What a batch of records leads to, before any of it is written down.

    `heard`: events that came by a broker and are not in the log yet; `bad`: why, by place in the batch; `next_due`:
    when the first state is due that this batch does not touch.
    """

    revision: int
    records: list[Record]
    read: Remembered = field(default_factory=dict)
    states: dict[Place, State] = field(default_factory=dict)
    decided: Decisions = field(default_factory=Decisions)
    heard: list[Event] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.records or self.states)


class Faring(NamedTuple):
    """How a host fares: events that wait, events handled so far, and under how many keys something is remembered."""

    lag: int
    events: int
    remembered: int


class Host:
    """One member of the group that evaluates automations; any number may run on one database.

    `report` is told every ten seconds how it fares.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        *,
        group: str = "automations",
        topics: Sequence[str] = (EVENTS, EXTERNAL),
        clock: Clock | None = None,
        batch: int = BATCH,
        report: Callable[[Faring], None] | None = None,
    ) -> None:
        self._store, self._bus, self._group, self._topics = store, bus, group, tuple(topics)
        self._batch = batch
        self._clock = clock or SystemClock()
        self._index, self._revision = Index(), -1
        self._next_due: Micros | None = 0  # not known yet: look
        self._behind = False
        self._report, self._report_at, self._count = report, 0.0, 0

    async def serve(self, stop: asyncio.Event) -> None:
        """Handle records until `stop` is set. What is away (broker, database) is waited for."""
        while not stop.is_set():
            try:
                async with self._bus.subscribe(self._group, self._topics) as subscription:
                    while not stop.is_set():
                        self._count += await self.turn(subscription)
                        await self._tell(subscription)
            except (Unavailable, Conflict, OperationalError) as error:
                _LOG.warning("automations wait: %s", error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), PAUSE_S)

    async def _tell(self, subscription: Subscription) -> None:
        now = asyncio.get_running_loop().time()
        if self._report is None or now < self._report_at:
            return
        self._report_at = now + REPORT_S
        remembered = await self._store.look(ledger.remembered)
        self._report(Faring(await subscription.lag(), self._count, remembered))

    async def turn(self, subscription: Subscription, wait: timedelta = WAIT) -> int:
        """Handle what the bus has now, at most one batch, or what is due; how many records it was."""
        records = await subscription.fetch(self._batch, self._patience(wait))
        until = await self._horizon(subscription, records)
        if not records and until is None:
            self._next_due = await self._store.look(ledger.next_due)  # another host's, if that has died
            return 0
        buried: set[int] = set()
        while not await self._handle(subscription, records, until, buried):
            pass
        await subscription.commit(records)
        return len(records)

    def decide(self, session: Session, records: Sequence[Record], until: Micros | None = None) -> Batch:
        """What `records` and the time `until` lead to, as things stand in the database; records that were handled
        before lead to nothing.
        """
        self._refresh(session)
        handled = positions.offsets(session, self._group)
        fresh = {
            index: one for index, one in enumerate(records) if one.offset >= handled.get((one.stream, one.partition), 0)
        }
        batch = Batch(self._revision, list(fresh.values()))
        signals = self._signals(batch, fresh)
        wanted = places(self._index.automations, (signal for found in signals.values() for signal in found))
        batch.read = ledger.read_states(session, wanted)
        if until is not None:
            batch.read |= ledger.read_due(session, until)
        states = ChainMap(batch.states, {place: state for place, (state, _) in batch.read.items()})
        for index, found in signals.items():
            try:
                self._take(batch, states, found)
            except Exception as error:  # a defect of ours on one event must not stop all others
                _LOG.exception("a defect of tocsin, met at one event")
                batch.bad[index] = f"{type(error).__name__}: {error}"
        if until is not None:
            self._wake(batch, states, until)
        return batch

    def write(self, session: Session, batch: Batch) -> None:
        """Write `batch` down; raises when what it was decided from has changed, and nothing is written."""
        now = self._clock.now()
        if store.revision(session, hold=True) != batch.revision:
            raise Stale
        if batch.records and not positions.advance(session, self._group, batch.records):
            raise Stale
        if not ledger.write_states(session, self._index.automations, batch.states, batch.read, now):
            raise Stale
        hear(session, batch.heard)
        recording.record(session, batch.decided, now)

    async def _horizon(self, subscription: Subscription, records: Sequence[Record]) -> Micros | None:
        """Up to when deadlines can be decided: all that was received by then has been read. None: nothing is due."""
        now = micros(self._clock.now())
        if len({(one.stream, one.partition) for one in records}) == 1:
            until = min(records[-1].received - 1, now)  # somebody's clock may run ahead
        else:
            until = now - SETTLED
            if self._next_due is None or self._next_due > until or records:
                return None
            self._behind = await subscription.lag() > 0
            if self._behind:
                return None
        return until if self._next_due is not None and self._next_due <= until else None

    def _patience(self, wait: timedelta) -> timedelta:
        """How long to wait for records: not beyond the next deadline, unless that waits for records itself."""
        if self._next_due is None or self._behind:
            return wait
        return max(timedelta(0), min(wait, instant(self._next_due + SETTLED) - self._clock.now()))

    async def _handle(
        self, subscription: Subscription, records: Sequence[Record], until: Micros | None, buried: set[int]
    ) -> bool:
        """Decide and write; False when it has to be done again. `buried`: the bad ones that are in their grave."""
        batch = await self._store.look(lambda session: self.decide(session, records, until))
        for index, reason in batch.bad.items():
            if index not in buried:
                await self._bury(subscription, records[index], reason)
                buried.add(index)
        try:
            self._next_due = await self._written(batch)
        except Stale:
            return False
        return True

    async def _written(self, batch: Batch) -> Micros | None:
        """Write the batch, if there is anything to write; when the next state is due."""

        def write(session: Session) -> Micros | None:
            self.write(session, batch)
            return ledger.next_due(session)

        return await (self._store.look(ledger.next_due) if batch.empty else self._store.run(write))

    @staticmethod
    async def _bury(subscription: Subscription, record: Record, reason: str) -> None:
        _LOG.warning("record %s/%d/%d is buried: %s", record.stream, record.partition, record.offset, reason)
        await subscription.bury(record, reason)

    def _refresh(self, session: Session) -> None:
        changes = store.changes(session, self._revision)
        for automation in changes.put:
            self._index.put(automation)
        for name in changes.removed:
            self._index.drop(name)
        self._revision = changes.revision
        if len(changes.put) >= MANY:
            gc.freeze()  # they stay; to look at all of them for garbage takes a third of a second per 100,000

    def _signals(self, batch: Batch, records: Mapping[int, Record]) -> dict[int, list[Signal]]:
        """The signals of each record that concerns anybody; unreadable ones are noted as bad."""
        found = {}
        errors = dict(self._index.errors)
        for index, record in records.items():
            try:
                event = self._read(record)
                signals = self._index.route(event, record.received)
            except BadEvent as error:
                batch.bad[index] = str(error)
                continue
            if record.topic == EXTERNAL and record.stream != STREAM:
                batch.heard.append(event)
            if signals:
                found[index] = signals
        batch.decided.events = len(records) - len(batch.bad)
        batch.decided.concerned = Counter(signal.automation for signals in found.values() for signal in signals)
        batch.decided.errors = _since(errors, self._index.errors)
        return found

    def _read(self, record: Record) -> Event:
        """The event of a record: ours as it is, anybody else's with every doubt; in our log it is JSON of ours."""
        if record.topic != EXTERNAL:
            return codec.decode(record.body)
        if record.stream == STREAM:
            return codec.admit(codec.decode(record.body), self._clock.now())
        return codec.read(record.body, self._clock.now())

    def _take(self, batch: Batch, states: Mapping[Place, State], signals: list[Signal]) -> None:
        """Add to `batch` what the signals of one event lead to: all of it, or nothing when it fails."""
        self._add(batch, decide(self._index.automations, states, signals))

    def _wake(self, batch: Batch, states: Mapping[Place, State], until: Micros) -> None:
        """Add what the time leads to. Where we fail, what was counted is given up, and told of."""
        for place in list(batch.read):
            try:
                self._add(batch, wake(self._index.automations, {place: states[place]}, until))
            except Exception:
                _LOG.exception("a defect of tocsin, met at a deadline of %s: it is given up", place)
                batch.states[place] = State(open=states[place].open)

    def _add(self, batch: Batch, decided: Decided) -> None:
        made: list[Decision] = decisions(self._index.automations, decided)
        batch.states |= decided.states
        batch.decided.firings += made
        batch.decided.traces += decided.traces


class Stale(Exception):
    """What a batch was decided from has changed since."""


def _since(before: Errors, now: Errors) -> dict[str, tuple[int, str]]:
    """The errors of `now` that were not there `before`."""
    counts = {name: (count - before.get(name, (0, ""))[0], reason) for name, (count, reason) in now.items()}
    return {name: (count, reason) for name, (count, reason) in counts.items() if count > 0}

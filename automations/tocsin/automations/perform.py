"""Carrying invocations out: the ledger's due rows, each done once.

What happens in the database alone (start a run, pause a pool, put down a notification) is done in one transaction with
the mark that it is done and the event that tells of it. A webhook is claimed with a lease, called outside of any
transaction, and marked afterwards: after a crash in between it is called again, under the same `webhook-id`.
Calls of one episode to one address are made one after the other.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, assert_never

from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, or_, select

from tocsin.automations import calls, lifecycle
from tocsin.automations.attempt import Again, Attempt, Executed, Failed
from tocsin.automations.attempts import database_wait, webhook_wait
from tocsin.automations.carry import carry_out
from tocsin.automations.ledger import CHANNEL, DONE, DUE, FAILED, NOTIFICATION, begins_still, invocation_of
from tocsin.automations.order import WEBHOOK, waiting
from tocsin.automations.tables import StoredInvocation
from tocsin.events.clock import Clock, SystemClock
from tocsin.events.cloudevents import SOURCE
from tocsin.events.errors import Unavailable
from tocsin.events.model import Event
from tocsin.notifiers.http import Door
from tocsin.notifiers.redact import redact
from tocsin.store.engine import Store, claimable, touch
from tocsin.store.log import append
from tocsin.store.signals import first

BATCH: Final = 100
CALLS: Final = 32
LEASE: Final = timedelta(seconds=60)
IDLE: Final = timedelta(milliseconds=500)
_ATTEMPTS_KEPT: Final = 20

_LOG = logging.getLogger("tocsin.automations.perform")


@dataclass(frozen=True)
class Ended:
    """A call that came to an end."""

    call: calls.Call
    attempt: Attempt


class Performer:
    """Carries out due invocations; any number may run on one database.

    `sender` makes the webhook calls (default: the guarded HTTP door), at most `at_once` at a time; `lease` is how long
    a call may be under way before another performer may make it again.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock | None = None,
        sender: calls.Sender | None = None,
        *,
        at_once: int = CALLS,
        lease: timedelta = LEASE,
        source: str = SOURCE,
    ) -> None:
        self._store, self._clock, self._sender, self._source = store, clock or SystemClock(), sender, source
        self._at_once, self._lease = at_once, lease
        self._under_way: set[asyncio.Task[None]] = set()
        self._ended: list[Ended] = []
        self._recording = asyncio.Lock()

    async def serve(self, stop: asyncio.Event) -> None:
        """Carry out what falls due until `stop` is set; then wait for the calls under way."""
        door = Door() if self._sender is None else None
        self._sender = self._sender or door
        try:
            with self._store.watch(CHANNEL) as watch:
                while not stop.is_set():
                    if not await self._tried():
                        await first(watch.wait(IDLE), stop.wait())
            await self.settle_calls()
        finally:
            for task in self._under_way:
                task.cancel()
            if door is not None:
                self._sender = None
                await door.close()

    async def turn(self) -> int:
        """Carry out what is due now, at most one batch; how many were taken up. Calls go on by themselves."""
        if not await self._store.look(self._any_due):
            return 0
        taken, prepared = await self._store.run(self.claim)
        for call in prepared:
            task = asyncio.create_task(self._make(call))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return taken

    async def settle(self) -> None:
        """Carry out all that is due now, the calls too, and return when nothing is left."""
        while await self.turn() or self._under_way:
            await self.settle_calls()

    async def settle_calls(self) -> None:
        """Wait for the calls under way and put down what came of them."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def claim(self, session: Session) -> tuple[int, list[calls.Call]]:
        """Do what the database alone can do, and lease the calls; how many rows were taken up, and the calls."""
        now = self._clock.now()
        free = self._at_once - len(self._under_way)
        events: list[Event] = []
        prepared: list[calls.Call] = []
        taken = 0
        rows = session.exec(claimable(session, self._due(now).limit(BATCH))).all()
        later = waiting(session, rows, now, IDLE)
        for row in sorted(rows, key=_ends):
            if row.action == WEBHOOK and row.id not in later and len(prepared) >= free:
                continue
            if row.id in later or (_ends(row) and begins_still(session, row.firing_id)):
                row.due = later.get(row.id, now + IDLE)
                session.add(row)
                continue
            taken += 1
            row.tries += 1
            attempt = self._attempt(session, row, now)
            if isinstance(attempt, calls.Call):
                row.lease_until = now + self._lease
                prepared.append(attempt)
            else:
                events += self._settle(row, attempt, now)
            session.add(row)
        if events:
            session.flush()
            append(session, events, now=self._clock.now())
        return taken, prepared

    def record(self, session: Session, ended: Sequence[Ended]) -> None:
        """Put down what came of calls. One that another performer has made again counts only if it succeeded."""
        now = self._clock.now()
        wanted = [one.call.id for one in ended]
        statement = select(StoredInvocation).where(col(StoredInvocation.id).in_(wanted)).with_for_update()
        rows = {row.id: row for row in session.exec(statement)}
        events: list[Event] = []
        for one in ended:
            row = rows.get(one.call.id)
            overtaken = row is not None and row.tries != one.call.attempt and not isinstance(one.attempt, Executed)
            if row is None or row.state != DUE or overtaken:
                continue
            events += self._settle(row, one.attempt, now)
            session.add(row)
        if events:
            session.flush()
            append(session, events, now=self._clock.now())
        touch(session, CHANNEL)

    def _attempt(self, session: Session, row: StoredInvocation, now: datetime) -> Attempt | calls.Call:
        """Do it, or prepare the call, inside a savepoint: what goes wrong is undone, and hurts no other row."""
        try:
            with session.begin_nested():
                if row.action == WEBHOOK:
                    return calls.prepare(session, invocation_of(row), row.tries, self._source)
                return carry_out(session, invocation_of(row), now)
        except OperationalError:
            raise
        except Exception as error:  # whatever it is, it is this row's alone: told, retried, given up
            _LOG.exception("invocation %s (%s of automation %s)", row.id, row.action, row.automation)
            return Again(f"{type(error).__name__}: {error}")

    def _settle(self, row: StoredInvocation, attempt: Attempt, now: datetime) -> list[Event]:
        """Note the attempt in its row; the event of its outcome, once there is one."""
        invocation = invocation_of(row)
        row.lease_until = None
        match attempt:
            case Executed(details):
                _note(row, now, "executed", None, details.get("status_code"))
                row.state, row.finished = DONE, now
                return [lifecycle.outcome(invocation, "executed", now, details)]
            case Failed(reason, details):
                return _failed(row, now, reason, details)
            case Again(reason, after):
                webhook = row.action == WEBHOOK
                wait = webhook_wait(row.tries, after, row.id) if webhook else database_wait(row.tries)
                if wait is None:
                    return _failed(row, now, f"given up after {row.tries} attempts: {reason}", {})
                _note(row, now, "again", reason, None)
                row.due, row.reason = now + wait, _cut(reason)
                return []
            case _ as never:
                assert_never(never)

    async def _make(self, call: calls.Call) -> None:
        assert self._sender is not None
        try:
            attempt = await calls.make(call, self._sender, self._clock)
        except Exception as error:  # a defect in one call is noted like any failed attempt
            _LOG.exception("invocation %s", call.id)
            attempt = Again(f"{type(error).__name__}: {error}")
        self._ended.append(Ended(call, attempt))
        await self._record()

    async def _record(self) -> None:
        """Put down all calls that have ended, one transaction for as many as have come together."""
        async with self._recording:
            ended, self._ended = self._ended, []
            if not ended:
                return
            try:
                await self._store.run(lambda session: self.record(session, ended))
            except (OperationalError, Unavailable) as error:
                # The lease runs out and the call is made again, under the same id.
                _LOG.warning("%d calls could not be put down: %s", len(ended), error)

    async def _tried(self) -> int:
        try:
            return await self.turn()
        except (OperationalError, Unavailable) as error:
            _LOG.warning("invocations wait: %s", error)
            return 0

    def _any_due(self, session: Session) -> bool:
        return session.exec(self._due(self._clock.now()).limit(1)).first() is not None

    def _due(self, now: datetime) -> Any:  # Any: SQLModel's select of one entity has no public name
        """Rows to take up, the longest due first; while as many calls as may be are under way, no more of them."""
        statement = (
            select(StoredInvocation)
            .where(StoredInvocation.state == DUE, StoredInvocation.due <= now)
            .where(or_(col(StoredInvocation.lease_until).is_(None), col(StoredInvocation.lease_until) <= now))
            .order_by(col(StoredInvocation.due), col(StoredInvocation.ordinal), col(StoredInvocation.position))
        )
        if len(self._under_way) >= self._at_once:
            statement = statement.where(StoredInvocation.action != WEBHOOK)
        return statement


def _ends(row: StoredInvocation) -> bool:
    """Whether it tells that something is over: it comes after what tells that it began, or nothing would be over."""
    return row.action == NOTIFICATION and row.arguments.get("action") == "resolve"


def _failed(row: StoredInvocation, now: datetime, reason: str, details: dict[str, Any]) -> list[Event]:
    reason = _cut(reason)
    _note(row, now, "failed", reason, details.get("status_code"))
    row.state, row.reason, row.finished = FAILED, reason, now
    return [lifecycle.outcome(invocation_of(row), "failed", now, {"reason": reason, **details})]


def _note(row: StoredInvocation, now: datetime, outcome: str, reason: str | None, status: int | None) -> None:
    told = {"at": now.isoformat(), "outcome": outcome, "reason": reason and _cut(reason), "status": status}
    row.attempts = [*row.attempts, {name: value for name, value in told.items() if value is not None}][-_ATTEMPTS_KEPT:]


def _cut(reason: str) -> str:
    """The reason as rows and events can carry it, without any secret that is known here."""
    return redact("".join(letter for letter in reason if letter >= " " and not "\ud800" <= letter <= "\udfff"))[:1_000]

"""Slots for tasks: taken before a run begins to work, given back when it has stopped. Steps, see `steps`.

Which limits there are is looked up at most once a second a process: a task without a limit asks the database nothing
more, and a new limit counts within a second.
"""

import logging
import time
from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from tocsin.events.errors import Invalid
from tocsin.events.ids import uuid7
from tocsin.flows.book import Book
from tocsin.flows.errors import Terminated
from tocsin.flows.slot_requests import Answer, Give, KnownLimits, Take, Wanted
from tocsin.flows.slot_rules import Limit, Ticket, wanted_by
from tocsin.flows.states import AWAITING_SLOT, State, StateType, cancelled, crashed, pending
from tocsin.flows.steps import Await, Do, Steps
from tocsin.flows.trace import Trace
from tocsin.flows.waiting import Waiter, room_of
from tocsin.store.engine import AWAY

STALE_S: Final = 1.0
"""How old what is known of limits may be."""

Known = Mapping[str, Limit]
logger = logging.getLogger(__name__)
_known: "WeakKeyDictionary[Book, tuple[float, Known]]" = WeakKeyDictionary()
_holds: ContextVar[bool] = ContextVar("tocsin_holds_slots", default=False)


class Limited(Protocol):
    """What of a task tells its limits."""

    name: str
    tags: tuple[str, ...]


def taken(task: Limited, trace: Trace) -> Steps:
    """Leave the run ready to begin, with a slot of each limit that it is under: what it holds, None for nothing.

    While it waits it is AwaitingSlot. Raises Terminated when its flow run is cancelled meanwhile.
    """
    ledger = trace.ledger
    known = fresh(ledger)
    if known is None:
        known = yield Do(partial(looked_up, ledger))
    wants = wanted_by(task.name, task.tags, known) if known else {}
    if not wants:
        _ready(trace)
        return None
    held = Held(ledger, wants, known, trace.flow.id if trace.flow else None, f"task run {trace.row['name']}")
    try:
        answer: Answer = yield Do(held.ask)
        if not answer.taken:
            yield from _waited(trace, held, answer)
    except BaseException as error:
        yield Do(held.give)
        if trace.row["state_type"] == StateType.PENDING:
            yield Do(partial(trace.settle, _broken_off(error)))
        raise
    _ready(trace)
    return held


def giving(held: "Held | None", steps: Steps) -> Steps:
    """The result of `steps`; what is held is given back when they have ended, however they end."""
    if held is None:
        return (yield from steps)
    token = _holds.set(True)
    try:
        return (yield from steps)
    finally:
        _holds.reset(token)
        yield Do(held.give)


class Held:
    """What somebody holds, or waits for: one ticket on one ledger."""

    def __init__(
        self, ledger: Book, wants: dict[str, int], known: Known, flow_run_id: UUID | None, holder: str
    ) -> None:
        self._ledger = ledger
        ticket = Ticket(uuid7(), wants, ledger.clock.now(), _holds.get())
        self.wanted = Wanted(ticket, ledger.lease, flow_run_id, {"name": holder})
        self._only_rates = all(known[key].decay is not None for key in wants if key in known)
        self.taken = False

    def ask(self, *, stands: bool = True) -> Answer:
        """Take it, or stand in line (with `stands` False: do not). Raises Invalid when it can never be."""
        request = Take(wanted=(self.wanted,), now=self._ledger.clock.now(), stands=stands)
        answer: Answer = self._ledger.ask(request)[0]
        if answer.never:
            raise Invalid(answer.why)
        self.taken = answer.taken
        return answer

    def waiter(self, timeout_s: float | None = None) -> Waiter:
        """Who waits for it, in the waiting room from now on."""
        run, ledger = self.wanted.flow_run_id, self._ledger
        waiter = Waiter(self.wanted, timeout_s, lambda: run is not None and run in ledger.cancelling)
        room_of(ledger).enter(waiter)
        return waiter

    def give(self) -> None:
        """Give it back, or its place in line; later, if the database does not answer now."""
        room, ticket = room_of(self._ledger), self.wanted.ticket.id
        room.leave(ticket)
        if self.taken and self._only_rates:
            return
        try:
            gone = self._ledger.ask(Give(tickets=(ticket,), now=self._ledger.clock.now()))
        except AWAY as error:
            logger.warning("%s: its slots could not be given back yet: %s", self.wanted.holder["name"], error)
            room.owe(ticket)
            return
        room.look()
        if self.taken and not gone:
            logger.warning("%s had lost its slots: its process fell silent meanwhile", self.wanted.holder["name"])


def fresh(ledger: Book) -> Known | None:
    """The limits that there are, as known at most a second ago; None when they have to be looked up."""
    found = _known.get(ledger)
    return found[1] if found is not None and time.monotonic() - found[0] < STALE_S else None


def looked_up(ledger: Book) -> Known:
    """The limits that there are now."""
    began = time.monotonic()
    known: Known = ledger.ask(KnownLimits())
    _known[ledger] = began, known
    return known


def forget() -> None:
    """Look the limits up at the next use: this process has changed them."""
    _known.clear()


def holding(on: bool) -> Any:  # Any: the token of a context variable
    """Say that the code at hand holds slots from now on; give the token to `let_go`."""
    return _holds.set(on)


def let_go(token: Any) -> None:  # Any: as above
    """The opposite of `holding`."""
    _holds.reset(token)


def _waited(trace: Trace, held: Held, answer: Answer) -> Steps:
    trace.later(awaiting(answer.why))
    waiter = held.waiter()
    yield Await([waiter.outcome])
    waiter.outcome.result()
    held.taken = True


def awaiting(why: str) -> State:
    """A run that this process is about to start, as soon as it has its slots."""
    return State(StateType.PENDING, AWAITING_SLOT, why)


def _ready(trace: Trace) -> None:
    if trace.row["state_type"] == StateType.SCHEDULED:
        trace.later(pending())


def _broken_off(error: BaseException) -> State:
    if isinstance(error, Terminated):
        return cancelled(f"{error}, while it waited for a slot")
    return crashed(f"interrupted while it waited for a slot: {type(error).__name__}: {error}".rstrip(": "))

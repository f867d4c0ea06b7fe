"""The waiting room: all in this process that wait for slots, and the one thread that asks for them.

It asks when the bell rings (somebody gave something back), when a rate limit has won back enough, and once a second,
which is how it notices that a holder is dead. It looks before it takes, so that a bell wakes many and locks nothing;
where a bell is heard by those only who are next, the first of them takes at once.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future as Outcome
from typing import Final
from uuid import UUID
from weakref import WeakKeyDictionary

from tocsin.events.errors import Invalid
from tocsin.flows.book import Book
from tocsin.flows.errors import Terminated
from tocsin.flows.slot_requests import Answer, Give, LookForSlots, StillWait, Take, Wanted, channel
from tocsin.flows.slot_rules import in_order
from tocsin.store.engine import AWAY

NET_S: Final = 1.0
"""The longest time between two looks, whatever nobody rang for."""
FIRST: Final = 32
"""How many of those that want the same ask at once; the others are behind them."""

logger = logging.getLogger(__name__)


class Waiter:
    """One that waits. `outcome` gets the answer, or TimeoutError, Terminated, Invalid."""

    def __init__(self, wanted: Wanted, timeout_s: float | None, stopped: Callable[[], bool]) -> None:
        self.wanted, self.stopped = wanted, stopped
        self.end = time.monotonic() + timeout_s if timeout_s is not None else None
        self.outcome: Outcome[Answer] = Outcome()

    @property
    def ticket(self) -> UUID:
        """Its ticket's id."""
        return self.wanted.ticket.id


class WaitingRoom:
    """The waiters of one process on one ledger; its thread lives while there are any."""

    def __init__(self, ledger: Book) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._waiters: dict[UUID, Waiter] = {}
        self._owed: set[UUID] = set()
        self._thread: threading.Thread | None = None
        self._wake: Callable[[], None] = _nobody
        self._said = 0.0

    def enter(self, waiter: Waiter) -> None:
        """Wait for the waiter, whose place in line is stored already."""
        with self._lock:
            self._waiters[waiter.ticket] = waiter
            self._begin()

    def leave(self, ticket: UUID) -> None:
        """Wait for it no more; its place in line is the caller's to give back."""
        with self._lock:
            self._waiters.pop(ticket, None)

    def look(self) -> None:
        """Ask now: something was given back in this process."""
        with self._lock:
            self._wake()

    def owe(self, ticket: UUID) -> None:
        """Give the ticket back as soon as the database answers."""
        with self._lock:
            self._owed.add(ticket)
            self._begin()

    def _begin(self) -> None:
        self._wake()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tocsin-waiting-room", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._goes_on():
            try:
                self._listen()
            except AWAY as error:
                logger.warning("slots could not be asked for, trying again: %s", error)
                time.sleep(NET_S)
            except Exception as error:  # a flaw of ours: whoever waits is told, for nobody else asks for them
                logger.exception("slots cannot be asked for")
                self._give_up(error)
                return

    def _listen(self) -> None:
        heard = self._ledger.bell(channel(self._ledger.lease))
        self._wake, self._said = heard.wake, time.monotonic()
        rung = False
        try:
            while self._goes_on():
                rung = heard.wait(self._turn(rung and heard.exact))
        finally:
            with self._lock:
                self._wake = _nobody
            heard.close()

    def _goes_on(self) -> bool:
        with self._lock:
            if self._waiters or self._owed:
                return True
            self._thread = None if self._wake is _nobody else self._thread
            return False

    def _turn(self, rung: bool) -> float:
        """Ask once for all; in how many seconds to ask again at the latest. `rung`: one of us is next in line."""
        self._pay()
        self._dismiss()
        with self._lock:
            waiters = list(self._waiters.values())
        self._say_so(waiters)
        first = list(_first(waiters))
        if rung:
            self._take(first[:1])
            first = [one for one in first if not one.outcome.done()]
        if not first:
            return 0.0
        clock = self._ledger.clock
        looked: list[Answer] = self._ledger.ask(
            LookForSlots(wanted=tuple(one.wanted for one in first), now=clock.now())
        )
        hopeful = [one for one, answer in zip(first, looked, strict=True) if answer.taken or answer.never]
        if hopeful:
            self._take(hopeful)
        now = clock.now()
        times = [(answer.until - now).total_seconds() for answer in looked if answer.until is not None]
        ends = [one.end - time.monotonic() for one in waiters if one.end is not None]
        return 0.0 if len(hopeful) == len(first) else max(0.0, min([NET_S, *times, *ends]))

    def _take(self, hopeful: list[Waiter]) -> None:
        wanted = tuple(one.wanted for one in hopeful)
        if not wanted:
            return
        answers: list[Answer] = self._ledger.ask(Take(wanted=wanted, now=self._ledger.clock.now()))
        for one, answer in zip(hopeful, answers, strict=True):
            if answer.taken:
                self._end(one, answer)
            elif answer.never:
                self._end(one, Invalid(answer.why))

    def _end(self, waiter: Waiter, result: Answer | BaseException) -> None:
        with self._lock:
            if self._waiters.pop(waiter.ticket, None) is None:  # has left: what it got is nobody's
                self._owed.add(waiter.ticket)
                return
        if isinstance(result, BaseException):
            waiter.outcome.set_exception(result)
        else:
            waiter.outcome.set_result(result)

    def _dismiss(self) -> None:
        """Those who were told to stop, or have waited long enough."""
        with self._lock:
            waiters = list(self._waiters.values())
        for one in waiters:
            if one.stopped():
                self._end(one, Terminated("cancelled"))
            elif one.end is not None and one.end <= time.monotonic():
                wants = ", ".join(sorted(one.wanted.ticket.wants))
                self._end(one, TimeoutError(f"no slot of {wants} came free in the time given"))

    def _pay(self) -> None:
        with self._lock:
            owed = tuple(self._owed)
        if owed:
            self._ledger.ask(Give(tickets=owed, now=self._ledger.clock.now()))
            with self._lock:
                self._owed.difference_update(owed)

    def _give_up(self, error: BaseException) -> None:
        with self._lock:
            self._thread = None
            waiters = list(self._waiters.values())
        for one in waiters:
            self._end(one, error)

    def _say_so(self, waiters: list[Waiter]) -> None:
        if time.monotonic() - self._said >= NET_S and waiters:
            tickets = tuple(one.ticket for one in _first(waiters))
            self._ledger.ask(StillWait(tickets=tickets, now=self._ledger.clock.now()))
            self._said = time.monotonic()


def room_of(ledger: Book) -> WaitingRoom:
    """The waiting room of this ledger."""
    with _opening:
        found = _rooms.get(ledger)
        if found is None:
            found = _rooms[ledger] = WaitingRoom(ledger)
        return found


def _first(waiters: Iterable[Waiter]) -> Iterable[Waiter]:
    """The first of those that want the same, in order."""
    groups: dict[tuple[str, ...], int] = {}
    for one in sorted(waiters, key=lambda one: in_order(one.wanted.ticket)):
        group = tuple(sorted(one.wanted.ticket.wants))
        groups[group] = groups.get(group, 0) + 1
        if groups[group] <= FIRST:
            yield one


def _nobody() -> None:
    """Wakes nobody: the thread does not listen yet, or looks anyway."""


_opening = threading.Lock()
_rooms: "WeakKeyDictionary[Book, WaitingRoom]" = WeakKeyDictionary()

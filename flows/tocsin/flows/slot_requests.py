"""What takers of slots ask of the book; the rules are those of `slot_rules`.

Whoever changes who holds a limit locks its row first, in the order of keys: two that want the same limits never wait
for each other in a circle, and nobody misses what another one gives back.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, delete, select, update
from sqlmodel import Session

from tocsin.flows.limit_tables import ConcurrencySlot
from tocsin.flows.request import Request
from tocsin.flows.slot_rules import Limit, Line, Never, Taken, Ticket, Verdict, Wait, after, in_order, judge
from tocsin.flows.slot_statements import (
    AHEAD,
    COUNTS_OF,
    HELD,
    LIMIT,
    LIMITS,
    LOCKED_LIMITS,
    NEXT,
    PLACES_OF,
    REMOVE,
    REMOVE_DEAD,
    SLOT,
    is_alive,
)
from tocsin.store.bell import ring
from tocsin.store.engine import insert_new

FRESH: Final = timedelta(seconds=3)
"""How long the word of a waiter counts that it still waits."""
MOST: Final = 1_000_000
"""The most slots a limit may have."""

Holder = dict[str, Any]  # Any: JSON


class Wanted(msgspec.Struct, frozen=True):
    """A ticket and who holds it: the lease while whose life it counts, the flow run, and words for people."""

    ticket: Ticket
    lease: str
    flow_run_id: UUID | None = None
    holder: Holder = {}


class Answer(msgspec.Struct, frozen=True):
    """What became of a ticket. `limits`: those of its wants that exist; `never`: it can never be, says `why`."""

    ticket: UUID
    taken: bool
    limits: tuple[str, ...] = ()
    never: bool = False
    why: str = ""
    until: datetime | None = None


class KnownLimits(Request, frozen=True):
    """The limits that there are: `Limit`s without what is used up of them, by key."""

    writes: ClassVar[bool] = False
    answer: ClassVar[Any] = dict[str, Limit]

    def perform(self, session: Session) -> dict[str, Limit]:
        """Read them."""
        columns = (LIMIT.c.key, LIMIT.c.slots, LIMIT.c.decay, LIMIT.c.paused)
        return {row.key: Limit(*row) for row in session.connection().execute(select(*columns))}


class Take(Request, frozen=True):
    """Let each ticket take all that it wants, or stand in line; with `stands` False it takes or goes."""

    wanted: tuple[Wanted, ...]
    now: datetime
    stands: bool = True
    answer: ClassVar[Any] = list[Answer]

    def perform(self, session: Session) -> list[Answer]:
        """The answers, in the order of `wanted`."""
        held, stood = _places_of(session, self.wanted)
        asking = [one for one in self.wanted if one.ticket.id not in held]
        keys = sorted({key for one in asking for key in one.ticket.wants})
        line = _line(session, keys, self.now, lock=True)
        answers = {ticket: Answer(ticket, taken=True, limits=tuple(sorted(limits))) for ticket, limits in held.items()}
        for one in sorted(asking, key=lambda one: in_order(one.ticket)):
            verdict = judge(one.ticket, line, self.now)
            line = after(line, one.ticket, verdict)
            if one.ticket.id in stood:
                _remove(session, [one.ticket.id])
            self._store(session, one, verdict, line, waited=one.ticket.id in stood)
            answers[one.ticket.id] = _answer(one.ticket, verdict, line)
        return [answers[one.ticket.id] for one in self.wanted]

    def _store(self, session: Session, one: Wanted, verdict: Verdict, line: Line, *, waited: bool) -> None:
        match verdict:
            case Taken(limits):
                _enter(session, one, line, self.now, taken=self.now)
                _fill(session, limits)
                if waited:
                    _count_wait(session, one.ticket, line, self.now)
            case Wait() if self.stands:
                _enter(session, one, line, self.now, taken=None)
            case Wait() | Never():
                return


class LookForSlots(Request, frozen=True):
    """What `Take` would answer now, without taking: who waits looks before it locks anything."""

    writes: ClassVar[bool] = False
    wanted: tuple[Wanted, ...]
    now: datetime
    answer: ClassVar[Any] = list[Answer]

    def perform(self, session: Session) -> list[Answer]:
        """The answers, in the order of `wanted`."""
        keys = sorted({key for one in self.wanted for key in one.ticket.wants})
        line = _line(session, keys, self.now, lock=False)
        return [_answer(one.ticket, judge(one.ticket, line, self.now), line) for one in self.wanted]


class Give(Request, frozen=True):
    """Give back what these tickets hold, or their places in line; how many there were of them."""

    tickets: tuple[UUID, ...]
    now: datetime
    answer: ClassVar[Any] = int

    def perform(self, session: Session) -> int:
        """Free them and wake those who are next."""
        found = session.connection().execute(COUNTS_OF, {"tickets": self.tickets})
        freed = {key: int(count) for key, count in found}
        if not freed:
            return 0
        _lock(session, sorted(freed))
        gone = _remove(session, self.tickets)
        for key, count in freed.items():
            wake(session, key, self.now, count)
        return gone


class StillWait(Request, frozen=True):
    """Say that these tickets still wait; those whose word is over lose their claim to be first, not their place."""

    tickets: tuple[UUID, ...]
    now: datetime

    def perform(self, session: Session) -> None:
        """Say it."""
        mine = update(SLOT).where(SLOT.c.ticket.in_(self.tickets), SLOT.c.taken.is_(None))
        session.connection().execute(mine.values(fresh=self.now + FRESH))


def channel(lease: str) -> str:
    """On which the process of this lease hears that one of its waiters is next."""
    return f"slots:{lease}"


def wake(session: Session, key: str, now: datetime, count: int | None = None) -> None:
    """Let the first `count` who wait for the limit (None: all) ask again, when this transaction is committed."""
    first = session.connection().execute(NEXT, {"key": key, "now": now, "count": MOST if count is None else count})
    for lease in set(first.scalars()):
        ring(session, channel(lease))


def free_dead(session: Session, now: datetime) -> int:
    """Free the slots of holders whose lease is over, and the places of waiters; how many."""
    return _free(session, ~is_alive(now), now)


def free_of_runs(session: Session, runs: Sequence[UUID], now: datetime) -> int:
    """Free what is held and waited for in these flow runs, whose process has ended; how many."""
    return _free(session, SLOT.c.flow_run_id.in_(runs), now)


def _free(session: Session, which: ColumnElement[bool], now: datetime) -> int:
    keys = sorted(session.connection().execute(select(SLOT.c.limit_key).where(which).distinct()).scalars())
    if not keys:
        return 0
    _lock(session, keys)
    gone = session.connection().execute(delete(SLOT).where(SLOT.c.limit_key.in_(keys), which)).rowcount
    for key in keys:
        wake(session, key, now)
    return gone


def _places_of(session: Session, wanted: Sequence[Wanted]) -> tuple[dict[UUID, list[str]], set[UUID]]:
    """Tickets that hold what they want, with their limits: the same request was carried out before; and who waits."""
    held: dict[UUID, list[str]] = {}
    waits: set[UUID] = set()
    tickets = [one.ticket.id for one in wanted]
    for ticket, key, taken in session.connection().execute(PLACES_OF, {"tickets": tickets}):
        if taken is None:
            waits.add(ticket)
        else:
            held.setdefault(ticket, []).append(key)
    return held, waits


def _lock(session: Session, keys: Sequence[str]) -> list[Limit]:
    return [_limit(row) for row in session.connection().execute(LOCKED_LIMITS, {"keys": keys}).mappings()]


def _line(session: Session, keys: Sequence[str], now: datetime, *, lock: bool) -> Line:
    if not keys:
        return Line({}, {})
    statement = LOCKED_LIMITS if lock else LIMITS
    limits = [_limit(row) for row in session.connection().execute(statement, {"keys": keys}).mappings()]
    counts = _held(session, keys, now, purge=lock)
    places = [row for limit in limits for row in _ahead(session, limit, now)]
    return Line({limit.key: limit for limit in limits}, counts, _tickets(places))


def _held(session: Session, keys: Sequence[str], now: datetime, *, purge: bool) -> dict[str, int]:
    """Slots that the living hold. The dead lose theirs for good: a process that wakes up again has none."""
    here = {"keys": keys, "now": now}
    rows = session.connection().execute(HELD, here).all()
    if purge and not all(lives for _, lives, _ in rows):
        session.connection().execute(REMOVE_DEAD, here)
    return {key: int(count) for key, lives, count in rows if lives}


def _ahead(session: Session, limit: Limit, now: datetime) -> Sequence[Any]:  # Any: sqlalchemy's Row
    """The first places in line for a limit: as many as it has slots, those behind them get nothing now."""
    here = {"key": limit.key, "now": now, "count": limit.slots + 1}
    return session.connection().execute(AHEAD, here).all()


def _limit(row: Any) -> Limit:  # Any: sqlalchemy's RowMapping
    return Limit(row["key"], row["slots"], row["decay"], row["paused"], row["level"], row["level_at"])


def _tickets(rows: Iterable[Any]) -> tuple[Ticket, ...]:  # Any: sqlalchemy's Row
    found: dict[UUID, Ticket] = {}
    for identity, key, slots, asked, nested in rows:
        found.setdefault(identity, Ticket(identity, {}, asked, nested)).wants[key] = slots
    return tuple(found.values())


def _enter(session: Session, one: Wanted, line: Line, now: datetime, *, taken: datetime | None) -> None:
    """Put the ticket's rows down as holding or waiting. Of a rate nothing is held."""
    there = [key for key in one.ticket.wants if key in line.limits]
    kept = [key for key in there if taken is None or line.limits[key].decay is None]
    common = {
        "ticket": one.ticket.id,
        "lease": one.lease,
        "flow_run_id": one.flow_run_id,
        "nested": one.ticket.nested,
        "asked": one.ticket.asked,
        "fresh": now + FRESH,
        "taken": taken,
        "holder": one.holder,
    }
    rows = [{**common, "limit_key": key, "slots": one.ticket.wants[key]} for key in kept]
    insert_new(session, ConcurrencySlot, rows)


def _fill(session: Session, changed: Sequence[Limit]) -> None:
    """Keep what is used up of rates."""
    for limit in changed:
        filled = update(LIMIT).where(LIMIT.c.key == limit.key).values(level=limit.level, level_at=limit.at)
        session.connection().execute(filled)


def _count_wait(session: Session, ticket: Ticket, line: Line, now: datetime) -> None:
    """Keep how long the ticket waited, with each of its limits."""
    waited = max(0, round((now - ticket.asked).total_seconds() * 1000))
    counted = update(LIMIT).where(LIMIT.c.key.in_([key for key in ticket.wants if key in line.limits]))
    sums = {"waits": LIMIT.c.waits + 1, "waited_ms": LIMIT.c.waited_ms + waited}
    session.connection().execute(counted.values(**sums))


def _remove(session: Session, tickets: Sequence[UUID]) -> int:
    return session.connection().execute(REMOVE, {"tickets": tickets}).rowcount


def _answer(ticket: Ticket, verdict: Verdict, line: Line) -> Answer:
    there = tuple(sorted(ticket.wants.keys() & line.limits.keys()))
    match verdict:
        case Taken():
            return Answer(ticket.id, taken=True, limits=there)
        case Wait(why, until):
            return Answer(ticket.id, taken=False, limits=there, why=why, until=until)
        case Never(why):
            return Answer(ticket.id, taken=False, limits=there, never=True, why=why)

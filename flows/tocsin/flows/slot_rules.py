"""Who may take which slots: a pure function over the limits, what is held of them, who waits, and the time.

    limit db, 3 slots      held ██      free ░
    line                   A wants 2, B wants 1      A is the older one: the free slot is kept for it, B waits

The longest waiting goes first and nobody overtakes it: what it wants is set aside, on each of its limits, until it has
them all. One exception: who holds slots of something else already (a task that enters `with concurrency(...)`) goes
before those who hold nothing, and nothing is set aside from it, for those who wait might wait for what it holds.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

GLOBAL: Final = "global"
TAKEN_BY_TASKS: Final = ("task", "tag")
KINDS: Final = (*TAKEN_BY_TASKS, GLOBAL)
_DUST: Final = 1e-9


class Limit(msgspec.Struct, frozen=True):
    """A limit under its key, such as `tag:db`. With `decay` (slots a second) it limits a rate.

    `level`: how much of a rate was used up and not yet won back at the instant `at`. `paused`: nobody gets anything.
    """

    key: str
    slots: int
    decay: float | None = None
    paused: bool = False
    level: float = 0.0
    at: datetime | None = None


class Ticket(msgspec.Struct, frozen=True):
    """A place in line: so many slots of each limit, all or none. `nested`: its holder holds other slots already."""

    id: UUID
    wants: dict[str, int]
    asked: datetime
    nested: bool = False


class Line(msgspec.Struct, frozen=True):
    """The limits in question, the slots held of each by the living, and the living who wait, in any order."""

    limits: dict[str, Limit]
    held: dict[str, int]
    waiting: tuple[Ticket, ...] = ()


class Taken(msgspec.Struct, frozen=True):
    """Yes: all of it. `limits`: those whose level has changed."""

    limits: tuple[Limit, ...] = ()


class Wait(msgspec.Struct, frozen=True):
    """Not yet. `until`: when it can be asked for again with hope (None: when something is given back)."""

    why: str
    until: datetime | None = None


class Never(msgspec.Struct, frozen=True):
    """No, however long one waits."""

    why: str


Verdict = Taken | Wait | Never


def judge(ticket: Ticket, line: Line, now: datetime) -> Verdict:
    """Whether the ticket gets what it wants now; a limit that is not in `line.limits` is no limit."""
    waits: list[Wait] = []
    for key in sorted(ticket.wants.keys() & line.limits.keys()):
        match _of_one(ticket, line.limits[key], line, now):
            case Never() as never:
                return never
            case Wait() as wait:
                waits.append(wait)
    if waits:
        times = [wait.until for wait in waits if wait.until is not None]
        return Wait(waits[0].why, max(times) if len(times) == len(waits) else None)
    rates = (line.limits[key] for key in sorted(ticket.wants.keys() & line.limits.keys()))
    return Taken(tuple(_filled(limit, ticket.wants[limit.key], now) for limit in rates if limit.decay is not None))


def after(line: Line, ticket: Ticket, verdict: Verdict) -> Line:
    """The line when the verdict is carried out: the ticket holds, waits, or has gone."""
    others = tuple(other for other in line.waiting if other.id != ticket.id)
    match verdict:
        case Wait():
            return msgspec.structs.replace(line, waiting=(*others, ticket))
        case Never():
            return msgspec.structs.replace(line, waiting=others)
        case Taken(limits):
            held = dict(line.held)
            for key, wanted in ticket.wants.items():
                if key in line.limits and line.limits[key].decay is None:
                    held[key] = held.get(key, 0) + wanted
            changed = {**line.limits, **{limit.key: limit for limit in limits}}
            return Line(changed, held, others)


def in_order(ticket: Ticket) -> tuple[bool, datetime, UUID]:
    """By this tickets are sorted: first who is served first."""
    return (not ticket.nested, ticket.asked, ticket.id)


def free(limit: Limit, held: int, now: datetime) -> float:
    """What is left of a limit now; below 0 when it was lowered under what is held."""
    return limit.slots - (held if limit.decay is None else level(limit, now))


def level(limit: Limit, now: datetime) -> float:
    """What is used up of a rate limit now, 0 when enough time has gone by."""
    if limit.decay is None or limit.at is None:
        return limit.level
    return max(0.0, limit.level - limit.decay * max(0.0, (now - limit.at).total_seconds()))


def _of_one(ticket: Ticket, limit: Limit, line: Line, now: datetime) -> Verdict:
    wanted = ticket.wants[limit.key]
    if wanted > limit.slots:
        return Never(f"limit {limit.key} has {limit.slots} slots, {wanted} are wanted at once; `tocsin limit set` it")
    if limit.paused:
        return Wait(f"limit {limit.key} is paused")
    left = free(limit, line.held.get(limit.key, 0), now)
    short = wanted + _set_aside(ticket, limit.key, left, line.waiting) - left
    if short <= _DUST:
        return Taken()
    why = f"limit {limit.key}: {max(0.0, left):g} of {limit.slots} slots are free"
    return Wait(why, now + timedelta(seconds=short / limit.decay) if limit.decay else None)


def _set_aside(ticket: Ticket, key: str, left: float, waiting: tuple[Ticket, ...]) -> int:
    """What those before the ticket are to get first. Before a nested one: only who is held up by nothing else."""
    place = in_order(ticket)
    ahead = (one for one in waiting if key in one.wants and one.id != ticket.id and in_order(one) < place)
    if ticket.nested:
        ahead = (one for one in ahead if len(one.wants) == 1 and one.wants[key] <= left)
    return sum(one.wants[key] for one in ahead)


def _filled(limit: Limit, wanted: int, now: datetime) -> Limit:
    at = now if limit.at is None else max(now, limit.at)
    return msgspec.structs.replace(limit, level=level(limit, at) + wanted, at=at)


def wanted_by(name: str, tags: tuple[str, ...], known: Mapping[str, object]) -> dict[str, int]:
    """The limits among `known` that a run of this task takes a slot of."""
    keys = (f"task:{name}", *(f"tag:{tag}" for tag in tags))
    return {key: 1 for key in keys if key in known}

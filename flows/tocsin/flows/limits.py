"""Limits by name: made, changed, listed, removed.

    set_limits({"fetch": 10, "tag:db": 3, "global:api": 5})     # a plain name is a task's, as in @task(name="fetch")

A limit is one row under `kind:name`. Those of deployments, work pools and work queues stand in their own rows and bound
runs of flows; they are shown and changed here as well.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.flows import limits_of_runs, slots
from tocsin.flows.checks import checked_name
from tocsin.flows.ledger import current
from tocsin.flows.limit_tables import ConcurrencyLimit, ConcurrencySlot
from tocsin.flows.limits_of_runs import OF_RUNS
from tocsin.flows.request import Request
from tocsin.flows.slot_requests import MOST, wake
from tocsin.flows.slot_rules import GLOBAL, KINDS
from tocsin.flows.slot_statements import is_alive
from tocsin.store import log

TASK: Final = "task"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A limit as it stands. `taken` and `waiting` count slots and those who wait; `waited_s` sums their waits so far.

    `decay`: slots won back a second, of a rate limit only; `taken` is None for those.
    """

    kind: str
    name: str
    slots: int
    taken: int | None
    waiting: int
    decay: float | None = None
    paused: bool = False
    waits: int = 0
    waited_s: float = 0.0
    updated: datetime | None = None


class Place(msgspec.Struct, frozen=True):
    """Who holds slots of a limit, or waits for them since `asked` (`taken` None)."""

    holder: str
    slots: int
    asked: datetime
    taken: datetime | None
    flow_run_id: UUID | None


class LimitChange(msgspec.Struct, frozen=True):
    """What to change of a limit; None leaves it. `decay` 0: from now on it limits how many hold it, no rate."""

    slots: int | None = None
    decay: float | None = None
    paused: bool | None = None


class SetLimits(Request, frozen=True):
    """Set limits as `set_limits` does."""

    wanted: dict[str, int | None]
    now: datetime
    answer: ClassVar[Any] = None

    def perform(self, session: Session) -> None:
        """Set them."""
        apply_limits(session, self.wanted, self.now)


def set_limits(wanted: Mapping[str, int | None]) -> None:
    """Set limits on the store at hand; None removes one. A plain name is a task's; else `tag:db`, `global:api`.

    They count at once in this process and within a second in all others. Raises Invalid for names and numbers.
    """
    book = current()
    book.ask(SetLimits(wanted=dict(wanted), now=book.clock.now()))
    slots.forget()


def apply_limits(session: Session, wanted: Mapping[str, int | None], now: datetime) -> None:
    """The same inside the caller's transaction."""
    for text, count in sorted(wanted.items()):
        kind, name = key_of(text, TASK)
        if count is not None and (isinstance(count, bool) or not isinstance(count, int)):
            raise Invalid(f"limit {kind}:{name}: slots are a whole number, not {count!r}; None removes the limit")
        if count is None:
            remove_limit(session, kind, name, now, missing_ok=True)
        else:
            put_limit(session, kind, name, LimitChange(slots=count), now)


def key_of(text: str, default: str = GLOBAL) -> tuple[str, str]:
    """Kind and name of `kind:name`, or of a plain name of the `default` kind. Raises Invalid."""
    kind, colon, name = text.partition(":")
    if not colon:
        kind, name = default, text
    if kind not in (*KINDS, *OF_RUNS):
        raise Invalid(f"limit {text!r}: {kind!r} is no kind of limit; known: {', '.join((*KINDS, *OF_RUNS))}")
    return kind, name if kind in OF_RUNS else checked_name("limit", name)


def put_limit(session: Session, kind: str, name: str, change: LimitChange, now: datetime) -> Status:
    """The limit after the change; made when there is none, for which it must say `slots`. Raises Invalid, NotFound."""
    _check(f"{kind}:{name}", change)
    if kind in OF_RUNS:
        limits_of_runs.put(session, kind, name, change.slots, now, other=change.decay or change.paused)
        return get_limit(session, kind, name, now)
    row = session.get(ConcurrencyLimit, f"{kind}:{name}", with_for_update=True, populate_existing=True)
    if row is None:
        row = _made(kind, name, change, now)
        _tell(session, "created", row, now)
    elif _changed(row, change, now):
        _tell(session, "updated", row, now)
    session.add(row)
    session.flush()
    wake(session, row.key, now)
    return get_limit(session, kind, name, now)


def remove_limit(session: Session, kind: str, name: str, now: datetime, *, missing_ok: bool = False) -> None:
    """No limit any more; who waits for it goes on. Raises NotFound."""
    if kind in OF_RUNS:
        limits_of_runs.put(session, kind, name, None, now)
        return
    row = session.get(ConcurrencyLimit, f"{kind}:{name}", with_for_update=True)
    if row is None and missing_ok:
        return
    if row is None:
        raise _not_found(session, kind, name, now)
    wake(session, row.key, now)
    session.connection().execute(delete(ConcurrencySlot).where(col(ConcurrencySlot.limit_key) == row.key))
    session.delete(row)
    session.flush()
    _tell(session, "removed", row, now)


def get_limit(session: Session, kind: str, name: str, now: datetime) -> Status:
    """The limit as it stands. Raises NotFound naming those that there are."""
    found = next((one for one in list_limits(session, now) if (one.kind, one.name) == (kind, name)), None)
    if found is None:
        raise _not_found(session, kind, name, now)
    return found


def list_limits(session: Session, now: datetime) -> list[Status]:
    """All limits by kind and name, those of deployments, work pools and work queues among them."""
    rows = session.exec(select(ConcurrencyLimit).order_by(col(ConcurrencyLimit.key))).all()
    slot = ConcurrencySlot
    counted = select(slot.limit_key, col(slot.taken).is_not(None), func.sum(slot.slots), func.count())
    counted = counted.where(is_alive(now)).group_by(col(slot.limit_key), col(slot.taken).is_not(None))
    counts = {(key, bool(held)): (int(total), number) for key, held, total, number in session.exec(counted)}
    ours = [_status(row, counts) for row in rows]
    theirs = [Status(**found) for found in limits_of_runs.listed(session)]
    return sorted([*ours, *theirs], key=lambda one: (one.kind, one.name))


def places(session: Session, kind: str, name: str, now: datetime) -> list[Place]:
    """Who holds slots of the limit, then who waits for them, the longest first."""
    slot = ConcurrencySlot
    statement = (
        select(slot)
        .where(slot.limit_key == f"{kind}:{name}", is_alive(now))
        .order_by(col(slot.taken).is_(None), col(slot.nested).desc(), col(slot.asked), col(slot.ticket))
    )
    return [
        Place(str(row.holder.get("name", "")), row.slots, row.asked, row.taken, row.flow_run_id)
        for row in session.exec(statement).all()
    ]


def waited(row: Status) -> timedelta:
    """How long those who waited did so on average."""
    return timedelta(seconds=row.waited_s / row.waits) if row.waits else timedelta()


def _check(key: str, change: LimitChange) -> None:
    if change.slots is not None and not 1 <= change.slots <= MOST:
        raise Invalid(f"limit {key}: slots are 1 to {MOST:,}, not {change.slots}; to let nobody through, pause it")
    if change.decay is not None and not 0 <= change.decay < float("inf"):
        raise Invalid(f"limit {key}: decay is slots a second, such as 2.5, not {change.decay}")


def _made(kind: str, name: str, change: LimitChange, now: datetime) -> ConcurrencyLimit:
    key = f"{kind}:{name}"
    if change.slots is None:
        raise Invalid(f"limit {key}: there is none of this name; say how many slots it has to make it")
    paused, decay = bool(change.paused), change.decay or None
    return ConcurrencyLimit(
        key=key, kind=kind, name=name, slots=change.slots, decay=decay, paused=paused, created=now, updated=now
    )


def _changed(row: ConcurrencyLimit, change: LimitChange, now: datetime) -> bool:
    decay = row.decay if change.decay is None else change.decay or None
    slots_after = row.slots if change.slots is None else change.slots
    paused = row.paused if change.paused is None else change.paused
    if (row.slots, row.decay, row.paused) == (slots_after, decay, paused):
        return False
    row.slots, row.decay, row.paused, row.updated = slots_after, decay, paused, now
    return True


def _status(row: ConcurrencyLimit, counts: Mapping[tuple[str, bool], tuple[int, int]]) -> Status:
    return Status(
        kind=row.kind,
        name=row.name,
        slots=row.slots,
        taken=counts.get((row.key, True), (0, 0))[0] if row.decay is None else None,
        waiting=counts.get((row.key, False), (0, 0))[1],
        decay=row.decay,
        paused=row.paused,
        waits=row.waits,
        waited_s=row.waited_ms / 1000,
        updated=row.updated,
    )


def _not_found(session: Session, kind: str, name: str, now: datetime) -> NotFound:
    known = ", ".join(f"{one.kind}:{one.name}" for one in list_limits(session, now)[:10]) or "none"
    return NotFound(f"limit {kind}:{name}: there is none of this name; known: {known}")


def _tell(session: Session, what: str, row: ConcurrencyLimit, now: datetime) -> None:
    event = Event(
        event=f"tocsin.limit.{what}",
        occurred=now,
        resource={RESOURCE_ID: f"tocsin.limit.{row.key}", RESOURCE_NAME: row.key},
        payload={"slots": row.slots, "decay": row.decay, "paused": row.paused},
    )
    log.append(session, [event])

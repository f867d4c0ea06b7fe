"""Which deliveries are due, whose turn it is, and what an attempt has changed. Every function runs in a transaction."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import CTE, ColumnElement, and_, exists, or_, update
from sqlalchemy.orm import Mapped, aliased
from sqlmodel import Session, col, func, select

from tocsin.events.ids import uuid7
from tocsin.events.model import Event
from tocsin.notifiers import past
from tocsin.notifiers.blocks import KINDS
from tocsin.notifiers.delivery import OVER_BEFORE_TOLD, Progress, Step, next_state
from tocsin.notifiers.episodes import lock
from tocsin.notifiers.incident_events import ended as event_of_end
from tocsin.notifiers.node import STORM
from tocsin.notifiers.outcomes import Delivered, Handle, Outcome
from tocsin.notifiers.pacing import is_paced, next_turn, take_turns
from tocsin.notifiers.redact import redact
from tocsin.notifiers.registry import CHANNEL
from tocsin.notifiers.tables import Attempt, Delivery, Incident, NotifierRow, ReceiverState
from tocsin.notifiers.tally import count_attempts
from tocsin.notifiers.view import View, view_from_json, view_to_json
from tocsin.store.engine import claimable, insert_new, touch
from tocsin.store.log import append

REASON = 500

Column = ColumnElement[str] | Mapped[str]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery whose turn it is; until the lease is over nobody else touches it.

    `handle` is what an earlier delivery of the incident to this receiver gave back; `look_first` says that a try may
    have arrived without an answer, `again` that a try of this very delivery may. `notifier` is None when it was
    removed.
    """

    id: UUID
    incident_id: UUID
    receiver: str
    lease: UUID
    view: View
    minimal: bool
    handle: Handle | None
    look_first: bool
    notifier: NotifierRow | None
    again: bool = False
    waited: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Tried:
    """How an attempt went; `waited` is how long it was due before its turn came."""

    outcome: Outcome
    at: datetime
    took: timedelta
    size: int
    waited: timedelta = timedelta(0)


def due_receivers(session: Session, now: datetime, full: Collection[str] = ()) -> list[str]:
    """Who may have a delivery that can be tried now; `full` ones have enough under way."""
    waiting = _waiting_receivers()
    ours = past.is_live(Delivery.state), col(Delivery.receiver) == waiting.c.receiver, col(Delivery.due) <= now
    statement = select(waiting.c.receiver).where(exists().where(*ours), ~told_to_wait(now, waiting.c.receiver))
    return sorted(set(session.exec(statement)) - set(full))


def _waiting_receivers() -> CTE:
    """Every receiver with a live delivery: from one to the next by the index, however many each has."""
    live = past.is_live(Delivery.state)
    found = select(func.min(Delivery.receiver).label("receiver")).where(live).cte("waiting", recursive=True)
    after = select(func.min(Delivery.receiver)).where(live, col(Delivery.receiver) > found.c.receiver)
    return found.union_all(select(after.scalar_subquery()).where(found.c.receiver.is_not(None)))


def claim(session: Session, now: datetime, lease: timedelta, under_way: Mapping[str, int], limit: int) -> list[Claimed]:
    """Take up to `limit` due deliveries, of each receiver as many as it may have under way at once."""
    claimed: list[Claimed] = []
    for receiver in due_receivers(session, now):
        notifier = session.get(NotifierRow, receiver)
        most = 1 if _asked_to_wait(session, receiver) else at_once(notifier)
        free = min(most - under_way.get(receiver, 0), limit - len(claimed))
        if free <= 0:
            continue
        mine = _due(now) & (col(Delivery.receiver) == receiver)
        statement = select(Delivery).where(mine).order_by(col(Delivery.due)).limit(free)
        rows = session.exec(claimable(session, statement)).all()
        turns = take_turns(session, notifier, now, len(rows))
        heard = past.heard_of(session, receiver, [row.incident_id for row in rows[:turns]])
        claimed += [_take(row, notifier, heard.get(row.incident_id), now, lease) for row in rows[:turns]]
    return claimed


def at_once(notifier: NotifierRow | None) -> int:
    """How many deliveries to this receiver may be under way at the same time, in one dispatcher."""
    return KINDS[notifier.kind].at_once if notifier is not None and notifier.kind in KINDS else 1


def next_due(session: Session, now: datetime) -> datetime | None:
    """When the next delivery, lease or wait of a receiver comes due; None when nothing is waiting."""
    waiting = _waiting_receivers()
    mine = past.is_live(Delivery.state), col(Delivery.receiver) == waiting.c.receiver, col(Delivery.due) > now
    first = select(func.min(Delivery.due)).where(*mine).scalar_subquery()
    dues = session.exec(select(func.min(first)).select_from(waiting)).one()
    waits = session.exec(select(func.min(ReceiverState.not_before)).where(col(ReceiverState.not_before) > now)).one()
    instants = (dues, waits, next_turn(session, now))
    return min((instant for instant in instants if instant is not None), default=None)


def record(session: Session, claimed: Claimed, tried: Tried, jitter: float) -> Step | None:
    """Write down the attempt and what it changed, with its event. None when the lease had gone to somebody else."""
    return record_all(session, [(claimed, tried)], lambda: jitter)[0]


def record_all(
    session: Session, ended: Sequence[tuple[Claimed, Tried]], jitter: Callable[[], float]
) -> list[Step | None]:
    """The same for several attempts that ended at about the same time."""
    incidents = _locked(session, [claimed for claimed, _ in ended])
    rows = past.current_all(session, incidents, [claimed.id for claimed, _ in ended])
    steps, events, made = list[Step | None](), list[Event](), list[tuple[Attempt, Delivery | None]]()
    for claimed, tried in ended:
        mine = rows[claimed.incident_id, claimed.receiver]
        row = next(row for row in mine if row.id == claimed.id)
        attempt = attempt_row(row.receiver, row.action, tried, row.id)
        session.add(attempt)
        step = _stepped(session, row, mine, claimed, tried, jitter) if row.lease == claimed.lease else None
        if step is not None and step.state in ("delivered", "dead"):
            events.append(event_of_end(row, incidents[row.incident_id], attempt.id))
        steps.append(step)
        made.append((attempt, row if step is not None else None))
    _wishes(session, ended, steps)
    append(session, events)
    count_attempts(session, made, incidents)
    touch(session, CHANNEL)
    return steps


def _locked(session: Session, several: Sequence[Claimed]) -> dict[UUID, Incident]:
    """Their incidents; storms after all others, as whoever takes alerts does it."""
    storms = {claimed.incident_id for claimed in several if claimed.view.route == STORM}
    return lock(session, {claimed.incident_id for claimed in several} - storms) | lock(session, storms)


def _stepped(
    session: Session,
    row: Delivery,
    rows: Sequence[Delivery],
    claimed: Claimed,
    tried: Tried,
    jitter: Callable[[], float],
) -> Step:
    """What the attempt has changed about the delivery and those that wait behind it."""
    waiting = [other for other in rows if other.revision > row.revision and other.state == "pending"]
    block = KINDS.get(claimed.notifier.kind) if claimed.notifier is not None else None
    if block is None or not block.updates:
        # A pager learns behind its call that somebody is at it; that does not take the call's place.
        waiting = [other for other in waiting if other.action != "acknowledge"]
    progress = Progress(row.tries, row.since, row.minimal, row.maybe_told, overtaken=bool(waiting))
    step = next_state(progress, tried.outcome, tried.at, jitter())
    _apply(session, row, step, tried.at)
    if waiting and not past.was_told(session, claimed.incident_id, claimed.receiver):
        _let_go(session, waiting, tried.at)
    return step


def attempt_row(receiver: str, action: str, tried: Tried, delivery: UUID | None) -> Attempt:
    """The log line of one try."""
    outcome = tried.outcome
    reason = None if isinstance(outcome, Delivered) else redact(outcome.reason)[:REASON]
    return Attempt(
        id=uuid7(),
        delivery_id=delivery,
        receiver=receiver,
        action=action,
        at=tried.at,
        outcome=type(outcome).__name__.lower(),
        status=outcome.status,
        took_ms=round(tried.took / timedelta(milliseconds=1)),
        waited_ms=round(tried.waited / timedelta(milliseconds=1)),
        size=tried.size,
        reason=reason,
    )


def _take(
    row: Delivery, notifier: NotifierRow | None, heard: past.Heard | None, now: datetime, lease: timedelta
) -> Claimed:
    """Make the delivery ours. `heard`: what the receiver has heard of the incident."""
    abandoned, waited = row.state == "sending", now - row.due
    row.maybe_told = row.maybe_told or abandoned
    row.state, row.due, row.lease, row.tries = "sending", now + lease, uuid4(), row.tries + 1
    handle = heard.handle if heard is not None else None
    return Claimed(
        id=row.id,
        incident_id=row.incident_id,
        receiver=row.receiver,
        lease=row.lease,
        view=view_from_json(row.view),
        minimal=row.minimal,
        handle=handle,
        look_first=handle is None and (heard is not None or row.maybe_told),
        notifier=notifier,
        again=row.maybe_told,
        waited=waited,
    )


def _apply(session: Session, row: Delivery, step: Step, now: datetime) -> None:
    row.state, row.due, row.minimal, row.maybe_told = step.state, step.due, step.minimal, step.maybe_told
    row.reason = redact(step.reason)[:REASON] if step.reason else None
    row.handle, row.lease, row.updated = step.handle, None, now
    session.add(row)


def _asked_to_wait(session: Session, receiver: str) -> bool:
    """Whether the receiver has asked to be left alone, and has taken nothing since: then one goes first, by itself."""
    state = session.get(ReceiverState, receiver, populate_existing=True)
    return state is not None and state.not_before is not None


def _wishes(session: Session, ended: Sequence[tuple[Claimed, Tried]], steps: Sequence[Step | None]) -> None:
    """Note who wants to be left alone, and who takes messages again; in one order, whoever else does so."""
    taken = {claimed.receiver: tried.at for claimed, tried in ended if isinstance(tried.outcome, Delivered)}
    waits: dict[str, tuple[datetime, str | None]] = {}
    for (claimed, _), step in zip(ended, steps, strict=True):
        if step is not None and step.not_before is not None:
            wish = step.not_before, redact(step.reason)[:REASON] if step.reason else None
            waits[claimed.receiver] = max(wish, waits.get(claimed.receiver, wish), key=lambda one: one[0])
    for receiver in sorted({*taken, *waits}):
        if receiver in taken:
            _trust(session, receiver, taken[receiver])
        if receiver in waits:
            _leave_alone(session, receiver, *waits[receiver])


def _trust(session: Session, receiver: str, at: datetime) -> None:
    """It has taken a message: what it once asked for is over."""
    asked = col(ReceiverState.receiver) == receiver, col(ReceiverState.not_before) <= at
    session.connection().execute(update(ReceiverState).where(*asked).values(not_before=None, reason=None))


def _leave_alone(session: Session, receiver: str, until: datetime, reason: str | None) -> None:
    """Nothing is sent to the receiver before `until`; of several such wishes the longest holds."""
    asked = {"not_before": until, "reason": reason}
    if insert_new(session, ReceiverState, [{"receiver": receiver, **asked}]):
        return
    shorter = or_(col(ReceiverState.not_before).is_(None), col(ReceiverState.not_before) < until)
    mine = update(ReceiverState).where(col(ReceiverState.receiver) == receiver, shorter)
    session.connection().execute(mine.values(asked))


def _let_go(session: Session, waiting: list[Delivery], now: datetime) -> None:
    """The receiver knows nothing of the incident: a resolve is not owed any more, an update becomes the first word."""
    for row in waiting:
        if row.action == "resolve":
            row.state, row.reason, row.updated = "superseded", OVER_BEFORE_TOLD, now
        else:
            first = view_from_json(row.view)
            row.action, row.view = "trigger", view_to_json(_as_trigger(first))
        session.add(row)


def _as_trigger(view: View) -> View:
    fields: dict[str, Any] = {name: getattr(view, name) for name in view.__struct_fields__}  # Any: the view's fields
    return View(**{**fields, "action": "trigger"})


def _due(now: datetime) -> ColumnElement[bool]:
    """Live, due, its receiver may be spoken to, and nothing older of the same incident and receiver is still live."""
    older = aliased(Delivery)
    in_front = exists().where(
        col(older.incident_id) == col(Delivery.incident_id),
        col(older.receiver) == col(Delivery.receiver),
        col(older.revision) < col(Delivery.revision),
        past.is_live(older.state),
    )
    return and_(past.is_live(Delivery.state), col(Delivery.due) <= now, ~in_front)


def told_to_wait(now: datetime, receiver: Column) -> ColumnElement[bool]:
    """Whether the receiver asked to be left alone, or its rate does."""
    asked = exists().where(col(ReceiverState.receiver) == receiver, col(ReceiverState.not_before) > now)
    return or_(asked, is_paced(now, receiver))

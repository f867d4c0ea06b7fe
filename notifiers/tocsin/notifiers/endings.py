"""What the end of an attempt changes: the delivery, those that wait behind it, the receiver. In one transaction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, insert, or_, update
from sqlmodel import Session, col, select

from tocsin.events.ids import uuid7
from tocsin.notifiers import past
from tocsin.notifiers.blocks import KINDS
from tocsin.notifiers.claims import Claimed
from tocsin.notifiers.delivery import OVER_BEFORE_TOLD, Progress, Step, next_state
from tocsin.notifiers.incident_events import ended as event_of_end
from tocsin.notifiers.node import STORM
from tocsin.notifiers.outcomes import Delivered, Outcome
from tocsin.notifiers.past import Origin, Standing
from tocsin.notifiers.redact import redact
from tocsin.notifiers.registry import CHANNEL
from tocsin.notifiers.tables import Attempt, Delivery, ReceiverState
from tocsin.notifiers.tally import Counted, count_attempts
from tocsin.notifiers.view import View, view_from_json, view_to_json
from tocsin.store.engine import insert_new, touch
from tocsin.store.log import append

REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Tried:
    """How an attempt went; `waited` is how long it was due before its turn came."""

    outcome: Outcome
    at: datetime
    took: timedelta
    size: int
    waited: timedelta = timedelta(0)


class _Ending(NamedTuple):
    """An attempt on record, and what it made of its delivery: None when the lease had gone to somebody else."""

    attempt: dict[str, Any]  # Any: a row of attempts
    step: Step | None
    row: Standing


def record(session: Session, claimed: Claimed, tried: Tried, jitter: float) -> Step | None:
    """Write down the attempt and what it changed, with its event. None when the lease had gone to somebody else."""
    return record_all(session, [(claimed, tried)], lambda: jitter)[0]


def record_all(
    session: Session, ended: Sequence[tuple[Claimed, Tried]], jitter: Callable[[], float]
) -> list[Step | None]:
    """The same for several attempts that ended at about the same time."""
    incidents = _locked(session, [claimed for claimed, _ in ended])
    rows = past.standing(session, [claimed.id for claimed, _ in ended], incidents)
    endings = [
        _ending(session, rows[claimed.incident_id, claimed.receiver], claimed, tried, jitter)
        for claimed, tried in ended
    ]
    _write(session, endings)
    steps = [ending.step for ending in endings]
    _wishes(session, ended, steps)
    over = [one for one in endings if one.step is not None and one.step.state in ("delivered", "dead")]
    append(session, [event_of_end(one.row, incidents[one.row.incident_id], one.attempt["id"]) for one in over])
    count_attempts(session, [_counted(one) for one in endings], incidents)
    touch(session, CHANNEL)
    return steps


def attempt_values(receiver: str, action: str, tried: Tried, delivery: UUID | None) -> dict[str, Any]:
    """The log line of one try: the values of an `Attempt`, of any type."""
    outcome = tried.outcome
    reason = None if isinstance(outcome, Delivered) else redact(outcome.reason)[:REASON]
    return {
        "id": uuid7(),
        "delivery_id": delivery,
        "receiver": receiver,
        "action": action,
        "at": tried.at,
        "outcome": type(outcome).__name__.lower(),
        "status": outcome.status,
        "took_ms": round(tried.took / timedelta(milliseconds=1)),
        "waited_ms": round(tried.waited / timedelta(milliseconds=1)),
        "size": tried.size,
        "reason": reason,
    }


def _locked(session: Session, several: Sequence[Claimed]) -> dict[UUID, Origin]:
    """Their incidents; storms after all others, as whoever takes alerts does it."""
    storms = {claimed.incident_id for claimed in several if claimed.view.route == STORM}
    return past.origins(session, {one.incident_id for one in several} - storms) | past.origins(session, storms)


def _ending(
    session: Session, rows: Sequence[Standing], claimed: Claimed, tried: Tried, jitter: Callable[[], float]
) -> _Ending:
    """What the attempt has changed about the delivery, and those of `rows` that wait behind it."""
    row = next(row for row in rows if row.id == claimed.id)
    attempt = attempt_values(row.receiver, row.action, tried, row.id)
    if row.lease != claimed.lease:
        return _Ending(attempt, None, row)
    waiting = [other for other in rows if other.revision > row.revision and other.state == "pending"]
    block = KINDS.get(claimed.notifier.kind) if claimed.notifier is not None else None
    if block is None or not block.updates:
        # A pager learns behind its call that somebody is at it; that does not take the call's place.
        waiting = [other for other in waiting if other.action != "acknowledge"]
    progress = Progress(row.tries, row.since, row.minimal, row.maybe_told, overtaken=bool(waiting))
    step = next_state(progress, tried.outcome, tried.at, jitter())
    if waiting and not (step.maybe_told or past.was_told(session, row.incident_id, row.receiver)):
        _let_go(session, waiting, tried.at)
    reason = redact(step.reason)[:REASON] if step.reason else None
    now = row._replace(
        state=step.state, minimal=step.minimal, maybe_told=step.maybe_told, reason=reason, updated=tried.at
    )
    return _Ending(attempt, step, now)


def _write(session: Session, endings: Iterable[_Ending]) -> None:
    """Put down the attempts, and the deliveries as they are now; they are nobody's any more."""
    connection = session.connection()
    connection.execute(_ATTEMPTS, [one.attempt for one in endings])
    changed = [
        {
            "row": one.row.id,
            "state": one.row.state,
            "due": one.step.due,
            "minimal": one.row.minimal,
            "maybe_told": one.row.maybe_told,
            "reason": one.row.reason,
            "handle": one.step.handle,
            "lease": None,
            "updated": one.row.updated,
        }
        for one in endings
        if one.step is not None
    ]
    if changed:
        connection.execute(_ENDED, changed)


def _counted(one: _Ending) -> Counted:
    attempt = one.attempt
    own = one.row if one.step is not None else None
    return Counted(attempt["receiver"], attempt["outcome"], attempt["waited_ms"], own)


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
    session.connection().execute(_TRUSTED, {"name": receiver, "at": at})


def _leave_alone(session: Session, receiver: str, until: datetime, reason: str | None) -> None:
    """Nothing is sent to the receiver before `until`; of several such wishes the longest holds."""
    asked = {"not_before": until, "reason": reason}
    if insert_new(session, ReceiverState, [{"receiver": receiver, **asked}]):
        return
    shorter = or_(col(ReceiverState.not_before).is_(None), col(ReceiverState.not_before) < until)
    mine = update(ReceiverState).where(col(ReceiverState.receiver) == receiver, shorter)
    session.connection().execute(mine.values(asked))


def _let_go(session: Session, waiting: Sequence[Standing], now: datetime) -> None:
    """The receiver knows nothing of the incident: a resolve is not owed any more, an update becomes the first word."""
    for row in session.exec(select(Delivery).where(col(Delivery.id).in_([one.id for one in waiting]))):
        if row.action == "resolve":
            row.state, row.reason, row.updated = "superseded", OVER_BEFORE_TOLD, now
        else:
            first = view_from_json(row.view)
            row.action, row.view = "trigger", view_to_json(_as_trigger(first))
        session.add(row)


def _as_trigger(view: View) -> View:
    fields: dict[str, Any] = {name: getattr(view, name) for name in view.__struct_fields__}  # Any: the view's fields
    return View(**{**fields, "action": "trigger"})


# Made once: to make them costs more than to carry them out.
_ATTEMPTS: Final = insert(Attempt)
_ENDED: Final = update(Delivery).where(col(Delivery.id) == bindparam("row"))
_TRUSTED: Final = (
    update(ReceiverState)
    .where(col(ReceiverState.receiver) == bindparam("name"), col(ReceiverState.not_before) <= bindparam("at"))
    .values(not_before=None, reason=None)
)

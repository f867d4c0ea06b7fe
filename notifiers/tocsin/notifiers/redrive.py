"""A dead delivery is driven again: not with what it once had to say, but with what is true now."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec.structs import replace
from sqlmodel import Session, col, select

from tocsin.events.clock import micros
from tocsin.events.errors import NotFound
from tocsin.events.ids import derive
from tocsin.events.model import Event
from tocsin.notifiers import past
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.delivery import LIVE as UNDER_WAY
from tocsin.notifiers.delivery import OVER_BEFORE_TOLD
from tocsin.notifiers.episodes import case_of, lock
from tocsin.notifiers.incident_events import ended
from tocsin.notifiers.node import node_from_json
from tocsin.notifiers.picture import view_of
from tocsin.notifiers.quiet import why_quiet
from tocsin.notifiers.registry import CHANNEL, unknown
from tocsin.notifiers.tables import Delivery, Incident, NotifierRow
from tocsin.notifiers.view import Action, view_to_json
from tocsin.notifiers.words import look
from tocsin.store.engine import touch
from tocsin.store.log import append

MOST: Final = 1_000
"""So many dead deliveries are driven at once, at most."""


@dataclass(frozen=True)
class Redriven:
    """What became of a dead delivery: `put` is what its receiver will be told now, None when nothing is owed; why."""

    delivery: UUID
    incident: UUID
    receiver: str
    put: Action | None
    why: str


@dataclass(frozen=True, slots=True)
class Last:
    """The newest delivery of an incident to a receiver, and whether the receiver has, or may have, heard of it."""

    action: Action
    state: str
    told: bool


def owed(last: Last, *, over: bool, quiet: str | None) -> tuple[Action | None, str]:
    """What a receiver must be told whose newest delivery is `last`, or nothing; and why. Pure.

    `over`: the incident has ended. `quiet`: why nothing may be said of it at the moment.
    """
    if last.state in UNDER_WAY:
        return None, f"its newest word ({last.action}) is on its way already"
    if last.state == "delivered":
        return None, f"its newest word ({last.action}) has arrived"
    if over and not last.told:
        return None, f"{OVER_BEFORE_TOLD}: nothing is owed"
    if over:
        return "resolve", "it was told, and must hear of the end"
    if last.state == "superseded":
        return None, "something else speaks for it, such as a storm"
    if quiet:
        return None, f"nothing may be said of it: {quiet}"
    return (last.action, "the newest truth") if last.told else ("trigger", "it was never told")


def redrive(session: Session, delivery: UUID, now: datetime) -> Redriven:
    """Put the dead delivery, or the dead one that came after it, to pending again, with the newest truth.

    The second time nothing happens: it is on its way already. Raises NotFound.
    """
    row = session.get(Delivery, delivery)
    if row is None:
        raise NotFound(f"no delivery has the id {delivery}; `tocsin delivery ls --state dead` lists those that died")
    return _again(session, row, now)


def redrive_dead(
    session: Session, now: datetime, *, receiver: str | None = None, since: datetime | None = None
) -> list[Redriven]:
    """The same for the dead deliveries, those of `receiver` only or that died from `since` on, the oldest first.

    At most 1,000 at a time; of those of one incident and receiver the newest only. Raises NotFound for an unknown name.
    """
    if receiver is not None and session.get(NotifierRow, receiver) is None:
        raise NotFound(unknown(session, receiver))
    rows = list(_newest(_dead(session, receiver, since)))
    lock(session, (row.incident_id for row in rows))
    return [_again(session, row, now) for row in rows]


def _dead(session: Session, receiver: str | None, since: datetime | None) -> Sequence[Delivery]:
    statement = select(Delivery).where(Delivery.state == "dead")
    if receiver is not None:
        statement = statement.where(Delivery.receiver == receiver)
    if since is not None:
        statement = statement.where(Delivery.updated >= since)
    return session.exec(statement.order_by(col(Delivery.updated)).limit(MOST)).all()


def _newest(rows: Sequence[Delivery]) -> Iterator[Delivery]:
    newest: dict[tuple[UUID, str], Delivery] = {}
    for row in rows:
        place = row.incident_id, row.receiver
        if place not in newest or newest[place].revision < row.revision:
            newest[place] = row
    return iter(newest.values())


def _again(session: Session, asked: Delivery, now: datetime) -> Redriven:
    incident = lock(session, [asked.incident_id])[asked.incident_id]
    row = _last(session, asked)
    if session.get(NotifierRow, row.receiver) is None:
        gone = f'notifier "{row.receiver}" was removed; put it on record again first'
        return Redriven(row.id, incident.id, row.receiver, None, gone)
    over = incident.state not in (*LIVE, "told")
    quiet = None if over else why_quiet(session, incident.id, node_from_json(incident.node), now)
    put, why = owed(_known(session, row), over=over, quiet=quiet.text if quiet else None)
    if put is not None:
        _put(session, incident, row, put, now)
    return Redriven(row.id, incident.id, row.receiver, put, why)


def _last(session: Session, asked: Delivery) -> Delivery:
    """The newest delivery of the same incident to the same receiver, locked."""
    mine = Delivery.incident_id == asked.incident_id, Delivery.receiver == asked.receiver
    newest = select(Delivery).where(*mine).order_by(col(Delivery.revision).desc()).limit(1).with_for_update()
    return session.exec(newest.execution_options(populate_existing=True)).one()


def _known(session: Session, row: Delivery) -> Last:
    # The column holds nothing else: rows are written from this very type.
    action: Action = row.action  # type: ignore[assignment]
    return Last(action, row.state, past.was_told(session, row.incident_id, row.receiver))


def _put(session: Session, incident: Incident, row: Delivery, action: Action, now: datetime) -> None:
    node = node_from_json(incident.node)
    shown = look(session, incident, node, now)
    view = view_of(row.id, incident, case_of(incident), node, shown, row.receiver, action, row.revision, now)
    tries, reason = row.tries, row.reason
    row.action, row.view, row.state, row.reason = action, view_to_json(view), "pending", None
    row.due = row.since = row.updated = now
    row.tries, row.minimal, row.lease = 0, False, None
    session.add(row)
    session.flush()
    append(session, [_event(row, incident, tries, reason, now)])
    touch(session, CHANNEL)


def _event(row: Delivery, incident: Incident, tries: int, reason: str | None, now: datetime) -> Event:
    """`tocsin.delivery.redriven`: what it died of, and after how many tries."""
    about = {"receiver": row.receiver, "action": row.action, "revision": row.revision}
    told = ended(row, incident, derive("delivery-redriven", row.id, micros(now)))
    return replace(told, event="tocsin.delivery.redriven", payload={**about, "tries": tries, "reason": reason})

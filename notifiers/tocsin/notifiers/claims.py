"""Whose turn it is: deliveries that are due are claimed, and belong to whoever claimed them until the lease is over."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, String, and_, bindparam, exists, or_, update
from sqlalchemy import select as columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from tocsin.notifiers import past
from tocsin.notifiers.agenda import NOW
from tocsin.notifiers.blocks import KINDS
from tocsin.notifiers.outcomes import Handle
from tocsin.notifiers.pacing import Paces
from tocsin.notifiers.tables import Delivery, NotifierRow, ReceiverState
from tocsin.notifiers.view import View, view_from_json


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


def claim(
    session: Session,
    receivers: Collection[str],
    now: datetime,
    lease: timedelta,
    under_way: Mapping[str, int],
    limit: int,
) -> list[Claimed]:
    """Take up to `limit` due deliveries to `receivers`, of each as many as it may have under way at once."""
    notifiers = {row.name: row for row in session.exec(_NOTIFIERS, params={"receivers": list(receivers)})}
    found = _due(session, receivers, notifiers, now, under_way, limit)
    heard = past.heard_of(session, [(row.incident_id, row.receiver) for row in found])
    token = uuid4()
    if found:
        session.connection().execute(_TAKE, {"rows": [row.id for row in found], "until": now + lease, "token": token})
    return [
        _claimed(row, notifiers.get(row.receiver), heard.get((row.incident_id, row.receiver)), token, now)
        for row in found
    ]


def at_once(notifier: NotifierRow | None) -> int:
    """How many deliveries to this receiver may be under way at the same time, in one dispatcher."""
    return KINDS[notifier.kind].at_once if notifier is not None and notifier.kind in KINDS else 1


class _Due(NamedTuple):
    """A delivery that is due: the columns of its row."""

    id: UUID
    incident_id: UUID
    receiver: str
    state: str
    due: datetime
    view: dict[str, Any]  # Any: a View as JSON
    minimal: bool
    maybe_told: bool


def _due(
    session: Session,
    receivers: Collection[str],
    notifiers: Mapping[str, NotifierRow],
    now: datetime,
    under_way: Mapping[str, int],
    limit: int,
) -> list[_Due]:
    """The deliveries that may begin now, locked; of each receiver those that came due first."""
    waits = _waits(session, receivers)
    paces = Paces(session, list(notifiers.values()), now)
    found: list[_Due] = []
    for receiver in receivers:
        most = _most(notifiers.get(receiver), waits.get(receiver), now)
        room = paces.room(receiver, min(most - under_way.get(receiver, 0), limit - len(found)))
        if room > 0:
            rows = session.connection().execute(_MINE, {"now": now, "receiver": receiver, "room": room}).all()
            paces.take(receiver, len(rows))
            found += map(_Due._make, rows)
    paces.write()
    return found


def _waits(session: Session, receivers: Collection[str]) -> dict[str, datetime]:
    """Until when receivers asked to be left alone, of those that have taken nothing since."""
    rows = session.connection().execute(_WAITS, {"receivers": list(receivers)}).all()
    return {name: until for name, until in rows if until is not None}


def _most(notifier: NotifierRow | None, not_before: datetime | None, now: datetime) -> int:
    """How many deliveries it may have under way. Once it has asked to be left alone, one goes first, by itself."""
    if not_before is None:
        return at_once(notifier)
    return 1 if not_before <= now else 0


def _claimed(row: _Due, notifier: NotifierRow | None, heard: past.Heard | None, lease: UUID, now: datetime) -> Claimed:
    """`heard`: what the receiver has heard of the incident."""
    maybe_told = row.maybe_told or row.state == "sending"
    handle = heard.handle if heard is not None else None
    return Claimed(
        id=row.id,
        incident_id=row.incident_id,
        receiver=row.receiver,
        lease=lease,
        view=view_from_json(row.view),
        minimal=row.minimal,
        handle=handle,
        look_first=handle is None and (heard is not None or maybe_told),
        notifier=notifier,
        again=maybe_told,
        waited=now - row.due,
    )


def _is_due() -> ColumnElement[bool]:
    """Live, due, and nothing older of the same incident and receiver is still live."""
    older = aliased(Delivery)
    in_front = exists().where(
        col(older.incident_id) == col(Delivery.incident_id),
        col(older.receiver) == col(Delivery.receiver),
        col(older.revision) < col(Delivery.revision),
        past.is_live(older.state),
    )
    return and_(past.is_live(Delivery.state), col(Delivery.due) <= NOW, ~in_front)


# Made once: to make them costs more than to carry them out.
_RECEIVERS: Final = bindparam("receivers", expanding=True, type_=String())
_NOTIFIERS: Final = select(NotifierRow).where(col(NotifierRow.name).in_(_RECEIVERS))
_WAITS: Final = columns(col(ReceiverState.receiver), col(ReceiverState.not_before)).where(
    col(ReceiverState.receiver).in_(_RECEIVERS), col(ReceiverState.not_before).is_not(None)
)
_MINE: Final = (
    columns(*(col(getattr(Delivery, name)) for name in _Due._fields))
    .where(_is_due(), col(Delivery.receiver) == bindparam("receiver"))
    .order_by(col(Delivery.due))
    .limit(bindparam("room"))
    .with_for_update(skip_locked=True)
)
_TAKE: Final = (
    update(Delivery)
    .where(col(Delivery.id).in_(bindparam("rows", expanding=True)))
    .values(
        state="sending",
        due=bindparam("until"),
        lease=bindparam("token"),
        tries=col(Delivery.tries) + 1,
        maybe_told=or_(col(Delivery.maybe_told), col(Delivery.state) == "sending"),
    )
)

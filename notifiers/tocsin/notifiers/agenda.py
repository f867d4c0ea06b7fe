"""What there is to do, and when there will be. A dispatcher asks all the time, so every statement is made only once."""

from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import CTE, ColumnElement, bindparam, exists, or_
from sqlalchemy import select as columns
from sqlalchemy.orm import Mapped
from sqlmodel import Session, col, func

from tocsin.notifiers import past
from tocsin.notifiers.channel_tables import Pace
from tocsin.notifiers.pacing import Instant, is_paced
from tocsin.notifiers.tables import Delivery, Incident, ReceiverState
from tocsin.store.types import UtcDateTime

NOW: Final = bindparam("now", type_=UtcDateTime())


class Agenda(NamedTuple):
    """What can be done now: whether an incident is due, and which receivers may have a delivery that can be tried.

    `next` is when the next incident, delivery, lease or wait of a receiver comes due; None when nothing is waiting.
    """

    turn: bool
    receivers: list[str]
    next: datetime | None


def agenda(session: Session, now: datetime, full: Collection[str] = ()) -> Agenda:
    """What can be done now; receivers that are `full` have enough under way."""
    connection = session.connection()
    receivers = sorted(set(connection.scalars(_DUE_RECEIVERS, {"now": now}).all()) - set(full))
    turn, *instants = connection.execute(_INSTANTS, {"now": now}).one()
    return Agenda(turn, receivers, min((instant for instant in instants if instant is not None), default=None))


def next_due(session: Session, now: datetime) -> datetime | None:
    """When there will be something to do after `now`; None when nothing is waiting."""
    return agenda(session, now).next


def told_to_wait(now: Instant, receiver: ColumnElement[str] | Mapped[str]) -> ColumnElement[bool]:
    """Whether the receiver asked to be left alone, or its rate does."""
    asked = exists().where(col(ReceiverState.receiver) == receiver, col(ReceiverState.not_before) > now)
    return or_(asked, is_paced(now, receiver))


def _waiting_receivers() -> CTE:
    """Every receiver with a live delivery: from one to the next by the index, however many each has."""
    live = past.is_live(Delivery.state)
    found = columns(func.min(Delivery.receiver).label("receiver")).where(live).cte("waiting", recursive=True)
    after = columns(func.min(Delivery.receiver)).where(live, col(Delivery.receiver) > found.c.receiver)
    return found.union_all(columns(after.scalar_subquery()).where(found.c.receiver.is_not(None)))


_WAITING: Final = _waiting_receivers()
_THEIRS: Final = past.is_live(Delivery.state), col(Delivery.receiver) == _WAITING.c.receiver
_FIRST: Final = columns(func.min(Delivery.due)).where(*_THEIRS, col(Delivery.due) > NOW).scalar_subquery()


_DUE_RECEIVERS: Final = columns(_WAITING.c.receiver).where(
    exists().where(*_THEIRS, col(Delivery.due) <= NOW), ~told_to_wait(NOW, _WAITING.c.receiver)
)
_INSTANTS: Final = columns(
    exists().where(col(Incident.due) <= NOW),
    columns(func.min(Incident.due)).where(col(Incident.due) > NOW).scalar_subquery(),
    columns(func.min(_FIRST)).select_from(_WAITING).scalar_subquery(),
    columns(func.min(ReceiverState.not_before)).where(col(ReceiverState.not_before) > NOW).scalar_subquery(),
    columns(func.min(Pace.free)).where(col(Pace.free) > NOW).scalar_subquery(),
)

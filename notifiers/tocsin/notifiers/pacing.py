"""The paces of receivers on record: how many deliveries may begin now. Every function runs in a transaction.

Who has to wait is not claimed: the row stays as it is, nobody sleeps for it, and other receivers are not held up.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, exists
from sqlalchemy.orm import Mapped
from sqlmodel import Session, col, func, select

from tocsin.notifiers.blocks import KINDS
from tocsin.notifiers.channel_tables import Pace
from tocsin.notifiers.pace import Rate, rate_for, turn
from tocsin.notifiers.tables import NotifierRow
from tocsin.store.engine import insert_new


def take_turns(session: Session, notifier: NotifierRow | None, now: datetime, wanted: int) -> int:
    """How many of `wanted` deliveries to this receiver may begin now; they are counted."""
    rate = _rate(notifier)
    if notifier is None or rate is None or wanted <= 0:
        return wanted
    rested = now - rate.step * rate.burst
    insert_new(session, Pace, [{"receiver": notifier.name, "free": rested}])
    mine = (
        select(Pace).where(Pace.receiver == notifier.name).with_for_update().execution_options(populate_existing=True)
    )
    pace = session.exec(mine).one()
    step = turn(rate, pace.free, now, wanted)
    for each in [pace, *_same_channel(session, notifier, rested)]:
        each.free = max(each.free, step.free)
        session.add(each)
    return step.count


def is_paced(now: datetime, receiver: ColumnElement[str] | Mapped[str]) -> ColumnElement[bool]:
    """Whether `receiver` has to wait at `now` for the sake of its rate."""
    return exists().where(col(Pace.receiver) == receiver, col(Pace.free) > now)


def next_turn(session: Session, now: datetime) -> datetime | None:
    """When the first of those that have to wait may be spoken to again."""
    return session.exec(select(func.min(Pace.free)).where(col(Pace.free) > now)).one()


def _rate(notifier: NotifierRow | None) -> Rate | None:
    if notifier is None or notifier.kind not in KINDS:
        return None
    return rate_for(KINDS[notifier.kind].rate, notifier.config.get("per_minute"))


def _same_channel(session: Session, notifier: NotifierRow, rested: datetime) -> list[Pace]:
    """The paces of other notifiers into the same Slack channel: they share its rate."""
    if notifier.kind != "slack":
        return []
    others = session.exec(select(NotifierRow).where(NotifierRow.kind == "slack", NotifierRow.name != notifier.name))
    names = [row.name for row in others if _place(row) == _place(notifier)]
    insert_new(session, Pace, [{"receiver": name, "free": rested} for name in sorted(names)])
    paces = select(Pace).where(col(Pace.receiver).in_(names)).order_by(col(Pace.receiver)).with_for_update()
    return list(session.exec(paces)) if names else []


def _place(row: NotifierRow) -> tuple[object, object]:
    return row.config.get("api_url"), row.config.get("channel")

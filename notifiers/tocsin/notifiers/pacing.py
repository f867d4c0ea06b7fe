"""The paces of receivers on record: how many deliveries may begin now. Every function runs in a transaction.

Who has to wait is not claimed: the row stays as it is, nobody sleeps for it, and other receivers are not held up.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, bindparam, exists, update
from sqlalchemy import select as columns
from sqlalchemy.orm import Mapped
from sqlmodel import Session, col, select

from tocsin.notifiers.blocks import KINDS
from tocsin.notifiers.channel_tables import Pace
from tocsin.notifiers.pace import Rate, rate_for, turn
from tocsin.notifiers.tables import NotifierRow
from tocsin.store.engine import insert_new

Instant = datetime | ColumnElement[datetime]

# Made once: to make them costs more than to carry them out.
_HELD: Final = (
    columns(col(Pace.receiver), col(Pace.free))
    .where(col(Pace.receiver).in_(bindparam("receivers", expanding=True)))
    .order_by(col(Pace.receiver))
    .with_for_update()
)
_MOVED: Final = update(Pace).where(col(Pace.receiver) == bindparam("name")).values(free=bindparam("instant"))


class Paces:
    """The paces of these receivers at `now`, nobody else's until the end of the transaction."""

    def __init__(self, session: Session, notifiers: Sequence[NotifierRow], now: datetime) -> None:
        self._session, self._now = session, now
        self._rates = {row.name: rate for row in notifiers if (rate := _rate(row))}
        self._shared = _shared(session, [row for row in notifiers if row.name in self._rates])
        self._free = self._held()
        self._moved: set[str] = set()

    def room(self, receiver: str, wanted: int) -> int:
        """How many of `wanted` deliveries to the receiver may begin now."""
        rate = self._rates.get(receiver)
        return wanted if rate is None else turn(rate, self._free[receiver], self._now, wanted).count

    def take(self, receiver: str, count: int) -> None:
        """So many begin."""
        if count and (rate := self._rates.get(receiver)):
            free = turn(rate, self._free[receiver], self._now, count).free
            for name in self._shared[receiver]:
                self._free[name] = max(self._free[name], free)
                self._moved.add(name)

    def write(self) -> None:
        """Put down what has begun."""
        if moved := [{"name": name, "instant": self._free[name]} for name in sorted(self._moved)]:
            self._session.connection().execute(_MOVED, moved)

    def _held(self) -> dict[str, datetime]:
        rested = {
            name: self._now - rate.step * rate.burst
            for receiver, rate in self._rates.items()
            for name in self._shared[receiver]
        }
        found = _held(self._session, rested)
        if missing := sorted(rested.keys() - found):
            insert_new(self._session, Pace, [{"receiver": name, "free": rested[name]} for name in missing])
            found |= _held(self._session, missing)
        return found


def is_paced(
    now: datetime | ColumnElement[datetime], receiver: ColumnElement[str] | Mapped[str]
) -> ColumnElement[bool]:
    """Whether `receiver` has to wait at `now` for the sake of its rate."""
    return exists().where(col(Pace.receiver) == receiver, col(Pace.free) > now)


def _held(session: Session, receivers: Iterable[str]) -> dict[str, datetime]:
    """When each may be spoken to next; locked, those first whose names come first."""
    names = list(receivers)
    return dict(session.connection().execute(_HELD, {"receivers": names}).all()) if names else {}


def _rate(notifier: NotifierRow) -> Rate | None:
    kind = KINDS.get(notifier.kind)
    return rate_for(kind.rate, notifier.config.get("per_minute")) if kind else None


def _shared(session: Session, notifiers: Sequence[NotifierRow]) -> dict[str, list[str]]:
    """Who shares each one's pace: itself, and all notifiers into the same Slack channel."""
    slack = any(row.kind == "slack" for row in notifiers)
    known = session.exec(select(NotifierRow).where(NotifierRow.kind == "slack")).all() if slack else ()
    return {row.name: [row.name, *(other.name for other in known if _is_same(row, other))] for row in notifiers}


def _is_same(row: NotifierRow, other: NotifierRow) -> bool:
    return row.kind == "slack" and row.name != other.name and _place(row) == _place(other)


def _place(row: NotifierRow) -> tuple[object, object]:
    return row.config.get("api_url"), row.config.get("channel")

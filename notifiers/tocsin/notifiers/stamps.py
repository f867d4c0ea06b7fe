"""What was read of routes, windows, inhibitions and silences is kept until one of them changes."""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

from sqlalchemy import CursorResult, Engine, update
from sqlmodel import Session, col, select

from tocsin.notifiers.routing_tables import RoutingStamp
from tocsin.store.engine import insert_new, touch

CHANNEL: Final = "routing"

T = TypeVar("T")
_ONLY: Final = "routing"
# Any: what the loaders gave. By engine, so that two databases in one process are two.
_KEPT: Final[WeakKeyDictionary[Engine, dict[str, tuple[UUID | None, Any]]]] = WeakKeyDictionary()


def changed(session: Session) -> None:
    """Say that this transaction changes something; every process reads anew after the commit.

    The stamp is drawn and not counted: one of a transaction that is rolled back never comes again.
    """
    stamp = uuid4()
    statement = update(RoutingStamp).where(col(RoutingStamp.name) == _ONLY).values(stamp=stamp)
    known = cast("CursorResult[tuple[()]]", session.connection().execute(statement)).rowcount
    if not (known or insert_new(session, RoutingStamp, [{"name": _ONLY, "stamp": stamp}])):
        session.connection().execute(statement)
    touch(session, CHANNEL)


def kept(session: Session, what: str, load: Callable[[Session], T]) -> T:
    """What `load` gave when it was last called for this state of the tables; it is called when they have changed."""
    stamp = session.exec(select(RoutingStamp.stamp).where(RoutingStamp.name == _ONLY)).first()
    mine = _KEPT.setdefault(session.get_bind().engine, {})
    found = mine.get(what)
    if found is None or found[0] != stamp:
        found = mine[what] = (stamp, load(session))
    value: T = found[1]
    return value

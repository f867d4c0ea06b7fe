"""Why nothing may be said of an incident: its node is muted, or every alert of it that fires is suppressed."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlmodel import Session

from tocsin.notifiers import lines
from tocsin.notifiers.incident import RECHECK
from tocsin.notifiers.inhibition import holds_of
from tocsin.notifiers.line import Line
from tocsin.notifiers.node import STORM, Node
from tocsin.notifiers.silences import wake_inhibited
from tocsin.notifiers.suppression import Reason, World, muted, suppressed
from tocsin.notifiers.worlds import load_world

SHOWN: Final = 50
MOST: Final = 20_000
"""So many alerts of one incident are asked, newest first; older ones are taken to be told of."""

_AT_ONCE: Final = 500
_SOON: Final = timedelta(seconds=1)
_LATE: Final = timedelta(days=366)
_WORLD: Final = "tocsin.notifiers.world"
_FREED: Final = "tocsin.notifiers.freed"


def why_quiet(session: Session, incident: UUID, node: Node, now: datetime) -> Reason | None:
    """Why nothing may be said of the incident at `now`, or None. A storm is told whatever is silenced."""
    if node.path == STORM:
        return None
    if reason := muted(node, now):
        return reason
    world = world_of_session(session, now)
    if world.empty:
        return None
    found: Reason | None = None
    for line in _alerts(session, incident):
        reason = suppressed(line.labels, world, now)
        if reason is None:
            return None
        found = _sooner(found, reason)
    return found


class Parted(NamedTuple):
    """The newest alerts of an incident that are not silenced, how many are, and when to look at those again."""

    shown: list[Line]
    hidden: int
    again: datetime


def open_lines(session: Session, incident: UUID, node: Node, now: datetime) -> Parted | None:
    """The alerts of the incident without those that are silenced; None when nothing is silenced."""
    if node.path == STORM or (world := world_of_session(session, now)).empty:
        return None
    shown: list[Line] = []
    hidden, again = 0, now + _LATE
    for line in _alerts(session, incident):
        if reason := suppressed(line.labels, world, now):
            hidden += 1
            again = min(again, max(reason.until or now + RECHECK, now + _SOON))
        elif len(shown) < SHOWN:
            shown.append(line)
    return Parted(shown, hidden, again) if hidden else None


def world_of_session(session: Session, now: datetime) -> World:
    """What keeps alerts quiet, read once a transaction."""
    if _WORLD not in session.info:
        session.info[_WORLD] = load_world(session, now)
    found: World = session.info[_WORLD]
    return found


def forget_world(session: Session) -> None:
    """This transaction has changed what keeps alerts quiet."""
    session.info.pop(_WORLD, None)


def note_ends(session: Session, over: Iterable[Line], now: datetime) -> None:
    """Remember when one of these lines, which are over, may have kept others quiet."""
    rules = world_of_session(session, now).rules
    if rules and _FREED not in session.info and any(holds_of(rules, line.labels) for line in over):
        session.info[_FREED] = True


def note_end(session: Session, now: datetime) -> None:
    """Remember that something is over which may have kept others quiet."""
    if world_of_session(session, now).rules:
        session.info[_FREED] = True


def free(session: Session, now: datetime) -> None:
    """Wake what was kept quiet by something that is over: last in a transaction, it takes rows out of their order."""
    if session.info.pop(_FREED, False):
        session.flush()
        wake_inhibited(session, now)


def _alerts(session: Session, incident: UUID) -> Iterator[Line]:
    """The alerts of the incident that fire, or the news in it."""
    found = lines.newest(session, incident, _AT_ONCE)
    yield from found or lines.some(session, incident, _AT_ONCE)
    asked = len(found)
    while len(found) == _AT_ONCE and asked < MOST:
        found = lines.newest(session, incident, _AT_ONCE, after=found[-1])
        asked += len(found)
        yield from found


def _sooner(one: Reason | None, other: Reason) -> Reason:
    """The reason that is looked at again first."""
    if one is None or other.until is None:
        return other if one is None else one
    return other if one.until is None or other.until < one.until else one

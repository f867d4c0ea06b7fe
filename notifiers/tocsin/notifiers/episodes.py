"""Incidents in the database: what the machine decides is written down, said and told, in the caller's transaction.

Whoever changes an incident holds its row; incidents are locked in the order of their ids, storms after all others.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace
from sqlmodel import Session, col, select

from tocsin.events.model import Event
from tocsin.notifiers import past
from tocsin.notifiers.alert import Alert
from tocsin.notifiers.case import Case, Fact, Moment, Move
from tocsin.notifiers.incident import advance, due
from tocsin.notifiers.incident_events import event_of
from tocsin.notifiers.line import Line
from tocsin.notifiers.node import Node, node_from_json
from tocsin.notifiers.quiet import open_lines, why_quiet
from tocsin.notifiers.registry import CHANNEL
from tocsin.notifiers.storm import echo
from tocsin.notifiers.suppression import Kind
from tocsin.notifiers.tables import Incident
from tocsin.notifiers.tally import add
from tocsin.notifiers.tally_figures import Figure, moved
from tocsin.notifiers.words import Speech
from tocsin.store.engine import touch
from tocsin.store.log import append

_AT_ONCE: Final = 500
_SAME: Final = tuple(name for name in Case.__struct_fields__ if name != "flaps")


def lock(session: Session, incidents: Iterable[UUID]) -> dict[UUID, Incident]:
    """These incidents, as they are now and until the end of the transaction."""
    wanted = sorted(set(incidents))
    found: dict[UUID, Incident] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        part = select(Incident).where(col(Incident.id).in_(wanted[start : start + _AT_ONCE])).order_by(col(Incident.id))
        locked = part.with_for_update().execution_options(populate_existing=True)
        found |= {row.id: row for row in session.exec(locked)}
    return found


class Carried(NamedTuple):
    """What has still to be put down of moves: events for the log, what is counted, and what storms must hear."""

    events: list[Event]
    figures: list[Figure]
    echoes: list[Alert]


def carry(session: Session, incident: Incident, moment: Moment, line: Line | None = None) -> Carried:
    """Carry out what follows from `moment`: the row and its deliveries. `line`: the only one of it, when it is known.

    Nothing is read of the incident that is not in its row or was not flushed: the caller may flush once for many.
    """
    node = node_from_json(incident.node)
    case, moment = _uncovered(session, incident, node, case_of(incident), moment)
    move, reason = _judged(session, incident, node, case, moment)
    write(incident, move.case, node, moment.now)
    session.add(incident)
    speech = Speech(session, incident, move.case, node, moment.now, line)
    for word in move.words:
        speech.say(word)
    if move.words and "looks" in vars(speech):
        incident.subject = speech.looks.subject
        if _speaks_in_part(move.case):
            write(incident, replace(move.case, muted_until=speech.looks.again), node, moment.now)
    events = [_event(incident, speech, fact, moment) for fact in move.facts]
    figures = moved((fact.name for fact in move.facts), reason, len(speech.storming))
    return Carried(events, figures, _echoes(incident, speech, move, moment.now))


def put_down(session: Session, events: Sequence[Event], figures: Iterable[Figure]) -> None:
    """Flush what was carried, write its events, count it, and say that something may be due."""
    session.flush()
    append(session, events)
    add(session, figures)
    touch(session, CHANNEL)


def _judged(session: Session, incident: Incident, node: Node, case: Case, moment: Moment) -> tuple[Move, Kind | None]:
    """The move, and what keeps it quiet; that is asked only when there is something to say."""
    move = advance(case, node, moment)
    if not move.speaks and case.suppressed is None:
        return move, None
    reason = why_quiet(session, incident.id, node, moment.now)
    if reason is None:
        return move, None
    return advance(case, node, replace(moment, reason=reason.text, until=reason.until)), reason.kind


def _uncovered(session: Session, incident: Incident, node: Node, case: Case, moment: Moment) -> tuple[Case, Moment]:
    """When it is time to look at what is silenced in it: whether something has come to light is news."""
    if not _speaks_in_part(case) or case.muted_until is None or case.muted_until > moment.now:
        return case, moment
    listed = open_lines(session, incident.id, node, moment.now)
    hidden, again = (listed.hidden, listed.again) if listed else (0, None)
    seen = hidden < past.muted(session, incident.id)
    return replace(case, muted_until=again), replace(moment, news=moment.news or seen)


def _speaks_in_part(case: Case) -> bool:
    """Whether people know of it, and nothing keeps it quiet as a whole."""
    return case.state in ("open", "acknowledged") and case.said is not None and case.suppressed is None


def _event(incident: Incident, speech: Speech, fact: Fact, moment: Moment) -> Event:
    told = {"told": speech.owed, "over_before_told": speech.spared} if fact.name == "resolved" else {}
    return event_of(incident, fact.name, {**fact.payload, **told}, moment.now)


def _echoes(incident: Incident, speech: Speech, move: Move, now: datetime) -> list[Alert]:
    """What the storms that speak for the incident hear: that it is there, or that it is over."""
    if move.case.state in ("resolved", "dropped"):
        return [echo(incident, receiver, now, over=True) for receiver in incident.storms]
    if speech.storming:
        incident.storms = {**incident.storms, **dict.fromkeys(speech.storming, now.isoformat())}
    return [echo(incident, receiver, now) for receiver in speech.storming]


def case_of(incident: Incident) -> Case:
    """Where the incident stands."""
    values = {name: getattr(incident, name) for name in _SAME}
    return msgspec.convert({**values, "flaps": tuple(map(datetime.fromisoformat, incident.flaps))}, Case)


def write(incident: Incident, case: Case, node: Node, now: datetime) -> None:
    """Put the case into the row."""
    changed = False
    for name in _SAME:
        value = getattr(case, name)
        if getattr(incident, name) != value:
            setattr(incident, name, value)
            changed = True
    flaps = [at.isoformat() for at in case.flaps]
    if flaps != incident.flaps:
        incident.flaps = flaps
    if case.state in ("resolved", "dropped") and incident.resolved is None:
        incident.resolved = now
    incident.due = due(case, node)
    if changed:
        incident.updated = now


def columns_of(case: Case, node: Node) -> dict[str, object]:
    """The columns of a new incident that hold its case."""
    values: dict[str, object] = {name: getattr(case, name) for name in _SAME}
    return {**values, "flaps": [at.isoformat() for at in case.flaps], "due": due(case, node)}

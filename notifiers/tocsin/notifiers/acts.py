"""What people do about an incident, from whichever channel it comes, in the caller's transaction."""

from datetime import datetime
from typing import assert_never
from uuid import UUID

from msgspec.structs import replace
from sqlmodel import Session

from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import derive
from tocsin.notifiers import lines
from tocsin.notifiers.act import Acknowledge, Act, Resolve, Silence, Unacknowledge
from tocsin.notifiers.bounds import text
from tocsin.notifiers.case import LIVE, Moment
from tocsin.notifiers.episodes import carry, lock, put_down
from tocsin.notifiers.matchers import Matcher, equals
from tocsin.notifiers.quiet import forget_world, note_end
from tocsin.notifiers.silences import add_silence
from tocsin.notifiers.tables import Incident
from tocsin.notifiers.take import take_echoes
from tocsin.notifiers.view import read_severity

NAME: str = "alertname"
PERSON: int = 200


def act(session: Session, incident: UUID, act: Act, now: datetime) -> Incident:
    """Carry out what a person does about the incident, and pass it on to the others who were told.

    What is done already changes nothing, nor does anything change when the incident is over. Raises NotFound, and
    Invalid for a silence of an incident that has no labels to know it by.
    """
    row = lock(session, [incident]).get(incident)
    if row is None:
        raise NotFound(f"no incident has the id {incident}; `tocsin incident ls` lists them")
    if row.state not in LIVE:
        return row
    known = replace(act, by=text(act.by, PERSON) or "somebody")
    firing = row.firing
    match known:
        case Resolve():
            note_end(session, now)
            lines.close_all(session, row.id, now)
            row.closed_by, firing = known.by, 0
        case Silence():
            _silence(session, row, known, now)
        case Acknowledge() | Unacknowledge():
            pass
        case _ as never:
            assert_never(never)
    moment = Moment(now=now, firing=firing, severity=read_severity(row.severity), act=known)
    carried = carry(session, row, moment)
    put_down(session, carried.events, carried.figures)
    take_echoes(session, carried.echoes, now)
    return row


def _silence(session: Session, incident: Incident, act: Silence, now: datetime) -> None:
    """Keep quiet what belongs to the same group; the same wish again is the same silence."""
    id = derive("silence-by-hand", incident.id, act.by, now.replace(second=0, microsecond=0))  # noqa: A001
    comment = act.comment or f"incident {incident.key}"
    add_silence(
        session,
        _matchers(incident),
        starts=now,
        ends=now + act.span,
        author=act.by,
        comment=comment,
        now=now,
        id=id,
    )
    forget_world(session)


def _matchers(incident: Incident) -> list[Matcher]:
    """Its group's labels; of one without a group the rule and whatever tells its things apart."""
    labels = incident.grouped or incident.labels
    if not labels:
        raise Invalid(f"incident {incident.key} has no labels; make a silence by matchers: `tocsin silence add`")
    return [equals(name, value) for name, value in sorted(labels.items()) if value]

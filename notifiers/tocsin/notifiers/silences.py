"""Silences on record: add, end, list; and what one would keep quiet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy import and_, or_, update
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import derive, uuid7
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.fit import clean, cut
from tocsin.notifiers.matchers import Matcher, matches
from tocsin.notifiers.redact import redact
from tocsin.notifiers.registry import CHANNEL
from tocsin.notifiers.routing_tables import SilenceRow
from tocsin.notifiers.silence import Silence, check
from tocsin.notifiers.stamps import changed
from tocsin.notifiers.suppression import INHIBITED
from tocsin.notifiers.tables import AlertRow, Incident
from tocsin.store.engine import claimable, touch
from tocsin.store.log import append

LONGEST: Final = timedelta(days=366)
LOOK_BACK: Final = timedelta(hours=24)
LOOKED_AT: Final = 100_000
"""How many alerts a preview looks at, the newest first."""

SHOWN: Final = 20
COMMENT: Final = 2_000
_AT_ONCE: Final = 500
AUTHOR: Final = 200

State = Literal["active", "pending", "expired"]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a silence would keep quiet now, and what it would have kept quiet in the last 24 hours.

    `examples` are the subjects of some alerts; `complete` is False when there were more alerts than are looked at.
    """

    firing: int = 0
    incidents: int = 0
    past: int = 0
    examples: tuple[str, ...] = ()
    complete: bool = True


@dataclass(slots=True)
class _Counted:
    alerts: int = 0
    incidents: set[UUID] = field(default_factory=set)
    subjects: dict[str, None] = field(default_factory=dict)
    seen: int = 0


def add_silence(
    session: Session,
    matchers: Sequence[Matcher],
    *,
    starts: datetime,
    ends: datetime,
    author: str,
    comment: str,
    now: datetime,
    id: UUID | None = None,  # noqa: A002 - it is the row's id
) -> Silence:
    """Put a silence on record. With an `id` that is known it is the one on record, and nothing changes.

    Raises `Invalid` for what would silence everything, is over already, or lasts longer than a year.
    """
    known = session.get(SilenceRow, id) if id else None
    if known is not None:
        return silence_of(known)
    check(matchers, starts, ends)
    if ends <= now:
        raise Invalid(f"a silence until {ends:%Y-%m-%d %H:%M:%SZ} is over already")
    if ends - starts > LONGEST:
        raise Invalid(f"a silence lasts at most {LONGEST.days} days; change the route instead")
    row = SilenceRow(
        id=id or uuid7(),
        matchers=[msgspec.to_builtins(matcher) for matcher in matchers],
        starts=starts,
        ends=ends,
        author=_text(author, AUTHOR),
        comment=_text(comment, COMMENT),
        created=now,
    )
    session.add(row)
    session.flush()
    append(session, [_event(row, "added", now, row.author)])
    changed(session)
    return silence_of(row)


def expire_silence(session: Session, id: UUID, *, by: str, now: datetime) -> Silence:  # noqa: A002 - as above
    """End a silence now; what it kept quiet is told. One that is over already stays as it is. Raises `NotFound`."""
    row = session.get(SilenceRow, id)
    if row is None:
        raise NotFound(f"unknown silence {id}; `tocsin silence ls` lists them")
    if row.ends <= now:
        return silence_of(row)
    row.starts, row.ends, row.expired = min(row.starts, now), now, now
    session.add(row)
    session.flush()
    append(session, [_event(row, "expired", now, _text(by, AUTHOR))])
    changed(session)
    wake(session, now)
    return silence_of(row)


def list_silences(session: Session, now: datetime, state: State | None = None, limit: int = 100) -> list[SilenceRow]:
    """Silences, the last to end first."""
    statement = select(SilenceRow).order_by(col(SilenceRow.ends).desc(), col(SilenceRow.id)).limit(limit)
    match state:
        case "active":
            statement = statement.where(col(SilenceRow.starts) <= now, col(SilenceRow.ends) > now)
        case "pending":
            statement = statement.where(col(SilenceRow.starts) > now)
        case "expired":
            statement = statement.where(col(SilenceRow.ends) <= now)
    return list(session.exec(statement).all())


def state_of(row: SilenceRow, now: datetime) -> State:
    """Whether it is on, not yet, or over."""
    if row.ends <= now:
        return "expired"
    return "active" if row.starts <= now else "pending"


def silence_of(row: SilenceRow) -> Silence:
    """The silence in a row."""
    found = msgspec.convert(row.matchers, tuple[Matcher, ...])
    return Silence(id=row.id, matchers=found, starts=row.starts, ends=row.ends, author=row.author, comment=row.comment)


def preview(session: Session, matchers: Sequence[Matcher], now: datetime) -> Preview:
    """What a silence by these matchers would keep quiet, without making one."""
    live = select(AlertRow.incident_id, AlertRow.labels, AlertRow.subject).join(
        Incident, col(Incident.id) == col(AlertRow.incident_id)
    )
    live = live.where(col(AlertRow.status) == "firing", col(Incident.state).in_(LIVE))
    ago = select(AlertRow.incident_id, AlertRow.labels, AlertRow.subject).where(AlertRow.starts > now - LOOK_BACK)
    newest = col(AlertRow.starts).desc()
    present = _count(session, live.order_by(newest).limit(LOOKED_AT), matchers)
    before = _count(session, ago.order_by(newest).limit(LOOKED_AT), matchers)
    return Preview(
        firing=present.alerts,
        incidents=len(present.incidents),
        past=before.alerts,
        examples=tuple({**present.subjects, **before.subjects})[:SHOWN],
        complete=max(present.seen, before.seen) < LOOKED_AT,
    )


def wake(session: Session, now: datetime) -> None:
    """Let every incident that is kept quiet, as a whole or in part, be looked at again, at once."""
    quiet = or_(col(Incident.suppressed).is_not(None), col(Incident.muted_until).is_not(None))
    _wake(session, select(Incident.id).where(quiet).order_by(col(Incident.id)).with_for_update(), now)


def wake_inhibited(session: Session, now: datetime) -> None:
    """The same of what is inhibited, as far as nobody holds it just now: that is looked at a minute later."""
    wholly = col(Incident.suppressed).startswith(INHIBITED)
    partly = and_(col(Incident.suppressed).is_(None), col(Incident.muted_until).is_not(None))
    _wake(session, claimable(session, select(Incident.id).where(or_(wholly, partly))), now)


def _wake(session: Session, quiet: SelectOfScalar[UUID], now: datetime) -> None:
    ids = session.exec(quiet.where(col(Incident.state).in_(LIVE))).all()
    for first in range(0, len(ids), _AT_ONCE):
        some = col(Incident.id).in_(ids[first : first + _AT_ONCE])
        session.connection().execute(update(Incident).where(some).values(due=now, muted_until=now))
    touch(session, CHANNEL)


def _count(session: Session, statement: Any, matchers: Sequence[Matcher]) -> _Counted:  # Any: a select of three columns
    counted = _Counted()
    for incident, labels, subject in session.exec(statement):
        counted.seen += 1
        if matches(matchers, labels):
            counted.alerts += 1
            counted.incidents.add(incident)
            if len(counted.subjects) < SHOWN:
                counted.subjects[subject] = None
    return counted


def _event(row: SilenceRow, what: str, now: datetime, by: str) -> Event:
    told = ", ".join(str(matcher) for matcher in silence_of(row).matchers)
    payload: Mapping[str, Any] = {  # Any: JSON
        "matchers": told,
        "starts": row.starts.isoformat(),
        "ends": row.ends.isoformat(),
        "author": row.author,
        "comment": row.comment,
        "by": by,
    }
    return Event(
        id=derive("silence-event", row.id, what),
        occurred=now,
        event=f"tocsin.silence.{what}",
        resource={RESOURCE_ID: f"tocsin.silence.{row.id}", RESOURCE_NAME: cut(told, 200)},
        payload=dict(payload),
    )


def _text(text: str, limit: int) -> str:
    return cut(redact(clean(text)), limit)

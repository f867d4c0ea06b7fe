"""The auditor: what must never be true of incidents and deliveries. A dispatcher asks every minute, tests at their end.

Each violation is an event `tocsin.audit.violation`, once.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import and_, exists, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.notifiers.agenda import told_to_wait
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.tables import AlertRow, Delivery, Incident
from tocsin.store.log import append
from tocsin.store.partial import among

GRACE: Final = timedelta(minutes=1)
LOOK_BACK: Final = timedelta(days=1)
SAMPLE: Final = 20
MOST: Final = 100


class Violation(msgspec.Struct, frozen=True):
    """Something that must not be: `subject` is the resource id of the incident or delivery."""

    rule: str
    subject: str
    text: str


def violations(session: Session, now: datetime) -> list[Violation]:
    """What is wrong now, at most a hundred of each rule.

    - `overdue`: an incident is past its due time by more than a minute, and nobody has advanced it;
    - `resolve-owed`: who was told of an incident that is over has no delivery that says so;
    - `no-lease`: a delivery is being sent by nobody, and its receiver may be spoken to;
    - `count`: an incident counts other alerts than there are (of the twenty that changed last).
    """
    return [*_overdue(session, now), *_owed(session, now), *_unleased(session, now), *_miscounted(session)]


def report(session: Session, now: datetime) -> list[Violation]:
    """The violations, each told of once in the log."""
    found = violations(session, now)
    append(session, [_event(violation, now) for violation in found])
    return found


def _overdue(session: Session, now: datetime) -> list[Violation]:
    late = select(Incident.id, Incident.state, Incident.due).where(
        among(Incident.state, *LIVE), col(Incident.due) < now - GRACE
    )
    rows = session.exec(late.limit(MOST)).all()
    return [
        _of("overdue", row, f"{state} and due at {due:%Y-%m-%d %H:%M:%SZ}, nobody advances it")
        for row, state, due in rows
    ]


def _owed(session: Session, now: datetime) -> list[Violation]:
    """Told, over for more than a moment, and no resolve that is owed, sent, or given up."""
    end = aliased(Delivery)
    said = exists().where(
        col(end.incident_id) == col(Delivery.incident_id),
        col(end.receiver) == col(Delivery.receiver),
        col(end.action) == "resolve",
        or_(col(end.state) != "superseded", col(end.maybe_told)),
    )
    over = and_(col(Incident.state) == "resolved", col(Incident.resolved) > now - LOOK_BACK)
    told = or_(col(Delivery.state) == "delivered", col(Delivery.maybe_told))
    statement = (
        select(Delivery.incident_id, Delivery.receiver)
        .distinct()
        .join(Incident, col(Incident.id) == col(Delivery.incident_id))
        .where(over, told, ~said)
        .limit(MOST)
    )
    rows = session.exec(statement).all()
    return [
        _of("resolve-owed", incident, f"{receiver} was told of it, and not that it is over")
        for incident, receiver in rows
    ]


def _unleased(session: Session, now: datetime) -> list[Violation]:
    lost = select(Delivery.id, Delivery.receiver).where(
        col(Delivery.state) == "sending",
        or_(
            col(Delivery.lease).is_(None),
            and_(col(Delivery.due) < now - GRACE, ~told_to_wait(now, col(Delivery.receiver))),
        ),
    )
    rows = session.exec(lost.limit(MOST)).all()
    return [
        Violation("no-lease", f"tocsin.delivery.{row}", f"sending to {receiver}, by nobody") for row, receiver in rows
    ]


def _miscounted(session: Session) -> list[Violation]:
    """Counted in one statement each: what another transaction does meanwhile is not a violation."""
    lines = select(func.count()).where(col(AlertRow.incident_id) == col(Incident.id), col(AlertRow.status) == "firing")
    counted = lines.scalar_subquery()
    newest = (
        select(Incident.id).where(among(Incident.state, *LIVE)).order_by(col(Incident.updated).desc()).limit(SAMPLE)
    )
    statement = select(Incident.id, Incident.firing, counted).where(col(Incident.id).in_(newest))
    rows = [row for row in session.exec(statement).all() if row[1] != row[2]]
    return [
        _of("count", incident, f"counts {firing:,} firing alerts, there are {there:,}")
        for incident, firing, there in rows
    ]


def _event(violation: Violation, now: datetime) -> Event:
    payload: dict[str, Any] = {"rule": violation.rule, "text": violation.text}  # Any: JSON
    return Event(
        id=derive("audit", violation.rule, violation.subject),
        occurred=now,
        event="tocsin.audit.violation",
        resource={RESOURCE_ID: violation.subject},
        payload=payload,
    )


def _of(rule: str, incident: UUID, text: str) -> Violation:
    return Violation(rule, f"tocsin.incident.{incident}", text)

"""Incidents and deliveries as people on call ask for them: lists, one of them, and the facts behind an explanation."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from tocsin.events.codec import decode
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import derive
from tocsin.events.model import Event
from tocsin.notifiers import lines
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.episodes import case_of
from tocsin.notifiers.explained import Alerted, Facts, explain, route_name
from tocsin.notifiers.knows import Sent, Tried
from tocsin.notifiers.line import Line
from tocsin.notifiers.node import node_from_json
from tocsin.notifiers.route import Tree
from tocsin.notifiers.routes import get_tree
from tocsin.notifiers.routing_tables import SilenceRow
from tocsin.notifiers.tables import AlertRow, Attempt, Delivery, Incident, ReceiverState
from tocsin.notifiers.timeline import timeline
from tocsin.notifiers.worlds import load_world
from tocsin.server.oncall_views import DeliveryDetail, DeliveryView, IncidentDetail, IncidentView
from tocsin.store.tables import LogEntry

ALERTS: Final = 10
HISTORY: Final = 500
"""So many deliveries, and so many events, of one incident are shown: the newest."""

_RECENT: Final = 20_000
_ATTEMPTS: Final = 5_000
_REDRIVEN: Final = "tocsin.delivery.redriven"

Row = TypeVar("Row", Incident, Delivery, SilenceRow)
State = Literal["live", "waiting", "open", "acknowledged", "settling", "resolved", "dropped", "told"]
"""Those of an incident; `live`: not over yet."""


def incidents(
    session: Session,
    *,
    state: State | None = None,
    route: str | None = None,
    labels: Mapping[str, str] | None = None,
    limit: int = 50,
) -> list[IncidentView]:
    """Incidents, the latest opened first. `route` finds those of its children too, `labels` are all of one alert."""
    statement = select(Incident).order_by(col(Incident.opened).desc(), col(Incident.id))
    if state is not None:
        statement = statement.where(col(Incident.state).in_(LIVE if state == "live" else (state,)))
    if route is not None:
        statement = statement.where(_below(route))
    if labels:
        statement = statement.where(_has(labels))
    return [IncidentView.model_validate(row) for row in session.exec(statement.limit(limit))]


def incident(session: Session, wanted: UUID, now: datetime, alerts: int = ALERTS) -> IncidentDetail:
    """One incident with its newest alerts, what happened, and what comes next. Raises NotFound."""
    row = incident_row(session, wanted)
    facts = facts_of(session, row, now, alerts)
    found = explain(facts, now)
    told = timeline(_events(session, row.id, facts.sent), facts.sent, opened=row.opened, subject=_first(session, row))
    return IncidentDetail(
        **IncidentView.model_validate(row).model_dump(),
        answer=found.answer,
        alerts=found.alerts,
        counts=found.counts,
        people=found.people,
        timeline=told,
        next=found.next,
        notes=found.notes,
    )


def deliveries(
    session: Session,
    *,
    state: str | None = None,
    receiver: str | None = None,
    incident: UUID | None = None,
    limit: int = 50,
) -> list[DeliveryView]:
    """Deliveries, the latest changed first."""
    statement = select(Delivery).order_by(col(Delivery.updated).desc(), col(Delivery.id))
    if state is not None:
        statement = statement.where(Delivery.state == state)
    if receiver is not None:
        statement = statement.where(Delivery.receiver == receiver)
    if incident is not None:
        statement = statement.where(Delivery.incident_id == incident)
    return [DeliveryView.model_validate(row) for row in session.exec(statement.limit(limit))]


def delivery(session: Session, wanted: UUID) -> DeliveryDetail:
    """One delivery with its attempts. Raises NotFound."""
    row = session.get(Delivery, wanted)
    if row is None:
        raise NotFound(f"no delivery has the id {wanted}; `tocsin delivery ls` lists them")
    [sent] = _sent(session, [row])
    return DeliveryDetail(
        **DeliveryView.model_validate(row).model_dump(),
        subject=str(row.view.get("subject", "")),
        attempts=list(sent.attempts),
        handle=row.handle,
        view=row.view,
    )


def incident_named(session: Session, text: str) -> UUID:
    """The id of the incident that `text` means: an id, or its first or last letters (4 or more).

    The last ones are what a message in Slack shows. Raises NotFound, and Invalid when several ids are meant.
    """
    return _named(session, Incident, text, col(Incident.opened).desc(), "incident")


def delivery_named(session: Session, text: str) -> UUID:
    """The same of a delivery."""
    return _named(session, Delivery, text, col(Delivery.updated).desc(), "delivery")


def silence_named(session: Session, text: str) -> UUID:
    """The same of a silence."""
    return _named(session, SilenceRow, text, col(SilenceRow.created).desc(), "silence")


def incident_row(session: Session, wanted: UUID) -> Incident:
    """The incident of this id. Raises NotFound."""
    row = session.get(Incident, wanted)
    if row is None:
        raise NotFound(f"no incident has the id {wanted}; `tocsin incident ls` lists them")
    return row


def facts_of(session: Session, row: Incident, now: datetime, alerts: int = ALERTS) -> Facts:
    """What an explanation of the incident rests on; of its alerts the newest."""
    newest = col(Delivery.revision).desc(), col(Delivery.receiver).desc()
    statement = select(Delivery).where(Delivery.incident_id == row.id).order_by(*newest)
    rows = list(reversed(session.exec(statement.limit(HISTORY)).all()))
    return Facts(
        id=row.id,
        case=case_of(row),
        node=node_from_json(row.node),
        grouped=row.grouped,
        alerts=_alerts(session, row.id, alerts),
        counts=_counts(session, row.id),
        sent=_sent(session, rows),
        storms=dict(_storms(session, row)),
        waits=_waits(session, now),
        tree=_tree(session, row.route),
        world=load_world(session, now),
    )


def _below(route: str) -> ColumnElement[bool]:
    """Whether it came by this node of a route, or by one below it."""
    return or_(col(Incident.route) == route, col(Incident.route).startswith(f"{route}/", autoescape=True))


def _has(labels: Mapping[str, str]) -> ColumnElement[bool]:
    """Whether it has an alert with all these labels."""
    alert = aliased(AlertRow)
    carried = (col(alert.labels)[name].as_string() == value for name, value in labels.items())
    return exists().where(col(alert.incident_id) == col(Incident.id), *carried)


def _named(session: Session, table: type[Row], text: str, newest: ColumnElement[datetime], what: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        pass
    if len(text) < 4:
        raise Invalid(f"{text!r} is too short for an id; give 4 letters of it or more, `tocsin {what} ls` lists them")
    part = text.lower()
    recent = session.exec(select(table.id).order_by(newest).limit(_RECENT))
    found = [one for one in recent if str(one).startswith(part) or str(one).endswith(part)]
    match found:
        case [one]:
            return one
        case []:
            raise NotFound(f"no {what} has an id that begins or ends with {text!r}; `tocsin {what} ls` lists them")
        case _:
            raise Invalid(f"{len(found)} ids begin or end with {text!r}; give more of it")


def _alerts(session: Session, incident: UUID, limit: int) -> list[Alerted]:
    """The newest, those that fire before all others."""
    found = lines.newest(session, incident, limit)
    mine = and_(col(AlertRow.incident_id) == incident, col(AlertRow.status) != "firing")
    rest = select(AlertRow).where(mine).order_by(col(AlertRow.starts).desc(), col(AlertRow.fingerprint))
    more = session.exec(rest.limit(limit - len(found))).all() if len(found) < limit else []
    return [*map(_alerted, found), *map(_alerted, more)]


def _alerted(one: Line | AlertRow) -> Alerted:
    return Alerted(one.subject, one.status, one.severity, one.source, one.starts, one.event_id, one.labels)


def _first(session: Session, row: Incident) -> str:
    """What its first alert said."""
    mine = select(AlertRow.subject).where(AlertRow.incident_id == row.id).order_by(col(AlertRow.starts)).limit(1)
    return session.exec(mine).first() or row.subject


def _counts(session: Session, incident: UUID) -> dict[str, int]:
    counted = select(AlertRow.status, func.count()).where(AlertRow.incident_id == incident)
    return dict(session.exec(counted.group_by(col(AlertRow.status)).order_by(col(AlertRow.status))).all())


def _sent(session: Session, rows: Sequence[Delivery]) -> list[Sent]:
    tried: dict[UUID | None, list[Tried]] = {}
    mine = select(Attempt).where(col(Attempt.delivery_id).in_([row.id for row in rows]))
    for one in reversed(session.exec(mine.order_by(col(Attempt.at).desc()).limit(_ATTEMPTS)).all()):
        attempt = Tried(one.at, one.outcome, one.status, one.took_ms, one.waited_ms, one.reason)
        tried.setdefault(one.delivery_id, []).append(attempt)
    return [
        Sent(
            id=str(row.id),
            receiver=row.receiver,
            revision=row.revision,
            action=row.action,
            state=row.state,
            due=row.due,
            since=row.since,
            updated=row.updated,
            tries=row.tries,
            maybe_told=row.maybe_told,
            reason=row.reason,
            attempts=tuple(tried.get(row.id, ())),
        )
        for row in rows
    ]


def _events(session: Session, incident: UUID, sent: Sequence[Sent]) -> list[Event]:
    """The events that tell of the incident, and of deliveries that were driven again."""
    own = select(LogEntry).where(LogEntry.key == f"tocsin.incident.{incident}")
    keys = [f"tocsin.delivery.{one.id}" for one in sent]
    again = select(LogEntry).where(col(LogEntry.key).in_(keys), LogEntry.event == _REDRIVEN)
    found = (session.exec(one.order_by(col(LogEntry.seq).desc()).limit(HISTORY)).all() for one in (own, again))
    entries = sorted((entry for part in found for entry in part), key=lambda entry: entry.seq or 0)
    return [decode(entry.body) for entry in entries]


def _storms(session: Session, row: Incident) -> Iterator[tuple[str, str]]:
    """The storms that speak for the incident: receiver to incident."""
    for receiver in row.storms:
        episodes = select(Incident.id).where(Incident.key_id == derive("incident-storm", receiver))
        fingerprint = derive("alert", f"storm/{receiver}/{row.id}")
        mine = select(AlertRow.incident_id).where(col(AlertRow.incident_id).in_(episodes))
        storm = session.exec(mine.where(AlertRow.fingerprint == fingerprint).limit(1)).first()
        yield receiver, str(storm or "")


def _waits(session: Session, now: datetime) -> dict[str, datetime]:
    rows = session.exec(select(ReceiverState).where(col(ReceiverState.not_before) > now))
    return {row.receiver: row.not_before for row in rows if row.not_before}


def _tree(session: Session, path: str) -> Tree | None:
    try:
        return get_tree(session, route_name(path)) if route_name(path) else None
    except NotFound:
        return None

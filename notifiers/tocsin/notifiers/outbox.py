"""The outbox: an incident and what its receivers must learn of it, put down in the caller's transaction.

Nothing is sent here. `tocsin.notifiers.dispatch` carries the rows out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, assert_never
from uuid import UUID

from sqlmodel import Session, col, select

from tocsin.events.chain import OUTSIDE, Cause, joined
from tocsin.events.errors import NotFound
from tocsin.events.ids import derive
from tocsin.notifiers import past
from tocsin.notifiers.blocks import KINDS
from tocsin.notifiers.delivery import OVER_BEFORE_TOLD, Decision, on_resolve, on_trigger
from tocsin.notifiers.fit import clean, cut
from tocsin.notifiers.incident_events import opened, resolved
from tocsin.notifiers.redact import redact, redacted_logger
from tocsin.notifiers.registry import CHANNEL, unknown
from tocsin.notifiers.tables import Delivery, Incident, NotifierRow
from tocsin.notifiers.view import Action, Severity, View, read_severity, view_from_json, view_to_json
from tocsin.store.engine import insert_new, touch
from tocsin.store.log import append

KEY_SHOWN: Final = 1_000
TEXT: Final = 100_000
ITEMS: Final = 200
LABELS: Final = 500
VALUE: Final = 2_000

_LOG = redacted_logger("tocsin.notifiers.outbox")


@dataclass(frozen=True, slots=True)
class Told:
    """What a firing has to say, cleaned and bounded."""

    subject: str
    body: str
    severity: Severity
    labels: dict[str, str]
    items: tuple[str, ...]
    total: int


def notify(
    session: Session,
    *,
    notifier: str,
    incident_key: str,
    action: Literal["trigger", "resolve"],
    subject: str,
    body: str,
    severity: str,
    labels: Mapping[str, str],
    event_id: UUID,
    now: datetime,
    items: Sequence[str] = (),
    total: int | None = None,
    lasting: bool = True,
    cause: Cause = OUTSIDE,
) -> Incident | None:
    """Open, update or resolve the incident of `incident_key`, and put down what `notifier` must be told.

    The same key is one incident until it is resolved: a further trigger (another `event_id`) changes Slack's message
    and does not page again; the same `event_id` again, for this or another notifier, belongs to the same revision. A
    resolve is owed to everybody who was told, whichever notifier it names; it gives None when nothing is open.
    With `lasting` false every event is an episode of its own that owes no resolve: use it for news that nothing will
    ever resolve. `items` (top 20 shown, `total` in truth) are the things it is about; `cause` tells which automations
    stand behind it. Raises NotFound for an unknown notifier, Invalid for an unknown severity.
    """
    row = session.get(NotifierRow, notifier)
    if row is None:
        raise NotFound(unknown(session, notifier))
    told = _bounded(subject, body, severity, labels, items, total)
    touch(session, CHANNEL)
    match action:
        case "trigger":
            incident = _open(session, incident_key, told, event_id, now, lasting, cause)
            return _tell(session, incident, row, told, event_id, now)
        case "resolve":
            return _resolve(session, incident_key, notifier, told, event_id, now)
        case _:
            assert_never(action)


def _open(
    session: Session, key: str, told: Told, event_id: UUID, now: datetime, lasting: bool, cause: Cause
) -> Incident:
    """The incident that `event_id` belongs to: the open one of the key, or a new episode."""
    latest = _latest(session, key)
    if latest is not None and (latest.state == "open" or latest.event_id == event_id):
        return latest
    episode = 1 if latest is None else latest.episode + 1
    incident = _new(key, episode, told, event_id, now, lasting, cause)
    if insert_new(session, Incident, [incident.model_dump()]):
        append(session, [opened(incident)])
    return _open(session, key, told, event_id, now, lasting, cause)  # this one, or another's that was faster


def _new(key: str, episode: int, told: Told, event_id: UUID, now: datetime, lasting: bool, cause: Cause) -> Incident:
    key_id, id = _key_id(key), derive("incident", key, episode)  # noqa: A001 - it is the row's id
    return Incident(
        id=id,
        key_id=key_id,
        key=cut(clean(key), KEY_SHOWN),
        episode=episode,
        state="open" if lasting else "told",
        lasting=lasting,
        revision=1,
        severity=told.severity,
        subject=told.subject,
        labels=told.labels,
        dedup_key=f"tocsin/{(id if lasting else key_id).hex}",
        depth=cause.depth,
        chain=joined(cause.path),
        opened=now,
        updated=now,
        event_id=event_id,
    )


def _tell(
    session: Session, incident: Incident, notifier: NotifierRow, told: Told, event_id: UUID, now: datetime
) -> Incident:
    """Put down the trigger or the update for one receiver."""
    if incident.state == "resolved":
        return _too_late(session, incident, notifier.name, told, now)
    rows = past.current(session, incident.id, notifier.name, incident.revision)
    if incident.event_id != event_id or _says_otherwise(incident, rows, told):
        _revise(session, incident, told, event_id, now)
    if any(row.revision == incident.revision for row in rows):
        return incident
    decision = on_trigger(past.known(session, incident, notifier.name, rows), KINDS[notifier.kind].updates)
    _carry_out(session, decision, incident, notifier.name, rows, told, now)
    return incident


def _too_late(session: Session, incident: Incident, receiver: str, told: Told, now: datetime) -> Incident:
    """A trigger that comes after its own resolve: paging now would leave a page that nothing ends."""
    if not past.was_concerned(session, incident.id, receiver):
        decision = Decision("trigger", put_state="superseded", reason=OVER_BEFORE_TOLD)
        _carry_out(session, decision, incident, receiver, (), told, now)
    return incident


def _resolve(session: Session, key: str, notifier: str, told: Told, event_id: UUID, now: datetime) -> Incident | None:
    incident = _latest(session, key)
    if incident is None or incident.state == "told":
        _LOG.info("nothing is open under %s, so there is nothing to resolve", cut(clean(key), KEY_SHOWN))
        return None
    if incident.state == "open":
        _close(session, incident, told, event_id, now)
    elif incident.resolved_by == event_id:
        _reword(session, incident, notifier, told, now)
    return incident


def _close(session: Session, incident: Incident, told: Told, event_id: UUID, now: datetime) -> None:
    """Resolve the incident, for each receiver that it ever concerned."""
    incident.state, incident.resolved, incident.resolved_by = "resolved", now, event_id
    incident.revision, incident.updated = incident.revision + 1, now
    session.add(incident)
    owed: list[str] = []
    spared: list[str] = []
    for receiver in past.receivers(session, incident.id):
        rows = past.current(session, incident.id, receiver)
        decision = on_resolve(past.known(session, incident, receiver, rows))
        _carry_out(session, decision, incident, receiver, rows, told, now)
        (owed if decision.put_state == "pending" else spared).append(receiver)
    if spared:
        _LOG.info("incident %s was %s to: %s", incident.id, OVER_BEFORE_TOLD, ", ".join(spared))
    append(session, [resolved(incident, owed, spared)])


def _reword(session: Session, incident: Incident, receiver: str, told: Told, now: datetime) -> None:
    """The same resolve in another notifier's words: taken over while that notifier has not been told."""
    for row in past.current(session, incident.id, receiver):
        if row.action == "resolve" and row.state == "pending" and row.tries == 0:
            row.view = view_to_json(_view(row.id, incident, "resolve", told, now))
            session.add(row)


def _revise(session: Session, incident: Incident, told: Told, event_id: UUID, now: datetime) -> None:
    incident.revision, incident.event_id, incident.updated = incident.revision + 1, event_id, now
    incident.subject, incident.severity, incident.labels = told.subject, told.severity, told.labels
    session.add(incident)


def _says_otherwise(incident: Incident, rows: Sequence[Delivery], told: Told) -> bool:
    """Whether this revision was already put down for the receiver in other words (two messages of one automation)."""
    for row in rows:
        if row.revision == incident.revision:
            view = view_from_json(row.view)
            return (view.subject, view.body, view.severity) != (told.subject, told.body, told.severity)
    return False


def _carry_out(
    session: Session,
    decision: Decision,
    incident: Incident,
    receiver: str,
    rows: Sequence[Delivery],
    told: Told,
    now: datetime,
) -> None:
    waiting = [row for row in rows if row.revision in decision.supersede]
    for row in waiting:
        row.state, row.reason, row.updated = "superseded", decision.reason, now
        session.add(row)
    if decision.put is None:
        return
    id = derive("delivery", incident.id, receiver, incident.revision)  # noqa: A001 - it is the row's id
    delivery = Delivery(
        id=id,
        incident_id=incident.id,
        receiver=receiver,
        revision=incident.revision,
        action=decision.put,
        state=decision.put_state,
        due=now,
        since=min([now, *(row.since for row in waiting if not row.maybe_told)]),
        view=view_to_json(_view(id, incident, decision.put, told, now)),
        reason=decision.reason if decision.put_state == "superseded" else None,
        updated=now,
    )
    insert_new(session, Delivery, [delivery.model_dump()])


def _view(delivery: UUID, incident: Incident, action: Action, told: Told, now: datetime) -> View:
    return View(
        delivery=delivery,
        incident=incident.id,
        dedup_key=incident.dedup_key,
        revision=incident.revision,
        action=action,
        severity=told.severity,
        subject=told.subject,
        body=told.body,
        labels=told.labels,
        items=told.items,
        total=told.total,
        opened=incident.opened,
        at=now,
    )


def _latest(session: Session, key: str) -> Incident | None:
    """The newest episode of the key, locked until the end of the transaction."""
    statement = select(Incident).where(Incident.key_id == _key_id(key)).order_by(col(Incident.episode).desc())
    return session.exec(statement.limit(1).with_for_update()).first()


def _bounded(
    subject: str, body: str, severity: str, labels: Mapping[str, str], items: Iterable[str], total: int | None
) -> Told:
    """The texts as they may enter the database: cleaned, bounded, and without any secret that is known here."""
    listed = tuple(items)
    return Told(
        subject=_text(subject, VALUE),
        body=_text(body, TEXT),
        severity=read_severity(severity),
        labels={_text(name, VALUE): _text(value, VALUE) for name, value in sorted(labels.items())[:LABELS]},
        items=tuple(_text(item, VALUE) for item in listed[:ITEMS]),
        total=max(total or 0, len(listed)),
    )


def _text(text: str, limit: int) -> str:
    return cut(redact(clean(text)), limit)


def _key_id(key: str) -> UUID:
    return derive("incident-key", key)

"""Why was I (not) paged: from an event, an incident or an alert's labels through firings, route and suppression to the
attempts.

Where no automation fired, `tocsin.automations.explain` says why.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlmodel import Session, col, select

from tocsin.automations import explain as automations
from tocsin.automations import store
from tocsin.automations.explain import Explanation
from tocsin.automations.ledger import NOTIFICATION
from tocsin.automations.model import Automation
from tocsin.automations.recorded import Logged, find
from tocsin.automations.tables import StoredEvaluation, StoredFiring, StoredInvocation
from tocsin.automations.why import conditions, unmatched
from tocsin.events.codec import decode
from tocsin.events.errors import NotFound
from tocsin.events.ids import derive
from tocsin.events.model import Event
from tocsin.notifiers.explained import Explained, explain
from tocsin.notifiers.matchers import Matcher, matches
from tocsin.notifiers.tables import AlertRow, Delivery, Incident
from tocsin.server.oncall import facts_of, incident_row
from tocsin.store.tables import LogEntry

SHOWN: Final = 20
"""So many incidents, and so many automations that have nothing to do with an event, are told of."""

LOOKED_AT: Final = 100_000
_INCIDENT: Final = "tocsin.incident."
_DELIVERY: Final = "tocsin.delivery."


@dataclass(frozen=True)
class Unmatched:
    """An automation that tells people, and that the event does not concern."""

    automation: str
    why: str


@dataclass(frozen=True)
class Heard:
    """An event of the log."""

    id: UUID
    event: str
    resource: str
    occurred: datetime
    received: datetime


@dataclass(frozen=True)
class Paged:
    """The answer, and what it rests on: what automations made of the event, and the incidents that came of it.

    `event` is the one asked for, or the last of an incident. Of `unmatched` the first are listed, `more` are left out.
    """

    answer: str
    incidents: list[Explained]
    event: Heard | None = None
    automations: list[Explanation] = field(default_factory=list)
    unmatched: list[Unmatched] = field(default_factory=list)
    more: int = 0


def of_incident(session: Session, wanted: UUID, now: datetime) -> Paged:
    """Who was told of an incident, and why; with what fired by its last event. Raises NotFound."""
    row = incident_row(session, wanted)
    found = _explained(session, [row.id], now)
    logged = find(session, row.event_id)
    named = _fired_by(session, row.event_id) if logged else ()
    return Paged(
        answer=found[0].answer,
        incidents=found,
        event=_heard(logged) if logged else None,
        automations=[automations.explain(session, name, row.event_id) for name in named],
    )


def of_event(session: Session, event_id: UUID, now: datetime) -> Paged:
    """Who was told of an event, and why, or why nobody was. Raises NotFound for one that is not in the log."""
    logged = find(session, event_id)
    if logged is None:
        raise NotFound(f"no event in the log has the id {event_id}; `tocsin event ls` lists the newest")
    fired = list(_fired_by(session, event_id))
    concerned = fired or list(_concerned(session, logged.event))
    explained = [automations.explain(session, name, event_id) for name in concerned]
    left = [] if fired else list(_others(session, logged.event, set(concerned)))
    incidents = _explained(session, _incidents_of(session, logged.event), now)
    return Paged(
        answer=_answer(incidents, explained, fired),
        incidents=incidents,
        event=_heard(logged),
        automations=explained,
        unmatched=left[:SHOWN],
        more=max(0, len(left) - SHOWN),
    )


def of_alerts(session: Session, matchers: Sequence[Matcher], now: datetime) -> Paged:
    """The same of the newest incidents with an alert that the matchers fit. Raises NotFound when there is none."""
    found = list(_with_labels(session, matchers))
    if not found:
        told = ", ".join(map(str, matchers))
        raise NotFound(f"no alert on record fits {told}; `tocsin route test` says where one would go")
    incidents = _explained(session, found, now)
    return Paged(answer=_said_of(incidents), incidents=incidents)


def _explained(session: Session, incidents: Sequence[UUID], now: datetime) -> list[Explained]:
    rows = [incident_row(session, one) for one in incidents[:SHOWN]]
    return [explain(facts_of(session, row, now), now) for row in rows]


def _heard(logged: Logged) -> Heard:
    event = logged.event
    return Heard(event.id, event.event, event.resource_id, event.occurred, logged.received)


def _answer(incidents: Sequence[Explained], explained: Sequence[Explanation], fired: Sequence[str]) -> str:
    if incidents:
        return _said_of(incidents)
    if not fired:
        return "nobody was told: no automation that tells people fired on it"
    acted = [one for found in explained for firing in found.firings for one in firing.invocations]
    words = [one for one in acted if one.action == NOTIFICATION]
    if not words:
        return f"nobody was told: {', '.join(fired)} fired, and tells nobody"
    said = dict.fromkeys(f"{one.state}{f': {one.reason}' if one.reason else ''}" for one in words)
    return f"nobody was told: {', '.join(fired)} fired, its notification is {'; '.join(said)}"


def _said_of(incidents: Sequence[Explained]) -> str:
    """The answer of one; of several how many have which."""
    if len(incidents) == 1:
        return incidents[0].answer
    counted = Counter(one.answer for one in incidents).most_common()
    newest = "the newest " if len(incidents) == SHOWN else ""
    return f"{newest}{len(incidents)} incidents; {'; '.join(f'{count} × {said}' for said, count in counted)}"


def _fired_by(session: Session, event_id: UUID) -> Iterator[str]:
    """The automations on record that fired on the event, by name."""
    fired = session.exec(select(StoredFiring.automation).where(StoredFiring.event_id == event_id).distinct())
    return (name for name in sorted(fired) if _is_known(session, name))


def _concerned(session: Session, event: Event) -> Iterator[str]:
    """Those that tell people and that the event concerned, though it fired nothing."""
    evaluated = select(StoredEvaluation.automation).where(StoredEvaluation.event_id == event.id).distinct()
    known = set(session.exec(evaluated))
    for one in _telling(session):
        if one.name in known or any(condition.matched for condition in conditions(one, event)):
            yield one.name


def _others(session: Session, event: Event, known: set[str]) -> Iterator[Unmatched]:
    for one in _telling(session):
        if one.name not in known:
            yield Unmatched(one.name, "; ".join(unmatched(one, event)) or "it does not concern it")


def _telling(session: Session) -> list[Automation]:
    return [listed.automation for listed in store.list_automations(session) if listed.automation.told]


def _is_known(session: Session, name: str) -> bool:
    try:
        store.get(session, name)
    except NotFound:
        return False
    return True


def _incidents_of(session: Session, event: Event) -> list[UUID]:
    """The incidents that the event led to; of an event about an incident or a delivery that incident."""
    found = dict.fromkeys((*_about(session, event), *_notified(session, event.id)))
    if not found:
        mine = (col(AlertRow.event_id) == event.id) | (col(AlertRow.ended_by) == event.id)
        found = dict.fromkeys(session.exec(select(AlertRow.incident_id).where(mine).distinct().limit(SHOWN)))
    return [one for one in found if session.get(Incident, one) is not None]


def _about(session: Session, event: Event) -> Iterator[UUID]:
    if incident := _id_in(event.resource_id, _INCIDENT):
        yield incident
    elif (delivery := _id_in(event.resource_id, _DELIVERY)) and (row := session.get(Delivery, delivery)):
        yield row.incident_id


def _id_in(resource: str, kind: str) -> UUID | None:
    try:
        return UUID(resource.removeprefix(kind)) if resource.startswith(kind) else None
    except ValueError:
        return None


def _notified(session: Session, event_id: UUID) -> Iterator[UUID]:
    """What the notifications of its firings came to, as the events of their outcomes say."""
    firings = select(StoredFiring.id).where(StoredFiring.event_id == event_id)
    words = select(StoredInvocation.id).where(col(StoredInvocation.firing_id).in_(firings))
    wanted = [derive("outcome", one) for one in session.exec(words.where(StoredInvocation.action == NOTIFICATION))]
    for entry in session.exec(select(LogEntry).where(col(LogEntry.id).in_(wanted)).order_by(col(LogEntry.seq))):
        yield from map(UUID, decode(entry.body).payload.get("incidents", []))


def _with_labels(session: Session, matchers: Sequence[Matcher]) -> Iterator[UUID]:
    """The incidents of the newest alerts that fit, each once, the newest first."""
    newest = select(AlertRow.incident_id, AlertRow.labels).order_by(col(AlertRow.starts).desc()).limit(LOOKED_AT)
    found: dict[UUID, None] = {}
    for incident, labels in session.exec(newest):
        if len(found) == SHOWN:
            break
        if matches(matchers, labels):
            found[incident] = None
    return iter(found)

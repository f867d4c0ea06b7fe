"""How the installation fares, read from the database: so it does not matter who asks, nor who did the work."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import select as columns
from sqlmodel import Session, col, func, select

from tocsin.automations.ledger import DUE, FAILED
from tocsin.automations.tables import StoredInvocation
from tocsin.events.topics import EVENTS, EXTERNAL
from tocsin.flows import cache_figures
from tocsin.flows.cache_figures import Effect
from tocsin.flows.cache_tables import CacheFlight
from tocsin.flows.tables import CacheEntry
from tocsin.notifiers import past, tally
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.tables import Delivery, Incident, NotifierRow, ReceiverState
from tocsin.notifiers.tally_figures import Figure
from tocsin.server.metrics_work import Work, at_work
from tocsin.store.log import STREAM
from tocsin.store.partial import among
from tocsin.store.tables import LogEntry, Position
from tocsin.triggers.tables import Schedule

EVALUATED: Final = (EVENTS, EXTERNAL)
RECENT: Final = timedelta(hours=1)
"""Of which runs the lateness, and of which task runs the effectiveness of the cache is told."""


class Waiting(NamedTuple):
    """So much waits, the longest waiting since then (None: nothing does)."""

    size: int
    since: datetime | None


class Queue(NamedTuple):
    """Deliveries to one receiver in one state, and since when the oldest of its people wait."""

    receiver: str
    state: str
    size: int
    since: datetime


class Behind(NamedTuple):
    """By how many entries of the log a group of readers is behind, and when the first of them was recorded."""

    consumer: str
    entries: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything that a scrape shows, as it was at `at`; `receivers` are the names of the notifiers on record."""

    at: datetime
    receivers: list[str]
    counted: list[Figure]
    outbox: list[Queue]
    incidents: list[tuple[str, str, int]]
    turns: Waiting
    told_to_wait: list[tuple[str, datetime]]
    behind: list[Behind]
    invocations: Waiting
    failed: int
    ticks: Waiting
    cached: int
    flights: Waiting
    effects: list[Effect]
    work: Work


def readings(session: Session, now: datetime) -> Readings:
    """What is on record at `now`."""
    return Readings(
        at=now,
        receivers=list(session.exec(select(NotifierRow.name).order_by(col(NotifierRow.name)))),
        counted=tally.totals(session),
        outbox=_outbox(session),
        incidents=_incidents(session),
        turns=_turns(session, now),
        told_to_wait=_told_to_wait(session, now),
        behind=_behind(session),
        invocations=_invocations(session, now),
        failed=session.exec(select(func.count()).where(StoredInvocation.state == FAILED)).one(),
        ticks=_ticks(session, now),
        cached=session.exec(select(func.count()).select_from(CacheEntry)).one(),
        flights=Waiting(*session.exec(select(func.count(), func.min(CacheFlight.since))).one()),
        effects=cache_figures.effects(session, now - RECENT),
        work=at_work(session, now, now - RECENT),
    )


def _outbox(session: Session) -> list[Queue]:
    key = col(Delivery.receiver), col(Delivery.state)
    waiting = columns(*key, func.count(), func.min(Delivery.since)).where(past.is_live(Delivery.state))
    return [Queue(*row) for row in session.connection().execute(waiting.group_by(*key).order_by(*key))]


def _incidents(session: Session) -> list[tuple[str, str, int]]:
    """State, severity and how many, of what is not over."""
    key = col(Incident.state), col(Incident.severity)
    there = columns(*key, func.count()).where(among(Incident.state, *LIVE)).group_by(*key).order_by(*key)
    return [(state, severity, count) for state, severity, count in session.connection().execute(there)]


def _turns(session: Session, now: datetime) -> Waiting:
    """Incidents whose time has come, and that no dispatcher has advanced yet."""
    due = select(func.count(), func.min(Incident.due)).where(among(Incident.state, *LIVE), col(Incident.due) <= now)
    return Waiting(*session.exec(due).one())


def _told_to_wait(session: Session, now: datetime) -> list[tuple[str, datetime]]:
    rows = session.exec(select(ReceiverState).where(col(ReceiverState.not_before) > now))
    return sorted((row.receiver, row.not_before) for row in rows if row.not_before is not None)


def _behind(session: Session) -> list[Behind]:
    """The groups that read the log; those that read Kafka have their positions there."""
    events = col(LogEntry.topic).in_(EVALUATED)
    newest = session.exec(select(LogEntry.seq).where(events).order_by(col(LogEntry.seq).desc()).limit(1)).first() or 0
    found = []
    for row in session.exec(select(Position).where(Position.stream == STREAM).order_by(col(Position.consumer))):
        next_one = select(LogEntry.recorded).where(events, col(LogEntry.seq) >= row.next_offset)
        entries = max(0, newest + 1 - row.next_offset)
        since = session.exec(next_one.order_by(col(LogEntry.seq)).limit(1)).first() if entries else None
        found.append(Behind(row.consumer, entries, since))
    return found


def _invocations(session: Session, now: datetime) -> Waiting:
    due = select(func.count(), func.min(StoredInvocation.due))
    return Waiting(*session.exec(due.where(StoredInvocation.state == DUE, StoredInvocation.due <= now)).one())


def _ticks(session: Session, now: datetime) -> Waiting:
    """Schedules whose next tick should have been sent."""
    late = select(func.count(), func.min(Schedule.next_at))
    return Waiting(*session.exec(late.where(col(Schedule.active), col(Schedule.next_at) <= now)).one())

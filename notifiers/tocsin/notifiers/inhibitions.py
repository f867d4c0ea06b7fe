"""Inhibitions on record, and which of the alerts that fire keep others quiet."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import and_, delete, exists, tuple_
from sqlmodel import Session, col, select

from tocsin.events.errors import NotFound
from tocsin.notifiers.inhibition import Hold, Inhibition, Rule, holds_of
from tocsin.notifiers.routes import Change, Listed, near, written
from tocsin.notifiers.routing_tables import HoldRow, InhibitionRow
from tocsin.notifiers.silences import wake
from tocsin.notifiers.stamps import changed
from tocsin.notifiers.tables import AlertRow
from tocsin.store.engine import insert_new

AT_ONCE: Final = 500


class Source(NamedTuple):
    """An alert that fires: the row it has, and its labels."""

    incident_id: UUID
    fingerprint: UUID
    labels: dict[str, str]


def put_inhibition(session: Session, inhibition: Inhibition, now: datetime) -> Change:
    """Store an inhibition under its name; what fires already counts from now on."""
    document = written(inhibition)
    row = session.get(InhibitionRow, inhibition.name)
    if row is not None and row.definition == document:
        return "unchanged"
    change: Change = "created" if row is None else "updated"
    row = row or InhibitionRow(name=inhibition.name, definition=document, updated=now)
    row.definition, row.updated = document, now
    session.add(row)
    session.flush()
    session.connection().execute(delete(HoldRow).where(col(HoldRow.rule) == inhibition.name))
    _scan(session, inhibition.rule())
    changed(session)
    wake(session, now)
    return change


def list_inhibitions(session: Session) -> list[Listed]:
    """All inhibitions by name."""
    rows = session.exec(select(InhibitionRow).order_by(col(InhibitionRow.name))).all()
    return [Listed(row.name, row.definition, row.updated) for row in rows]


def remove_inhibition(session: Session, name: str, now: datetime) -> None:
    """Forget an inhibition; what it kept quiet is told. Raises `NotFound`."""
    row = session.get(InhibitionRow, name)
    if row is None:
        known = [listed.name for listed in list_inhibitions(session)]
        raise NotFound(f'unknown inhibition "{name}"{near(name, known)}; known: {", ".join(known) or "none"}')
    session.delete(row)
    session.flush()
    session.connection().execute(delete(HoldRow).where(col(HoldRow.rule) == name))
    changed(session)
    wake(session, now)


def rules(session: Session) -> tuple[Rule, ...]:
    """The inhibitions on record, made ready, by name."""
    return tuple(Inhibition.model_validate(listed.definition).rule() for listed in list_inhibitions(session))


def note_sources(session: Session, known: Sequence[Rule], sources: Iterable[Source]) -> None:
    """Put down which of these alerts keep others quiet by the rules `known`. Call it after their rows are firing."""
    found = [(source, holds) for source in sources if (holds := holds_of(known, source.labels))]
    if not found:
        return
    rows = [_row(source, hold) for source, holds in found for hold in holds]
    _forget(session, [source for source, _ in found])
    insert_new(session, HoldRow, rows)


def held(session: Session) -> frozenset[Hold]:
    """What is held by the alerts that fire now."""
    statement = (
        select(HoldRow.rule, HoldRow.key, HoldRow.both)
        .distinct()
        .join(AlertRow, _same())
        .where(col(AlertRow.status) == "firing")
    )
    return frozenset(Hold(*row) for row in session.exec(statement).all())


def _forget(session: Session, sources: Sequence[Source]) -> None:
    """Drop what was put down of these alerts, and of those of their identities that no longer fire."""
    firing = exists().where(_same(), col(AlertRow.status) == "firing")
    pair = tuple_(col(HoldRow.incident_id), col(HoldRow.fingerprint))
    for first in range(0, len(sources), AT_ONCE):
        some = sources[first : first + AT_ONCE]
        theirs = col(HoldRow.incident_id).in_({source.incident_id for source in some})
        mine = theirs & pair.in_([(source.incident_id, source.fingerprint) for source in some])
        alike = col(HoldRow.fingerprint).in_([source.fingerprint for source in some])
        session.connection().execute(delete(HoldRow).where(mine))
        session.connection().execute(delete(HoldRow).where(alike, ~firing))


def _same() -> Any:  # Any: a condition of SQLAlchemy
    return and_(
        col(AlertRow.incident_id) == col(HoldRow.incident_id), col(AlertRow.fingerprint) == col(HoldRow.fingerprint)
    )


def _scan(session: Session, rule: Rule) -> None:
    """Put down which alerts that fire already are sources of a rule."""
    statement = select(AlertRow.incident_id, AlertRow.fingerprint, AlertRow.labels).where(AlertRow.status == "firing")
    rows = (
        _row(Source(incident, fingerprint, dict(labels)), hold)
        for incident, fingerprint, labels in session.exec(statement)
        for hold in holds_of((rule,), labels)
    )
    insert_new(session, HoldRow, list(rows))


def _row(source: Source, hold: Hold) -> dict[str, Any]:  # Any: values of the table's columns
    return {
        "incident_id": source.incident_id,
        "fingerprint": source.fingerprint,
        "rule": hold.rule,
        "key": hold.key,
        "both": hold.both,
    }

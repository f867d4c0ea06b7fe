"""The alerts of incidents in the database, many at a time. A line is one alert of one incident."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    Row,
    Select,
    Uuid,
    func,
    literal,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy import select as columns
from sqlmodel import Session, col

from tocsin.notifiers.line import Line, Place
from tocsin.notifiers.tables import AlertRow, Incident
from tocsin.store.partial import among

T = TypeVar("T")

_NAMES: Final = (
    "incident_id", "fingerprint", "identity", "source", "status", "severity", "subject", "body", "labels", "items",
    "total", "words", "event_id", "ended_by", "starts", "fired", "ends",
)  # fmt: skip
_TYPES: Final = (
    "uuid", "uuid", "text", "text", "text", "text", "text", "text", "text", "text",
    "int", "text", "uuid", "uuid", "timestamptz", "timestamptz", "timestamptz",
)  # fmt: skip
_JSON: Final = frozenset({"labels", "items", "words"})
_COLUMNS: Final = [AlertRow.__table__.c[name] for name in _NAMES]  # type: ignore[attr-defined]
_CHANGES: Final = ", ".join(f"{name} = excluded.{name}" for name in _NAMES[2:])
_INTO: Final = f"INSERT INTO alert ({', '.join(_NAMES)})"
_ANEW: Final = f"ON CONFLICT (incident_id, fingerprint) DO UPDATE SET {_CHANGES}"
_SQLITE: Final = f"{_INTO} VALUES ({', '.join('?' * len(_NAMES))}) {_ANEW}"
_POSTGRESQL: Final = (
    f"{_INTO} SELECT {', '.join(f'{name}::jsonb' if name in _JSON else name for name in _NAMES)} "  # noqa: S608
    f"FROM unnest({', '.join(f'%b::{kind}[]' for kind in _TYPES)}) AS new ({', '.join(_NAMES)}) {_ANEW}"
)
_ITEMS: Final = _NAMES.index("items")
_WORDS: Final = _NAMES.index("words")
_AT_ONCE: Final = 1_000


def read_lines(session: Session, places: Iterable[Place]) -> dict[Place, Line]:
    """The lines at these places, as far as there are any; lock the incidents first."""
    found: dict[Place, Line] = {}
    for part in _parts(places):
        found |= {(line.incident_id, line.fingerprint): line for line in _lines(session, _at(session, part))}
    return found


def held(session: Session, fingerprints: Iterable[UUID]) -> dict[UUID, list[tuple[UUID, str]]]:
    """Where these fingerprints fire, or are held closed: the incident and the source."""
    found: dict[UUID, list[tuple[UUID, str]]] = {}
    table = columns(col(AlertRow.fingerprint), col(AlertRow.incident_id), col(AlertRow.source))
    for part in _parts(fingerprints):
        there = col(AlertRow.fingerprint).in_(part), among(AlertRow.status, "firing", "closed")
        for fingerprint, incident, source in session.connection().execute(table.where(*there)):
            found.setdefault(fingerprint, []).append((incident, source))
    return found


def closed(session: Session, fingerprints: Iterable[UUID]) -> dict[tuple[UUID, UUID, str], UUID]:
    """Where a person has closed these, and their source has not ended since: group, fingerprint and source."""
    found: dict[tuple[UUID, UUID, str], UUID] = {}
    names = col(Incident.key_id), col(AlertRow.fingerprint), col(AlertRow.source), col(AlertRow.incident_id)
    table = columns(*names).join(Incident, col(Incident.id) == col(AlertRow.incident_id))
    for part in _parts(fingerprints):
        there = (
            col(AlertRow.fingerprint).in_(part),
            among(AlertRow.status, "firing", "closed"),
            col(AlertRow.status) == "closed",
        )
        for group, fingerprint, source, incident in session.connection().execute(table.where(*there)):
            found[group, fingerprint, source] = incident
    return found


def newest(session: Session, incident: UUID, limit: int, *, after: Line | None = None) -> list[Line]:
    """The lines of the incident that fire, the newest first, at most `limit`, behind `after`."""
    statement = columns(*_COLUMNS).where(col(AlertRow.incident_id) == incident, among(AlertRow.status, "firing"))
    if after is not None:
        place = tuple_(col(AlertRow.starts), col(AlertRow.fingerprint))
        statement = statement.where(place < tuple_(after.starts, after.fingerprint))
    order = col(AlertRow.starts).desc(), col(AlertRow.fingerprint).desc()
    return _lines(session, statement.order_by(*order).limit(limit))


def some(session: Session, incident: UUID, limit: int) -> list[Line]:
    """Any lines of the incident, at most `limit`, whatever became of them."""
    return _lines(session, columns(*_COLUMNS).where(col(AlertRow.incident_id) == incident).limit(limit))


def write_lines(session: Session, lines: Sequence[Line]) -> None:
    """Put the lines down, in the place of those that are there."""
    if not lines:
        return
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_SQLITE, [_for_sqlite(line) for line in lines])
        return
    rows = [_for_postgresql(line) for line in sorted(lines, key=lambda line: (line.incident_id, line.fingerprint))]
    connection.exec_driver_sql(_POSTGRESQL, tuple(map(list, zip(*rows, strict=True))))


def close_all(session: Session, incident: UUID, now: datetime) -> None:
    """A person has closed the incident: what fires in it is over, until its source has ended too."""
    mine = col(AlertRow.incident_id) == incident, col(AlertRow.status) == "firing"
    session.connection().execute(update(AlertRow).where(*mine).values(status="closed", ends=now))


def _at(session: Session, places: list[Place]) -> Select[Any]:  # Any: its columns
    """The lines at these places, each found by its key: a list of pairs would be compared with every row."""
    mine = columns(*_COLUMNS)
    if session.get_bind().dialect.name == "sqlite":
        pairs = func.json_each(_json([(incident.hex, mark.hex) for incident, mark in places])).table_valued("value")
        incident, mark = (type_coerce(func.json_extract(pairs.c.value, f"$[{at}]"), Uuid) for at in (0, 1))
        return mine.select_from(pairs).join(
            AlertRow, (col(AlertRow.incident_id) == incident) & (col(AlertRow.fingerprint) == mark)
        )
    incidents, fingerprints = zip(*places, strict=True)
    arrays = (literal(list(ids), ARRAY(Uuid)) for ids in (incidents, fingerprints))
    wanted = func.unnest(*arrays).table_valued("incident_id", "fingerprint").render_derived()
    return mine.join(
        wanted,
        (col(AlertRow.incident_id) == wanted.c.incident_id) & (col(AlertRow.fingerprint) == wanted.c.fingerprint),
    )


def _parts(several: Iterable[T]) -> Iterator[list[T]]:
    several = list(several)
    return (several[start : start + _AT_ONCE] for start in range(0, len(several), _AT_ONCE))


def _lines(session: Session, statement: Select[Any]) -> list[Line]:  # Any: its columns
    return [_line(row) for row in session.connection().execute(statement)]


def _line(row: Row[Any]) -> Line:  # Any: its columns
    values = list(row)
    values[_ITEMS] = tuple(values[_ITEMS])
    values[_WORDS] = {name: (UUID(event), subject, body) for name, (event, subject, body) in values[_WORDS].items()}
    return Line(*values)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _for_sqlite(line: Line) -> tuple[object, ...]:
    """The line as SQLAlchemy's types for SQLite would write it."""
    return (
        line.incident_id.hex, line.fingerprint.hex, line.identity, line.source, line.status, line.severity,
        line.subject, line.body, _json(line.labels), _json(line.items), line.total, _json(line.words),
        line.event_id.hex, line.ended_by.hex if line.ended_by else None, _text(line.starts), _text(line.fired),
        _text(line.ends) if line.ends else None,
    )  # fmt: skip


def _for_postgresql(line: Line) -> tuple[object, ...]:
    return (
        line.incident_id, line.fingerprint, line.identity, line.source, line.status, line.severity,
        line.subject, line.body, _json(line.labels), _json(line.items), line.total, _json(line.words),
        line.event_id, line.ended_by, line.starts, line.fired, line.ends,
    )  # fmt: skip


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")

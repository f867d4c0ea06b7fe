"""What is counted of telling people, in the database: in the very transaction in which it happens.

So it is right whichever process did it, and after any crash: an attempt and its count are both there, or neither is.
On PostgreSQL transactions that run at the same time add to rows of their own. Each takes a shard that nobody has, by a
lock that lasts as long as itself, and never waits; a scrape adds the shards up.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import bindparam, literal_column
from sqlalchemy import select as columns
from sqlmodel import Session, col, func

from tocsin.notifiers.node import node_from_json
from tocsin.notifiers.past import Origin, Standing
from tocsin.notifiers.tables import AlertRow, Incident
from tocsin.notifiers.tally_figures import Figure, Kind, attempted, dead, summed, told
from tocsin.notifiers.tally_tables import TallyRow
from tocsin.store.tables import LogEntry

SHARDS: Final = 64
_LOCKS: Final = 0x7A11
"""The class of our advisory locks; the shard is the other half of their key."""

_COLUMNS: Final = "shard, kind, receiver, label, count, total_ms"
_ADDED: Final = (
    "ON CONFLICT (shard, kind, receiver, label) DO UPDATE SET "
    "count = notifier_tally.count + excluded.count, total_ms = notifier_tally.total_ms + excluded.total_ms"
)
_SQLITE: Final = f"INSERT INTO notifier_tally ({_COLUMNS}) VALUES (0, ?, ?, ?, ?, ?) {_ADDED}"  # noqa: S608
# With more transactions at a time than shards, the rest share one by the number of their connection, and wait.
_POSTGRESQL: Final = f"""
    WITH free AS MATERIALIZED (
        SELECT n FROM generate_series(0, {SHARDS - 1}) AS n WHERE pg_try_advisory_xact_lock({_LOCKS}, n) LIMIT 1
    )
    INSERT INTO notifier_tally ({_COLUMNS})
    SELECT coalesce((SELECT n FROM free), {SHARDS} + mod(pg_backend_pid(), {SHARDS})), new.*
    FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[])
        AS new (kind, receiver, label, count, total)
    {_ADDED}
"""  # noqa: S608 - made of constants

# Made once: to make it costs more than to carry it out. `firing` is written out, so that the partial index is seen.
_OLDEST: Final = (
    columns(col(AlertRow.event_id))
    .where(col(AlertRow.incident_id) == col(Incident.id), col(AlertRow.status) == literal_column("'firing'"))
    .order_by(col(AlertRow.starts))
    .limit(1)
    .correlate(Incident)
    .scalar_subquery()
)
_RECORDED: Final = (
    columns(func.min(LogEntry.recorded))
    .where(col(LogEntry.id) == func.coalesce(_OLDEST, col(Incident.event_id)))
    .correlate(Incident)
    .scalar_subquery()
)
_RECEIVED: Final = columns(col(Incident.id), _RECORDED).where(
    col(Incident.id).in_(bindparam("incidents", expanding=True))
)


def add(session: Session, figures: Iterable[Figure]) -> None:
    """Add the figures, in the caller's transaction."""
    rows = summed(figures)
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_SQLITE, [tuple(row) for row in rows])
    else:
        connection.exec_driver_sql(_POSTGRESQL, tuple(map(list, zip(*rows, strict=True))))


def totals(session: Session) -> list[Figure]:
    """Everything that was ever counted, one figure for each key."""
    key = col(TallyRow.kind), col(TallyRow.receiver), col(TallyRow.label)
    counted = columns(*key, func.sum(TallyRow.count), func.sum(TallyRow.total_ms)).group_by(*key).order_by(*key)
    rows = session.connection().execute(counted)
    # The column holds nothing else: rows are written from these very types.
    return [Figure(cast(Kind, kind), who, label, int(times), int(total)) for kind, who, label, times, total in rows]


class Counted(NamedTuple):
    """An attempt as it is counted; `delivery` is what it made of its delivery, if that was still its own."""

    receiver: str
    outcome: str
    waited_ms: int
    delivery: Standing | None = None


def count_attempts(session: Session, tried: Sequence[Counted], incidents: Mapping[UUID, Origin]) -> None:
    """Count attempts, and what each made of its delivery."""
    figures = [figure for one in tried for figure in attempted(one.receiver, one.outcome, one.waited_ms)]
    own = [one.delivery for one in tried if one.delivery is not None]
    figures += [dead(delivery.receiver) for delivery in own if delivery.state == "dead"]
    first = [one for one in own if _is_first_word(one, incidents[one.incident_id])]
    received = _received(session, {one.incident_id for one in first})
    for one in first:
        began = min(received.get(one.incident_id, one.updated), incidents[one.incident_id].opened)
        figures.append(told(one.receiver, round((one.updated - began) / timedelta(milliseconds=1))))
    add(session, figures)


def _is_first_word(delivery: Standing, incident: Origin) -> bool:
    """Whether it has told its receiver of the incident. Whom a step of escalation calls is meant to hear later."""
    first = delivery.state == "delivered" and delivery.action == "trigger"
    return first and delivery.receiver in node_from_json(incident.node).receivers


def _received(session: Session, incidents: Collection[UUID]) -> dict[UUID, datetime]:
    """When the events came that these incidents began with, as far as the log knows them.

    Such an event is that of the alert that fires longest. A later one of an alert that fired again is of no use: then
    it is better to go by the time when the incident was opened.
    """
    if not incidents:
        return {}
    found = session.connection().execute(_RECEIVED, {"incidents": list(incidents)}).all()
    return {incident: at for incident, at in found if at is not None}

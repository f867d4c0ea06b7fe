"""What a receiver has been told of an incident. One incident may have thousands of revisions: few of them are read."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, case, func, or_
from sqlalchemy import select as columns
from sqlmodel import Session, col, select

from tocsin.notifiers.delivery import LIVE, Known
from tocsin.notifiers.outcomes import Handle
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.store.partial import among

Place = tuple[UUID, str]
"""An incident, and a receiver of it."""


class Standing(NamedTuple):
    """How a delivery stands: as much of its row as the end of an attempt is about."""

    id: UUID
    incident_id: UUID
    receiver: str
    revision: int
    action: str
    state: str
    lease: UUID | None
    tries: int
    since: datetime
    minimal: bool
    maybe_told: bool
    reason: str | None
    updated: datetime


class Origin(NamedTuple):
    """What a delivery is about: as much of its incident's row."""

    id: UUID
    key: str
    node: dict[str, Any]  # Any: a Node as JSON
    severity: str
    depth: int
    chain: str
    opened: datetime
    event_id: UUID
    resolved_by: UUID | None


class Heard(NamedTuple):
    """That a receiver has heard of an incident, and what its channel gave back, the last time it took a message."""

    handle: Handle | None


def is_live(state: object) -> ColumnElement[bool]:
    """Whether the column `state` is of a delivery that is not over yet."""
    return among(state, *LIVE)


def current(session: Session, incident: UUID, receiver: str, revision: int | None = None) -> Sequence[Delivery]:
    """The receiver's live deliveries, and that of `revision`, in order; locked until the end of the transaction."""
    wanted = is_live(Delivery.state)
    if revision is not None:
        wanted = or_(wanted, col(Delivery.revision) == revision)
    statement = select(Delivery).where(_ours(incident, receiver), wanted)
    return session.exec(statement.order_by(col(Delivery.revision)).with_for_update()).all()


def origins(session: Session, incidents: Collection[UUID]) -> dict[UUID, Origin]:
    """These incidents, locked until the end of the transaction, those first whose ids come first."""
    rows = session.connection().execute(_ORIGINS, {"incidents": list(incidents)}).all() if incidents else ()
    return {row.id: row for row in map(Origin._make, rows)}


def standing(
    session: Session, deliveries: Collection[UUID], incidents: Collection[UUID]
) -> dict[Place, list[Standing]]:
    """By incident and receiver these deliveries and the live ones, in order; locked until the end of the transaction.

    The incidents are locked already.
    """
    asked = {"incidents": list(incidents), "deliveries": list(deliveries)}
    found: dict[Place, list[Standing]] = {}
    for row in map(Standing._make, session.connection().execute(_STANDING, asked).all()):
        found.setdefault((row.incident_id, row.receiver), []).append(row)
    return found


def known(session: Session, incident: Incident, receiver: str, rows: Sequence[Delivery]) -> list[Known]:
    """What `rows` say, and one line for all that came before them if the receiver has heard of the incident."""
    before = [Known(0, "trigger", "delivered", True)] if was_told(session, incident.id, receiver) else []
    # The columns hold nothing else: rows are written from these very types.
    return before + [Known(row.revision, row.action, row.state, row.maybe_told) for row in rows]  # type: ignore[arg-type]


def was_told(session: Session, incident: UUID, receiver: str) -> bool:
    """Whether the receiver has, or may have, heard of the incident."""
    heard = or_(col(Delivery.state) == "delivered", col(Delivery.maybe_told))
    return session.exec(select(Delivery.id).where(_ours(incident, receiver), heard).limit(1)).first() is not None


def was_concerned(session: Session, incident: UUID, receiver: str) -> bool:
    """Whether there ever was a delivery of the incident to the receiver."""
    return session.exec(select(Delivery.id).where(_ours(incident, receiver)).limit(1)).first() is not None


def muted(session: Session, incident: UUID) -> int:
    """How many alerts of the incident the last word of it left out."""
    mine = select(Delivery.view).where(Delivery.incident_id == incident)
    view = session.exec(mine.order_by(col(Delivery.revision).desc()).limit(1)).first()
    return int(view.get("muted", 0)) if view else 0


def receivers(session: Session, incident: UUID) -> list[str]:
    """Everybody whom the incident concerns, by name."""
    return sorted(session.exec(select(Delivery.receiver).where(Delivery.incident_id == incident).distinct()))


def heard_of(session: Session, places: Collection[Place]) -> dict[Place, Heard]:
    """What receivers have, or may have, heard of incidents; where one has heard nothing there is nothing.

    Of places that were not asked for there may be something too.
    """
    if not places:
        return {}
    incidents, receivers = {incident for incident, _ in places}, {receiver for _, receiver in places}
    asked = {"incidents": list(incidents), "receivers": list(receivers)}
    rows = session.connection().execute(_NEWEST, asked).all()
    taken = {(incident, receiver): revision for incident, receiver, revision in rows if revision}
    return {(incident, receiver): Heard(None) for incident, receiver, _ in rows} | _handles(session, taken)


def _handles(session: Session, newest: Mapping[Place, int]) -> dict[Place, Heard]:
    """What the channel gave back for these revisions."""
    if not newest:
        return {}
    incidents, receivers = {incident for incident, _ in newest}, {receiver for _, receiver in newest}
    asked = {"incidents": list(incidents), "receivers": list(receivers), "revisions": list(set(newest.values()))}
    # Asked for by lists, because SQLite would compare a list of triples with every row.
    rows = session.connection().execute(_HANDLES, asked).all()
    return {
        (incident, receiver): Heard(dict(handle) if handle else None)
        for incident, receiver, revision, handle in rows
        if newest.get((incident, receiver)) == revision
    }


def _ours(incident: UUID, receiver: str) -> ColumnElement[bool]:
    return and_(col(Delivery.incident_id) == incident, col(Delivery.receiver) == receiver)


# Made once: to make them costs more than to carry them out.
_THEIRS: Final = (
    col(Delivery.incident_id).in_(bindparam("incidents", expanding=True)),
    col(Delivery.receiver).in_(bindparam("receivers", expanding=True)),
)
_NEWEST: Final = (
    columns(
        col(Delivery.incident_id),
        col(Delivery.receiver),
        func.max(case((col(Delivery.state) == "delivered", col(Delivery.revision)), else_=0)),
    )
    .where(*_THEIRS, or_(col(Delivery.state) == "delivered", col(Delivery.maybe_told)))
    .group_by(col(Delivery.incident_id), col(Delivery.receiver))
)
_HANDLES: Final = columns(
    col(Delivery.incident_id), col(Delivery.receiver), col(Delivery.revision), col(Delivery.handle)
).where(*_THEIRS, col(Delivery.revision).in_(bindparam("revisions", expanding=True)))
_ORIGINS: Final = (
    columns(*(col(getattr(Incident, name)) for name in Origin._fields))
    .where(col(Incident.id).in_(bindparam("incidents", expanding=True)))
    .order_by(col(Incident.id))
    .with_for_update()
)
_STANDING: Final = (
    columns(*(col(getattr(Delivery, name)) for name in Standing._fields))
    .where(
        col(Delivery.incident_id).in_(bindparam("incidents", expanding=True)),
        or_(is_live(Delivery.state), col(Delivery.id).in_(bindparam("deliveries", expanding=True))),
    )
    .order_by(col(Delivery.revision))
    .with_for_update()
)

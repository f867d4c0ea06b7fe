"""What a receiver has been told of an incident. One incident may have thousands of revisions: few of them are read."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, or_, tuple_
from sqlalchemy import select as columns
from sqlmodel import Session, col, select

from tocsin.notifiers.delivery import LIVE, Known
from tocsin.notifiers.outcomes import Handle
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.store.partial import among


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


def current_all(
    session: Session, incidents: Collection[UUID], deliveries: Collection[UUID]
) -> dict[tuple[UUID, str], list[Delivery]]:
    """By incident and receiver the live deliveries and those named, in order; locked until the end of the transaction.

    The incidents are locked already.
    """
    wanted = or_(is_live(Delivery.state), col(Delivery.id).in_(deliveries))
    statement = select(Delivery).where(col(Delivery.incident_id).in_(incidents), wanted)
    found: dict[tuple[UUID, str], list[Delivery]] = {}
    for row in session.exec(statement.order_by(col(Delivery.revision)).with_for_update()):
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


def heard_of(session: Session, receiver: str, incidents: Sequence[UUID]) -> dict[UUID, Heard]:
    """What the receiver has, or may have, heard of these incidents; those of which it heard nothing are left out."""
    taken = case((col(Delivery.state) == "delivered", col(Delivery.revision)), else_=0)
    mine = and_(col(Delivery.receiver) == receiver, col(Delivery.incident_id).in_(incidents))
    heard = or_(col(Delivery.state) == "delivered", col(Delivery.maybe_told))
    newest = columns(col(Delivery.incident_id), func.max(taken)).where(mine, heard)
    found = session.connection().execute(newest.group_by(col(Delivery.incident_id))).all()
    places = [(incident, receiver, revision) for incident, revision in found if revision]
    return {incident: Heard(None) for incident, _ in found} | _handles(session, places)


def _handles(session: Session, places: Sequence[tuple[UUID, str, int]]) -> dict[UUID, Heard]:
    """What the channel gave back for these deliveries."""
    if not places:
        return {}
    incidents, receivers = {incident for incident, _, _ in places}, {receiver for _, receiver, _ in places}
    # Asked for by lists too, because SQLite would compare a list of triples with every row.
    theirs = col(Delivery.incident_id).in_(incidents), col(Delivery.receiver).in_(receivers)
    key = tuple_(col(Delivery.incident_id), col(Delivery.receiver), col(Delivery.revision)).in_(places)
    found = columns(col(Delivery.incident_id), col(Delivery.handle)).where(*theirs, key)
    rows = session.connection().execute(found)
    return {incident: Heard(dict(handle) if handle else None) for incident, handle in rows}


def _ours(incident: UUID, receiver: str) -> ColumnElement[bool]:
    return and_(col(Delivery.incident_id) == incident, col(Delivery.receiver) == receiver)

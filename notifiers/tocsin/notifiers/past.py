"""What a receiver has been told of an incident. One incident may have thousands of revisions: few of them are read."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, or_
from sqlmodel import Session, col, select

from tocsin.notifiers.delivery import LIVE, Known
from tocsin.notifiers.outcomes import Handle
from tocsin.notifiers.tables import Delivery, Incident


def is_live(state: object) -> ColumnElement[bool]:
    """Whether the column `state` is of a delivery that is not over yet.

    The states are written out, not parameters: only then the databases see that the partial index has these rows.
    """
    return col(state).in_(bindparam("live", list(LIVE), expanding=True, literal_execute=True))


def current(session: Session, incident: UUID, receiver: str, revision: int | None = None) -> Sequence[Delivery]:
    """The receiver's live deliveries, and that of `revision`, in order; locked until the end of the transaction."""
    wanted = is_live(Delivery.state)
    if revision is not None:
        wanted = or_(wanted, col(Delivery.revision) == revision)
    statement = select(Delivery).where(_ours(incident, receiver), wanted)
    return session.exec(statement.order_by(col(Delivery.revision)).with_for_update()).all()


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


def handle_of(session: Session, incident: UUID, receiver: str) -> Handle | None:
    """What the channel gave back when it last took a message of the incident."""
    taken = and_(_ours(incident, receiver), col(Delivery.state) == "delivered")
    newest = select(Delivery.handle).where(taken).order_by(col(Delivery.revision).desc()).limit(1)
    handle = session.exec(newest).first()
    return dict(handle) if handle else None


def _ours(incident: UUID, receiver: str) -> ColumnElement[bool]:
    return and_(col(Delivery.incident_id) == incident, col(Delivery.receiver) == receiver)

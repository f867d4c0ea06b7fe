"""What people on call do: acknowledge, resolve, silence, drive dead deliveries again."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Session, col, select

from tocsin.events.errors import Conflict
from tocsin.notifiers.act import Act, Resolve, Silence
from tocsin.notifiers.acts import act
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.routing_tables import SilenceRow
from tocsin.server.oncall import incident_row
from tocsin.server.oncall_views import IncidentView
from tocsin.server.routing import SilenceView, silence_view


def do(session: Session, incident: UUID, wanted: Act, now: datetime) -> IncidentView:
    """The incident after what a person has done. Done already, nothing changes.

    Raises NotFound, and Conflict for one that is over, unless it is to be resolved.
    """
    _check(session, incident, wanted)
    return IncidentView.model_validate(act(session, incident, wanted, now))


def silence(session: Session, incident: UUID, wanted: Silence, now: datetime) -> SilenceView:
    """The silence over the incident's group. Raises NotFound, Conflict for one that is over, and Invalid."""
    _check(session, incident, wanted)
    act(session, incident, wanted, now)
    newest = select(SilenceRow).where(SilenceRow.ends > now).order_by(col(SilenceRow.created).desc()).limit(1)
    return silence_view(session.exec(newest).one(), now)


def _check(session: Session, incident: UUID, wanted: Act) -> None:
    row = incident_row(session, incident)
    if row.state == "told":
        raise Conflict(f"incident {incident} is news that nothing resolves; there is nothing to be done about it")
    if row.state not in LIVE and not isinstance(wanted, Resolve):
        raise Conflict(f"incident {incident} is {row.state} since {row.resolved:%Y-%m-%d %H:%M:%SZ}")

"""A storm: when too many incidents call one receiver within a minute, the rest are told as one.

The storm is an incident of its own, its alerts are the incidents it speaks for: there while they are, over when they
are. Nobody is told of those one by one, neither when they begin nor when they end.
"""

from datetime import datetime
from typing import Literal

from tocsin.events.chain import Cause
from tocsin.notifiers.alert import Alert, ToStorm
from tocsin.notifiers.tables import Incident
from tocsin.notifiers.view import read_severity


def echo(incident: Incident, receiver: str, now: datetime, *, over: bool = False) -> Alert:
    """What the storm of `receiver` hears of the incident: it is there, or it is over."""
    status: Literal["firing", "resolved"] = "resolved" if over else "firing"
    event = incident.resolved_by if over else incident.event_id
    return Alert(
        source=str(incident.id),
        identity=f"storm/{receiver}/{incident.id}",
        to=ToStorm(receiver),
        subject=incident.subject,
        event_id=event or incident.id,
        at=now,
        status=status,
        severity=read_severity(incident.severity),
        labels=incident.labels,
        cause=Cause(event, incident.depth, tuple(incident.chain.split("/")) if incident.chain else ()),
    )

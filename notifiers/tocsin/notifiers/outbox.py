"""The direct way to tell one notifier of something: put down in the caller's transaction.

Nothing is sent here. `tocsin.notifiers.dispatch` carries the rows out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlmodel import Session

from tocsin.events.chain import OUTSIDE, Cause
from tocsin.notifiers.alert import Alert, ToNotifier
from tocsin.notifiers.tables import Incident
from tocsin.notifiers.take import take
from tocsin.notifiers.view import read_severity


def notify(
    session: Session,
    *,
    notifier: str,
    incident_key: str,
    action: Literal["trigger", "resolve"],
    subject: str,
    body: str,
    severity: str,
    labels: Mapping[str, str],
    event_id: UUID,
    now: datetime,
    items: Sequence[str] = (),
    total: int | None = None,
    lasting: bool = True,
    cause: Cause = OUTSIDE,
) -> Incident | None:
    """Open, update or resolve the incident of `incident_key`, and put down what `notifier` must be told.

    The same key is one incident until it is resolved: a further trigger (another `event_id`) changes Slack's message
    and does not page again; the same `event_id` again, for this or another notifier, belongs to the same revision. A
    resolve is owed to everybody who was told, whichever notifier it names; it gives None when nothing is open. A key
    that fires and is over again and again is held open until it has been quiet for five minutes.
    With `lasting` false every event is an episode of its own that owes no resolve: use it for news that nothing will
    ever resolve. `items` (top 20 shown, `total` in truth) are the things it is about; `cause` tells which automations
    stand behind it. Raises NotFound for an unknown notifier, Invalid for an unknown severity.
    """
    alert = Alert(
        source=incident_key,
        identity=incident_key,
        to=ToNotifier(notifier),
        subject=subject,
        event_id=event_id,
        at=now,
        status="firing" if action == "trigger" else "resolved",
        body=body,
        severity=read_severity(severity),
        labels=dict(labels),
        items=tuple(items),
        total=total or 0,
        lasting=lasting,
        cause=cause,
    )
    [incidents] = take(session, [alert], now)
    return incidents[0] if incidents else None

"""What a notifier would send of an alert, exactly: placed, worded and rendered by the code that does so in earnest.

Nothing is written and nobody is told. Secrets are masked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID, uuid4

import msgspec
from msgspec.structs import replace
from sqlmodel import Session

from tocsin.events.clock import Clock
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import derive
from tocsin.notifiers.alert import Alert, ToNotifier, ToRoute
from tocsin.notifiers.bounds import bounded
from tocsin.notifiers.case import Moment
from tocsin.notifiers.episodes import case_of
from tocsin.notifiers.incident import advance
from tocsin.notifiers.judging import ended, fired
from tocsin.notifiers.opening import latest_of, live_of, row_of
from tocsin.notifiers.picture import alone, view_of
from tocsin.notifiers.placing import Placer, Spot
from tocsin.notifiers.redact import redact
from tocsin.notifiers.registry import unknown
from tocsin.notifiers.suppression import muted, suppressed
from tocsin.notifiers.tables import Incident, NotifierRow
from tocsin.notifiers.view import Severity, View, read_severity
from tocsin.notifiers.worlds import load_world

if TYPE_CHECKING:
    from tocsin.notifiers.channels import Channels


@dataclass(frozen=True)
class Previewed:
    """A message that would be sent. `body` is the channel's own JSON, secrets masked; `size` is that of the true one.

    `notes` say what would keep it from being sent, or make another one of it. Any: JSON.
    """

    notifier: str
    kind: str
    action: str
    route: str
    body: dict[str, Any]
    size: int
    minimal: bool = False
    automation: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Seen:
    """The view that a notifier would be shown, and what there is to say of that."""

    notifier: NotifierRow
    view: View
    notes: tuple[str, ...]


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An alert as somebody writes it for a preview; `route`: the name of the route that it comes by.

    Without a `severity` of its own it takes that of its labels, else error.
    """

    subject: str
    body: str = ""
    severity: Severity | None = None
    labels: dict[str, str] = {}
    items: tuple[str, ...] = ()
    total: int = 0
    status: Literal["firing", "resolved"] = "firing"
    lasting: bool = True
    route: str = ""


def read_sample(document: bytes, notifier: str, now: datetime) -> Alert:
    """The alert in the JSON of a `Sample`. Raises Invalid with the field."""
    try:
        sample = msgspec.json.decode(document, type=Sample)
    except msgspec.MsgspecError as error:
        raise Invalid(f"the alert: {error}; it is an object such as " + '{"subject": "etl failed"}') from error
    severity = sample.severity or read_severity(sample.labels.get("severity", "error"))
    return Alert(
        source="preview",
        identity=f"preview/{sample.subject}",
        to=ToRoute(sample.route) if sample.route else ToNotifier(notifier),
        subject=sample.subject,
        body=sample.body,
        severity=severity,
        labels={"alertname": "preview", **sample.labels, "severity": severity},
        items=sample.items,
        total=sample.total,
        status=sample.status,
        lasting=sample.lasting,
        event_id=uuid4(),
        at=now,
    )


def see(session: Session, name: str, alert: Alert, now: datetime) -> Seen | None:
    """The first word of an incident with this alert alone to the notifier; None when the alert does not come to it.

    Raises NotFound for an unknown notifier or route.
    """
    row = session.get(NotifierRow, name)
    if row is None:
        raise NotFound(unknown(session, name))
    alert = bounded(alert)
    for spot in Placer(session).place(alert):
        called = {receiver for _, step in spot.node.escalation for receiver in step}
        if name in spot.node.receivers:
            return Seen(row, _view(session, spot, alert, name, now), _notes(session, spot, alert, now))
        if name in called:
            note = f"{spot.node.path} tells it by escalation only"
            return Seen(row, _view(session, spot, alert, name, now), (note, *_notes(session, spot, alert, now)))
    return None


async def rendered(seen: Sequence[Seen], clock: Clock, *, minimal: bool = False) -> list[Previewed]:
    """The messages that the channels make of these views. Raises Invalid for a notifier that cannot be read."""
    from tocsin.notifiers.channels import Channels  # a server that previews nothing does without their libraries

    channels = Channels(clock)
    try:
        return [await _rendered(channels, one, minimal) for one in seen]
    finally:
        await channels.close()


async def _rendered(channels: "Channels", seen: Seen, minimal: bool) -> Previewed:
    channel = await channels.get(seen.notifier)
    message = channel.render(seen.view, minimal=minimal)
    return Previewed(
        notifier=seen.notifier.name,
        kind=seen.notifier.kind,
        action=seen.view.action,
        route=seen.view.route,
        body=masked(message.body),
        size=len(msgspec.json.encode(message.body)),
        minimal=minimal,
        notes=list(seen.notes),
    )


def masked(value: Any) -> Any:  # Any: JSON in, the same JSON out
    """The JSON without any secret that this process knows."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {redact(name): masked(one) for name, one in value.items()}
        case list() | tuple():
            return [masked(one) for one in value]
        case _:
            return value


def _view(session: Session, spot: Spot, alert: Alert, name: str, now: datetime) -> View:
    incident = Incident(**row_of(spot, alert, latest_of(session, [spot.key_id]).get(spot.key_id), now))
    told = now + timedelta(seconds=spot.node.group_wait_s)
    firing = int(alert.lasting)
    moment = Moment(now=told, firing=firing, severity=alert.severity, news=True)
    case = advance(case_of(incident), spot.node, moment).case
    place = incident.id, alert.fingerprint
    line = fired(None, replace(alert, status="firing"), place, spot.receiver, spot.node.receivers).line
    assert line is not None
    if alert.status == "resolved":
        case = replace(case, state="resolved", revision=case.revision + 1)
        line = ended(line, alert, direct=spot.receiver is not None).line or line
    delivery = derive("delivery", incident.id, name, case.revision)
    action: Literal["trigger", "resolve"] = "trigger" if alert.status == "firing" else "resolve"
    return view_of(delivery, incident, case, spot.node, alone(line), name, action, case.revision, told)


def _notes(session: Session, spot: Spot, alert: Alert, now: datetime) -> tuple[str, ...]:
    found = []
    if reason := suppressed(alert.labels, load_world(session, now), now) or muted(spot.node, now):
        found.append(f"it would not be sent now: {reason.text}")
    if spot.node.group_wait_s and alert.status == "firing":
        found.append(f"it would be sent after {spot.node.group_wait_s:g} s, together with what comes meanwhile")
    if live := live_of(session, [spot.key_id]).get(spot.key_id):
        found.append(f"its group has an open incident, {_short(live)}: it would be news of that one")
    return tuple(found)


def _short(incident: UUID) -> str:
    return str(incident)[:8]

"""What an incident looks like at this moment: its texts, its alerts that fire, and the view of one receiver."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, assert_never
from uuid import UUID

from sqlmodel import Session, col, func, select

from tocsin.notifiers import lines
from tocsin.notifiers.case import Case
from tocsin.notifiers.line import Line
from tocsin.notifiers.node import DIRECT, STORM, Node
from tocsin.notifiers.tables import AlertRow, Incident
from tocsin.notifiers.view import Action, Severity, View

SHOWN: Final = 50
COUNTED: Final = 2_000

Shown = Literal["open", "acknowledged", "resolved"]


@dataclass(frozen=True, slots=True)
class Picture:
    """What there is to show. `words` are those of single receivers, of the event `event`.

    `muted` alerts are left out; `again` is when to look whether they still have to be.
    """

    subject: str
    body: str
    labels: dict[str, str]
    items: tuple[str, ...] = ()
    total: int = 0
    muted: int = 0
    again: datetime | None = None
    words: dict[str, tuple[UUID, str, str]] = field(default_factory=dict)
    event: UUID | None = None


def picture(
    session: Session,
    incident: Incident,
    listed: Sequence[Line] | None = None,
    muted: int = 0,
    again: datetime | None = None,
) -> Picture:
    """The incident as it is now. `listed` are its newest alerts, `muted` of them left out (none given: look)."""
    if incident.route == DIRECT:
        return alone(lines.some(session, incident.id, 1)[0])
    shown = lines.newest(session, incident.id, SHOWN) if listed is None else listed
    if not shown:
        shown = lines.some(session, incident.id, 2)
        return alone(shown[0]) if len(shown) == 1 else Picture(incident.subject, "", incident.grouped)
    if incident.firing <= 1 and len(shown) == 1:
        return alone(shown[0])
    items = tuple(line.subject for line in shown)
    body = _storm_body(session, incident) if incident.route == STORM else _body(session, incident.id)
    labels = {**_common(shown), **incident.grouped}
    return Picture(_title(incident), body, labels, items, incident.firing - muted, muted, again)


def view_of(
    id: UUID,  # noqa: A002 - it is the delivery's id
    incident: Incident,
    case: Case,
    node: Node,
    shown: Picture,
    receiver: str,
    action: Action,
    revision: int,
    now: datetime,
) -> View:
    """What `receiver` is shown."""
    event, subject, body = shown.words.get(receiver, (None, "", ""))
    own = event is not None and event == shown.event
    return View(
        delivery=id,
        incident=incident.id,
        dedup_key=incident.dedup_key,
        revision=revision,
        action=action,
        severity=case.severity,
        subject=subject if own else shown.subject,
        body=body if own else shown.body,
        labels=shown.labels,
        items=shown.items,
        total=shown.total,
        opened=incident.opened,
        at=now,
        route=incident.route,
        state=_state(case),
        acked_by=case.acked_by,
        flapping=case.flapping,
        muted=shown.muted,
        level=case.rounds * len(node.escalation) + case.level,
        lasting=incident.lasting,
    )


def alone(line: Line) -> Picture:
    """An incident of one alert: it looks like that alert."""
    event = line.ended_by if line.status == "resolved" else line.event_id
    return Picture(line.subject, line.body, line.labels, line.items, line.total, words=line.words, event=event)


def _title(incident: Incident) -> str:
    if incident.route == STORM:
        return f"Storm: {incident.firing:,} incidents for {incident.grouped.get('receiver', '')}"
    about = ", ".join(f"{name}={value}" for name, value in sorted(incident.grouped.items()))
    return f"{incident.firing:,} alerts: {about or incident.route}"


def _body(session: Session, incident: UUID) -> str:
    """How many of each severity, the gravest first."""
    firing = col(AlertRow.incident_id) == incident, col(AlertRow.status) == "firing"
    counted = select(AlertRow.severity, func.count()).where(*firing).group_by(col(AlertRow.severity))
    counts: dict[str, int] = dict(session.exec(counted).all())
    grave: tuple[Severity, ...] = ("critical", "error", "warning", "info")
    return ", ".join(f"{counts[severity]:,} {severity}" for severity in grave if severity in counts)


def _storm_body(session: Session, incident: Incident) -> str:
    """The severities, and which rules are behind it."""
    newest = lines.newest(session, incident.id, COUNTED)
    counts = Counter(line.labels.get("alertname", "") for line in newest)
    behind = [f"{count:,} × {name}" for name, count in counts.most_common(10) if name]
    more = [f"and {len(counts) - 10:,} more rules"] if len(counts) > 10 else []
    return "\n".join([_body(session, incident.id), *behind, *more])


def _common(shown: Sequence[Line]) -> dict[str, str]:
    """The labels that all of them share."""
    first, *rest = shown
    return {name: value for name, value in first.labels.items() if all(r.labels.get(name) == value for r in rest)}


def _state(case: Case) -> Shown:
    match case.state:
        case "acknowledged":
            return "acknowledged"
        case "settling":
            return case.was
        case "resolved" | "dropped":
            return "resolved"
        case "waiting" | "open" | "told":
            return "open"
        case _ as never:
            assert_never(never)

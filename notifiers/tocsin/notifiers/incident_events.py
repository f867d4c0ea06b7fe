"""The events by which incidents and deliveries tell of themselves."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tocsin.events.clock import micros
from tocsin.events.ids import derive
from tocsin.events.model import CHAIN, DEPTH, RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event
from tocsin.notifiers.past import Origin, Standing
from tocsin.notifiers.tables import Delivery, Incident

_ONCE: Final = frozenset({"opened", "dropped", "resolved"})


def event_of(incident: Incident, name: str, payload: Mapping[str, Any], now: datetime) -> Event:
    """`tocsin.incident.<name>`, of what the incident is now. Any: JSON."""
    more: dict[str, Any] = {}  # Any: JSON
    if name == "opened":
        more = {"subject": incident.subject, "lasting": incident.lasting}
    elif name in ("resolved", "dropped"):
        more = {"open_s": (now - incident.opened).total_seconds()}
    once = () if name in _ONCE else (incident.revision, micros(now), payload.get("level"))
    return Event(
        id=derive("incident-event", incident.id, name, *once),
        occurred=now,
        event=f"tocsin.incident.{name}",
        resource=_incident_labels(incident),
        payload={**_about(incident), **more, **payload},
        follows=incident.resolved_by if name == "resolved" else incident.event_id,
    )


def _about(incident: Incident) -> dict[str, Any]:  # Any: JSON
    about = {"key": incident.key, "episode": incident.episode, "severity": incident.severity}
    return {**about, "route": incident.route, "firing": incident.firing} if incident.route else about


def ended(delivery: Delivery | Standing, incident: Incident | Origin, attempt: UUID) -> Event:
    """`tocsin.delivery.delivered` or `.dead`, when an attempt has brought the delivery there."""
    payload: dict[str, Any] = {  # Any: JSON
        "receiver": delivery.receiver,
        "action": delivery.action,
        "revision": delivery.revision,
        "tries": delivery.tries,
        "waited_s": (delivery.updated - delivery.since).total_seconds(),
    }
    if delivery.reason:
        payload["reason"] = delivery.reason
    return Event(
        id=derive("delivery-event", attempt),
        occurred=delivery.updated,
        event=f"tocsin.delivery.{delivery.state}",
        resource={
            RESOURCE_ID: f"tocsin.delivery.{delivery.id}",
            RESOURCE_NAME: delivery.receiver,
            **_chain(incident),
        },
        related=[
            {**_incident_labels(incident), RESOURCE_ROLE: "incident"},
            {RESOURCE_ID: f"tocsin.notifier.{delivery.receiver}", RESOURCE_ROLE: "notifier"},
        ],
        payload=payload,
        follows=incident.resolved_by if delivery.action == "resolve" else incident.event_id,
    )


def _incident_labels(incident: Incident | Origin) -> dict[str, str]:
    return {
        RESOURCE_ID: f"tocsin.incident.{incident.id}",
        RESOURCE_NAME: incident.key,
        "tocsin.severity": incident.severity,
        **_chain(incident),
    }


def _chain(incident: Incident | Origin) -> dict[str, str]:
    """Which automations stand behind the incident."""
    depth = {DEPTH: str(incident.depth)} if incident.depth else {}
    return {**depth, CHAIN: incident.chain} if incident.chain else depth

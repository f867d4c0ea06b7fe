"""The events by which incidents and deliveries tell of themselves."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from tocsin.events.ids import derive
from tocsin.events.model import CHAIN, DEPTH, RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event
from tocsin.notifiers.tables import Delivery, Incident


def opened(incident: Incident) -> Event:
    """`tocsin.incident.opened`."""
    payload = {"key": incident.key, "episode": incident.episode, "severity": incident.severity}
    return Event(
        id=derive("incident-event", incident.id, "opened"),
        occurred=incident.opened,
        event="tocsin.incident.opened",
        resource=_incident_labels(incident),
        payload={**payload, "subject": incident.subject, "lasting": incident.lasting},
        follows=incident.event_id,
    )


def resolved(incident: Incident, owed: Sequence[str], spared: Sequence[str]) -> Event:
    """`tocsin.incident.resolved`: who will be told of it, and to whom it was over before they were told."""
    return Event(
        id=derive("incident-event", incident.id, "resolved"),
        occurred=incident.updated,
        event="tocsin.incident.resolved",
        resource=_incident_labels(incident),
        payload={
            "key": incident.key,
            "episode": incident.episode,
            "open_s": (incident.updated - incident.opened).total_seconds(),
            "told": list(owed),
            "over_before_told": list(spared),
        },
        follows=incident.resolved_by,
    )


def ended(delivery: Delivery, incident: Incident, attempt: UUID) -> Event:
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


def _incident_labels(incident: Incident) -> dict[str, str]:
    return {
        RESOURCE_ID: f"tocsin.incident.{incident.id}",
        RESOURCE_NAME: incident.key,
        "tocsin.severity": incident.severity,
        **_chain(incident),
    }


def _chain(incident: Incident) -> dict[str, str]:
    """Which automations stand behind the incident."""
    depth = {DEPTH: str(incident.depth)} if incident.depth else {}
    return {**depth, CHAIN: incident.chain} if incident.chain else depth

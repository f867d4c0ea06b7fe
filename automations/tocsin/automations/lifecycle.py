"""What automations report of themselves: events, so that others may hear of it and act."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from tocsin.automations.plan import Invocation
from tocsin.events.codec import encode
from tocsin.events.errors import BadEvent
from tocsin.events.ids import derive
from tocsin.events.model import DEPTH, RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event
from tocsin.triggers.window import Firing

AUTOMATION: Final = "tocsin.automation"
SHOWN_BYTES: Final = 64_000
"""A larger triggering event is told of by its id only."""

Labels = dict[str, str]
# Any, below: JSON payloads.


def changed(name: str, verb: Literal["created", "updated", "deleted"], digest: str, now: datetime) -> Event:
    """`tocsin.automation.created`, `.updated` or `.deleted`."""
    return Event(
        event=f"{AUTOMATION}.{verb}",
        occurred=now,
        resource=_resource(name),
        payload={"digest": digest},
    )


def fired(firing: Firing) -> Event:
    """`tocsin.automation.triggered` or `.resolved`; its id is the firing's own. Raises `BadEvent` for one too large."""
    told = _fired(firing, _shown(firing.event))
    try:
        encode(told)
    except BadEvent:  # the triggering event fits the limits alone, but not inside another one
        told = _fired(firing, _briefly(firing.event))
        encode(told)
    return told


def _fired(firing: Firing, shown: dict[str, Any]) -> Event:
    cause = firing.event
    return Event(
        id=fired_id(firing.id),
        event=f"{AUTOMATION}.{firing.state.lower()}",
        occurred=firing.at,
        resource={**_resource(firing.automation, cause.depth + 1), "tocsin.posture": "Reactive"},
        related=[_event_label(cause.id, "triggering-event"), *_target(cause.resource)],
        payload={
            "firing": str(firing.id),
            "episode": str(firing.episode),
            "triggering_labels": firing.labels,
            "count": firing.count,
            "triggering_event": shown,
        },
        follows=cause.id,
    )


def fired_id(firing: UUID) -> UUID:
    """Id of the event that tells of a firing."""
    return derive("fired", firing)


def outcome(
    invocation: Invocation, verb: Literal["executed", "failed"], now: datetime, details: dict[str, Any]
) -> Event:
    """`tocsin.automation.action.executed` or `.failed`; `details` go into the payload (`reason`, `status_code` …)."""
    cause = invocation.cause
    return Event(
        id=derive("outcome", invocation.id),
        event=f"{AUTOMATION}.action.{verb}",
        occurred=now,
        resource=_resource(invocation.automation, cause["depth"] + 1),
        related=[
            _event_label(cause["event"], "triggering-event"),
            _event_label(fired_id(invocation.firing), "automation-triggered-event"),
            *_target({RESOURCE_ID: cause["resource"]}),
            *details.pop("related", []),
        ],
        payload={
            "action_index": invocation.position,
            "action_type": invocation.action,
            "invocation": str(invocation.id),
            **details,
        },
        follows=UUID(cause["event"]),
    )


def _resource(name: str, depth: int = 0) -> Labels:
    labels = {RESOURCE_ID: f"{AUTOMATION}.{name}", RESOURCE_NAME: name}
    return {**labels, DEPTH: str(depth)} if depth else labels


def _event_label(identity: object, role: str) -> Labels:
    return {RESOURCE_ID: f"tocsin.event.{identity}", RESOURCE_ROLE: role}


def _target(labels: Labels) -> list[Labels]:
    """The resource that the triggering event is about."""
    named = {name: labels[name] for name in (RESOURCE_ID, RESOURCE_NAME) if name in labels}
    return [{**named, RESOURCE_ROLE: "target"}]


def _briefly(event: Event) -> dict[str, Any]:
    return {"id": str(event.id), "event": event.event, "resource": {RESOURCE_ID: event.resource_id}}


def _shown(event: Event) -> dict[str, Any]:
    encoded = msgspec.json.encode(event)
    if len(encoded) > SHOWN_BYTES:
        return _briefly(event)
    plain: dict[str, Any] = msgspec.json.decode(encoded)
    return plain

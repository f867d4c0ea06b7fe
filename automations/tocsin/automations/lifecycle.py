"""What automations report of themselves: events, so that others may hear of it and act."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from tocsin.automations.context import posture
from tocsin.automations.invocation import REPLAY, Invocation, fired_id
from tocsin.events.chain import OUTSIDE, Cause
from tocsin.events.codec import encode
from tocsin.events.errors import BadEvent
from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event
from tocsin.triggers.steps import Firing

AUTOMATION: Final = "tocsin.automation"
SHOWN_BYTES: Final = 64_000
"""A larger triggering event is told of by its id only."""

Labels = dict[str, str]
# Any, below: JSON payloads.


def changed(
    name: str, verb: Literal["created", "updated", "deleted"], digest: str, now: datetime, cause: Cause = OUTSIDE
) -> Event:
    """`tocsin.automation.created`, `.updated` or `.deleted`."""
    return Event(
        id=cause.identity("automation", verb, name),
        event=f"{AUTOMATION}.{verb}",
        occurred=now,
        resource={**_resource(name), **cause.labels},
        payload={"digest": digest},
        follows=cause.event,
    )


def paused(name: str, reason: str, now: datetime) -> Event:
    """`tocsin.automation.paused`: the loop guard has switched it off; the payload names the way back."""
    back = f"tocsin automation enable {name}"
    return Event(
        event=f"{AUTOMATION}.paused",
        occurred=now,
        resource=_resource(name),
        payload={"reason": reason, "way_back": back},
    )


def fired(firing: Firing) -> Event:
    """`tocsin.automation.triggered` or `.resolved`; its id is the firing's own. Raises `BadEvent` for one too large."""
    told = _fired(firing, _shown(firing.about))
    try:
        encode(told)
    except BadEvent:  # the triggering event fits the limits alone, but not inside another one
        told = _fired(firing, _briefly(firing.about))
        encode(told)
    return told


def _fired(firing: Firing, shown: dict[str, Any] | None) -> Event:
    about, event = firing.about, firing.event
    chain = Cause(depth=1 + (about.depth if about else 0), path=(*(about.chain if about else ()), firing.automation))
    cause = [_event_label(event.id, "triggering-event")] if event is not None else []
    return Event(
        id=fired_id(firing.id),
        event=f"{AUTOMATION}.{firing.state.lower()}",
        occurred=firing.at,
        resource={**_resource(firing.automation), **chain.labels, "tocsin.posture": posture(firing)},
        related=[*cause, *(_target(about.resource) if about is not None else [])],
        payload={
            "firing": str(firing.id),
            "episode": str(firing.episode),
            "triggering_labels": firing.labels,
            "count": firing.count,
            "triggering_event" if event is not None else "last_event": shown,
        },
        follows=event.id if event is not None else None,
    )


def outcome(
    invocation: Invocation, verb: Literal["executed", "failed"], now: datetime, details: dict[str, Any]
) -> Event:
    """`tocsin.automation.action.executed` or `.failed`; `details` go into the payload (`reason`, `status_code` …).

    It follows the event that made the automation fire; after a deadline, the event that tells of the firing.
    """
    cause, behind = invocation.cause, invocation.behind
    payload = {name: value for name, value in details.items() if name != "related"}
    return Event(
        id=derive("outcome", invocation.id),
        event=f"{AUTOMATION}.action.{verb}",
        occurred=now,
        resource={**_resource(invocation.automation), **behind.labels},
        related=[
            *([_event_label(cause["event"], "triggering-event")] if cause["event"] else []),
            _event_label(fired_id(invocation.firing), "automation-triggered-event"),
            *(_target({RESOURCE_ID: cause["resource"]}) if cause["resource"] else []),
            *details.get("related", []),
        ],
        payload={
            "action_index": invocation.position,
            "action_type": invocation.action,
            "invocation": str(invocation.id),
            **({REPLAY: True} if REPLAY in cause else {}),
            **payload,
        },
        follows=behind.event,
    )


def _resource(name: str) -> Labels:
    return {RESOURCE_ID: f"{AUTOMATION}.{name}", RESOURCE_NAME: name}


def _event_label(identity: UUID | str, role: str) -> Labels:
    return {RESOURCE_ID: f"tocsin.event.{identity}", RESOURCE_ROLE: role}


def _target(labels: Labels) -> list[Labels]:
    """The resource that the triggering event is about."""
    named = {name: labels[name] for name in (RESOURCE_ID, RESOURCE_NAME) if name in labels}
    return [{**named, RESOURCE_ROLE: "target"}]


def _briefly(event: Event | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {"id": str(event.id), "event": event.event, "resource": {RESOURCE_ID: event.resource_id}}


def _shown(event: Event | None) -> dict[str, Any] | None:
    if event is None:
        return None
    encoded = msgspec.json.encode(event)
    if len(encoded) > SHOWN_BYTES:
        return _briefly(event)
    plain: dict[str, Any] = msgspec.json.decode(encoded)
    return plain

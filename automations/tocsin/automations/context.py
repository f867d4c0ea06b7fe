"""What templates see of an event and a firing: plain objects."""

from typing import Any, Final

from tocsin.automations.model import Automation
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.triggers.window import Firing

# Any, in this file: JSON objects for templates.

_FLOW_RUN: Final = "tocsin.flow-run."
_OURS: Final = "tocsin.resource."
_PREFECT: Final = "prefect.resource."


def template_context(automation: Automation, firing: Firing) -> dict[str, Any]:
    """`event`, `firing`, `automation`, `labels`, and of a flow run's event `flow_run`, `flow` and `deployment`."""
    event = firing.event
    return {
        "event": _event(event),
        "firing": _firing(firing),
        "automation": {
            "name": automation.name,
            "description": automation.description,
            "tags": list(automation.tags),
            "severity": automation.severity,
        },
        "labels": firing.labels,
        "flow_run": flow_run(event),
        "flow": _related(event, "flow"),
        "deployment": _related(event, "deployment"),
    }


def flow_run(event: Event) -> dict[str, Any]:
    """The flow run that `event` is about or related to, as far as the event tells; {} without one."""
    labels = _flow_run_labels(event)
    if labels is None:
        return {}
    return {
        "id": labels[RESOURCE_ID].removeprefix(_FLOW_RUN),
        "name": labels.get(RESOURCE_NAME, ""),
        "state_name": labels.get("tocsin.state-name", ""),
        "state_type": labels.get("tocsin.state-type", ""),
        "message": labels.get("tocsin.state-message", ""),
        "state": {
            "name": labels.get("tocsin.state-name", ""),
            "type": labels.get("tocsin.state-type", ""),
            "message": labels.get("tocsin.state-message", ""),
        },
        "attempt": attempt(event),
        "parameters": event.payload.get("parameters", {}),
    }


def flow_run_id(event: Event) -> str | None:
    """The id of the flow run that `event` is about, else of the one it is related to."""
    labels = _flow_run_labels(event)
    return labels[RESOURCE_ID].removeprefix(_FLOW_RUN) if labels is not None else None


def deployment_name(event: Event) -> str | None:
    """The deployment that `event` is about, else the one it is related to."""
    for labels in (event.resource, *event.related_as("deployment")):
        if labels[RESOURCE_ID].startswith("tocsin.deployment."):
            return labels[RESOURCE_ID].removeprefix("tocsin.deployment.")
    return None


def attempt(event: Event) -> int:
    """Which attempt of the run the event tells of, from 1."""
    text = event.resource.get("tocsin.run-count", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def shown_name(event: Event) -> str:
    """What people call the event's resource."""
    return event.resource.get(RESOURCE_NAME) or event.resource_id


def _flow_run_labels(event: Event) -> dict[str, str] | None:
    candidates = (event.resource, *event.related_as("flow-run"))
    return next((labels for labels in candidates if labels[RESOURCE_ID].startswith(_FLOW_RUN)), None)


def _event(event: Event) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "occurred": event.occurred.isoformat(),
        "event": event.event,
        "resource": _resource(event.resource),
        "related": [_resource(labels) for labels in event.related],
        "payload": event.payload,
        "follows": str(event.follows) if event.follows else None,
    }


def _firing(firing: Firing) -> dict[str, Any]:
    return {
        "id": str(firing.id),
        "state": firing.state,
        "at": firing.at.isoformat(),
        "count": firing.count,
        "key": list(firing.key),
        "episode": str(firing.episode),
    }


def _related(event: Event, role: str) -> dict[str, Any]:
    labels = next(event.related_as(role), None)
    return _resource(labels) if labels is not None else {}


def _resource(labels: dict[str, str]) -> dict[str, str]:
    """The labels, also under the names that Prefect's templates use: `id`, `name`, `prefect.resource.…`."""
    theirs = {f"{_PREFECT}{name.removeprefix(_OURS)}": text for name, text in labels.items() if name.startswith(_OURS)}
    return {"id": labels.get(RESOURCE_ID, ""), "name": labels.get(RESOURCE_NAME, ""), **theirs, **labels}

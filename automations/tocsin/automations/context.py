"""What templates see of an event and a firing: plain objects."""

from typing import Any, Final

from tocsin.automations.model import Automation
from tocsin.automations.targets import Things, attempt, name_of
from tocsin.events.clock import instant
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.triggers.steps import Firing, Part

# Any, in this file: JSON objects for templates.

_OURS: Final = "tocsin.resource."
_PREFECT: Final = "prefect.resource."
THINGS: Final = {
    "flow": "flow",
    "deployment": "deployment",
    "task_run": "task-run",
    "work_pool": "work-pool",
    "work_queue": "work-queue",
    "schedule": "schedule",
}
"""Names in templates of what a firing is about, and the kind of resource that each stands for."""


def template_context(automation: Automation, firing: Firing, found: Things) -> dict[str, Any]:
    """`automation`, `event`, `events`, `firing`, `firings`, `labels`, and `flow_run`, `flow`, `deployment` … of
    what the firing is about (`found`). What there is not, is an empty object.

    The event of a deadline is the last one known under the key, without its payload.
    """
    event = shown_event(firing.about) if firing.about is not None else {}
    return {
        "automation": {
            "name": automation.name,
            "description": automation.description,
            "tags": list(automation.tags),
            "severity": automation.severity,
        },
        "event": event,
        "events": _events(firing, event),
        "firing": _firing(firing),
        "firings": [_part(part) for part in firing.children] or [_firing(firing)],
        "labels": firing.labels,
        "flow_run": _flow_run(firing, found),
        **{name: _thing(kind, found) for name, kind in THINGS.items()},
    }


def shown_event(event: Event) -> dict[str, Any]:
    """The event as a plain object, its resources also under Prefect's label names."""
    return {
        "id": str(event.id),
        "occurred": event.occurred.isoformat(),
        "event": event.event,
        "resource": _resource(event.resource),
        "related": [_resource(labels) for labels in event.related],
        "payload": event.payload,
        "follows": str(event.follows) if event.follows else None,
    }


def _events(firing: Firing, event: dict[str, Any]) -> list[dict[str, Any]]:
    """The events that it took, as far as the firing names them: the one at hand whole, any other by its id."""
    parts = [str(part.event) for part in _leaves(firing.children) if part.event]
    if not parts:
        return [event] if firing.event is not None else []
    return [event if event.get("id") == identity else {"id": identity} for identity in parts]


def _leaves(parts: tuple[Part, ...]) -> list[Part]:
    return [leaf for part in parts for leaf in (_leaves(part.children) if part.children else [part])]


def _firing(firing: Firing) -> dict[str, Any]:
    return {
        "id": str(firing.id),
        "state": firing.state,
        "posture": posture(firing),
        "at": firing.at.isoformat(),
        "count": firing.count,
        "key": list(firing.key),
        "episode": str(firing.episode),
        "late": firing.late,
        "children": [_part(part) for part in firing.children],
    }


def posture(firing: Firing) -> str:
    """`Reactive` when an event made it fire, `Proactive` when a deadline did."""
    return "Reactive" if firing.event is not None else "Proactive"


def _part(part: Part) -> dict[str, Any]:
    return {
        "trigger": part.trigger,
        "at": instant(part.at).isoformat(),
        "event": str(part.event) if part.event else None,
        "count": part.count,
        "children": [_part(child) for child in part.children],
    }


def _flow_run(firing: Firing, found: Things) -> dict[str, Any]:
    """The flow run that the firing is about, as far as the event tells; {} without one."""
    labels = found.get("flow-run")
    if labels is None:
        return {}
    state = {name: labels.get(f"tocsin.state-{name}", "") for name in ("name", "type", "message")}
    return {
        "id": name_of("flow-run", found),
        "name": labels.get(RESOURCE_NAME, ""),
        "state_name": state["name"],
        "state_type": state["type"],
        "message": state["message"],
        "state": state,
        "attempt": attempt(found),
        "parameters": firing.about.payload.get("parameters", {}) if firing.about is not None else {},
    }


def _thing(kind: str, found: Things) -> dict[str, Any]:
    name = name_of(kind, found)
    return _resource({RESOURCE_NAME: name, **found[kind]}) if name is not None else {}


def _resource(labels: dict[str, str]) -> dict[str, str]:
    """The labels, also under the names that Prefect's templates use: `id`, `name`, `prefect.resource.…`."""
    theirs = {f"{_PREFECT}{name.removeprefix(_OURS)}": text for name, text in labels.items() if name.startswith(_OURS)}
    return {"id": labels.get(RESOURCE_ID, ""), "name": labels.get(RESOURCE_NAME, ""), **theirs, **labels}

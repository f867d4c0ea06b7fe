"""How an incident reads to a program: the body of a generic webhook in the shape of Standard Webhooks. Pure."""

from typing import Any

from tocsin.notifiers.fit import clean, cut_json
from tocsin.notifiers.view import Action, Message, View, message_of

SUBJECT_BYTES = 4_000
BODY_BYTES = 64_000
LABELS = 200
VALUE_BYTES = 1_000
ITEMS = 100

_TYPES: dict[Action, str] = {
    "trigger": "opened",
    "update": "updated",
    "repeat": "repeated",
    "acknowledge": "acknowledged",
    "resolve": "resolved",
    "test": "test",
}


def render_webhook(view: View, *, minimal: bool) -> Message:
    """`{"type": "incident.opened", "timestamp": …, "data": {…}}`, under 512 KB; minimal: ids and subject only."""
    data: dict[str, Any] = {
        "incident": str(view.incident),
        "dedup_key": _short(view.dedup_key),
        "revision": view.revision,
        "state": "resolved" if view.over else view.state,
        "severity": view.severity,
        "subject": cut_json(clean(view.subject), SUBJECT_BYTES),
    }
    if not minimal:
        data |= _particulars(view)
    body = {"type": f"incident.{_TYPES[view.action]}", "timestamp": view.at.isoformat(), "data": data}
    return message_of(view, body, minimal)


def _particulars(view: View) -> dict[str, Any]:
    labels = sorted(view.labels.items())[:LABELS]
    return {
        "opened": view.opened.isoformat(),
        "route": cut_json(clean(view.route), VALUE_BYTES),
        "acknowledged_by": cut_json(clean(view.acked_by), VALUE_BYTES),
        "flapping": view.flapping,
        "silenced": view.muted,
        "escalation": view.level,
        "body": cut_json(clean(view.body), BODY_BYTES),
        "labels": {_short(name): _short(value) for name, value in labels},
        "labels_total": len(view.labels),
        "items": [_short(item) for item in view.items[:ITEMS]],
        "items_total": max(view.total, len(view.items)),
    }


def _short(text: str) -> str:
    return cut_json(clean(text), VALUE_BYTES)

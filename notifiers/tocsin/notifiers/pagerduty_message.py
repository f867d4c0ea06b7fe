"""How an incident reads in PagerDuty: an alert event of Events API v2, or a change event. Pure.

Limits: summary 1,024 code points, dedup_key 255, the whole body 512 KB. The body goes out as ASCII JSON, so it is
counted in escaped bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tocsin.notifiers.fit import ELLIPSIS, clean, cut, cut_json, line
from tocsin.notifiers.view import Action, Message, View, message_of

SUMMARY = 1_024
DEDUP_KEY = 255
SOURCE = 255
MINIMAL_SUMMARY = 200
DETAIL_BYTES = 60_000
LABELS = 100
LABEL_BYTES = 1_000
ITEMS = 50

_ACTIONS: dict[Action, str] = {
    "trigger": "trigger",
    "update": "trigger",
    "repeat": "trigger",
    "acknowledge": "acknowledge",
    "resolve": "resolve",
    "test": "trigger",
}


@dataclass(frozen=True, slots=True)
class Signature:
    """What every event of one notifier says of its sender: the block's own fields."""

    source: str
    client: str = ""
    client_url: str | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    images: Sequence[str] = ()


def render_pagerduty(view: View, by: Signature, *, minimal: bool) -> Message:
    """The Events v2 body for `view`, without the routing key: that is added on the way out.

    The payload is full on a resolve and an acknowledge too: event rules that look at it would drop a bare one.
    """
    body: dict[str, Any] = {
        "event_action": _ACTIONS[view.action],
        "dedup_key": cut(view.dedup_key, DEDUP_KEY),
        "payload": _minimal_payload(view, by.source) if minimal else _payload(view, by.source),
    }
    return message_of(view, body if minimal else body | _sender(by), minimal)


def render_change(view: View, by: Signature, *, minimal: bool) -> Message:
    """The body of a change event for `view`, without the routing key. It pages nobody and is never taken back."""
    payload: dict[str, Any] = {"summary": _summary(view, MINIMAL_SUMMARY if minimal else SUMMARY)}
    if not minimal:
        details = {"severity": view.severity, **_details(view)}
        payload |= {"source": _line(by.source, SOURCE), "timestamp": view.at.isoformat(), "custom_details": details}
    return message_of(view, {"payload": payload, **({} if minimal else _links(by))}, minimal)


def _sender(by: Signature) -> dict[str, Any]:
    url = {"client_url": by.client_url} if by.client_url else {}
    images = {"images": [{"src": image} for image in by.images]} if by.images else {}
    return {"client": cut(clean(by.client), SOURCE), **url, **_links(by), **images}


def _links(by: Signature) -> dict[str, Any]:
    return {"links": [{"href": href, "text": clean(text)} for text, href in by.links.items()]} if by.links else {}


def _minimal_payload(view: View, source: str) -> dict[str, Any]:
    return {"summary": _summary(view, MINIMAL_SUMMARY), "source": _line(source, SOURCE), "severity": view.severity}


def _payload(view: View, source: str) -> dict[str, Any]:
    return {
        "summary": _summary(view, SUMMARY),
        "source": _line(source, SOURCE),
        "severity": "info" if view.action == "test" else view.severity,
        "timestamp": view.at.isoformat(),
        "custom_details": _details(view),
    }


def _summary(view: View, limit: int) -> str:
    prefix = {"resolve": "Resolved: ", "acknowledge": "Acknowledged: ", "test": "Test: "}.get(view.action, "")
    return _line(prefix + view.subject, limit)


def _details(view: View) -> dict[str, Any]:
    details: dict[str, Any] = {
        "incident": str(view.incident),
        "revision": view.revision,
        "opened": view.opened.isoformat(),
        "body": cut_json(clean(view.body), DETAIL_BYTES),
        "labels": _labels(view.labels),
        **_standing(view),
    }
    if view.items:
        details["items"] = _items(view)
    return details


def _standing(view: View) -> dict[str, Any]:
    """How the incident stands, as far as it is not just open."""
    said: dict[str, Any] = {
        "route": cut(clean(view.route), SOURCE),
        "acknowledged_by": cut(clean(view.acked_by), SOURCE),
        "flapping": view.flapping,
        "silenced": view.muted,
        "escalation": view.level,
    }
    return {name: value for name, value in said.items() if value}


def _labels(labels: dict[str, str]) -> dict[str, str]:
    shown = {_short(name): _short(value) for name, value in sorted(labels.items())[:LABELS]}
    rest = len(labels) - min(len(labels), LABELS)
    return {**shown, "…": f"and {rest:,} more"} if rest else shown


def _items(view: View) -> list[str]:
    shown = [_short(item) for item in view.items[:ITEMS]]
    rest = max(view.total, len(view.items)) - len(shown)
    return [*shown, f"and {rest:,} more"] if rest else shown


def _short(text: str) -> str:
    return cut_json(clean(text), LABEL_BYTES)


def _line(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` code points, never empty: PagerDuty requires the field."""
    return line(text, limit) or ELLIPSIS

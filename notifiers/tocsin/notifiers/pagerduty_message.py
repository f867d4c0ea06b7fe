"""How an incident reads in PagerDuty: an event of Events API v2, every field inside its limit. Pure.

Limits: summary 1,024 code points, dedup_key 255, the whole body 512 KB. The body goes out as ASCII JSON, so it is
counted in escaped bytes.
"""

from typing import Any

from tocsin.notifiers.fit import ELLIPSIS, clean, cut, cut_json
from tocsin.notifiers.view import Action, Message, View

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


def render_pagerduty(view: View, *, source: str, client: str, client_url: str | None, minimal: bool) -> Message:
    """The Events v2 body for `view`, without the routing key: that is added on the way out.

    The payload is full on a resolve too: event rules that look at it would drop a bare one.
    """
    body: dict[str, Any] = {
        "event_action": _ACTIONS[view.action],
        "dedup_key": cut(view.dedup_key, DEDUP_KEY),
        "payload": _minimal_payload(view, source) if minimal else _payload(view, source),
    }
    if not minimal:
        body["client"] = cut(clean(client), SOURCE)
        if client_url:
            body["client_url"] = client_url
    return Message(
        delivery=view.delivery,
        incident=view.incident,
        action=view.action,
        since=view.opened,
        body=body,
        minimal=minimal,
    )


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
    prefix = {"resolve": "Resolved: ", "test": "Test: "}.get(view.action, "")
    return _line(prefix + view.subject, limit)


def _details(view: View) -> dict[str, Any]:
    details: dict[str, Any] = {
        "incident": str(view.incident),
        "revision": view.revision,
        "opened": view.opened.isoformat(),
        "body": cut_json(clean(view.body), DETAIL_BYTES),
        "labels": _labels(view.labels),
    }
    if view.items:
        details["items"] = _items(view)
    return details


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
    return cut(" ".join(clean(text[:20_000]).split()), limit) or ELLIPSIS

"""A stand-in for PagerDuty's Events API v2: it checks what PagerDuty checks, and keeps alerts as PagerDuty does.

A trigger opens an alert or joins the open one of its `dedup_key`; a resolve closes it; acknowledge and resolve without
an open alert are accepted and dropped.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import uuid4

from tocsin.notifiers.standins.loopback import Reply, Request, StandIn

ROUTING_KEY: Final = "51a9d0dba7e1f0000c0ffee000000001"
SEVERITIES: Final = ("critical", "error", "warning", "info")
ACTIONS: Final = ("trigger", "acknowledge", "resolve")
SUMMARY: Final = 1_024
DEDUP_KEY: Final = 255
BODY_BYTES: Final = 512 * 1024


@dataclass
class Alert:
    """An alert from its first trigger on; `log` has every event that touched it."""

    dedup_key: str
    routing_key: str
    summary: str
    severity: str
    state: Literal["triggered", "acknowledged", "resolved"] = "triggered"
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def triggers(self) -> int:
        """How many triggers it has taken; those after the first page nobody."""
        return sum(event["event_action"] == "trigger" for event in self.log)


class PagerDutyStandIn(StandIn):
    """PagerDuty on loopback: `url` goes into the notifier's `url`, `routing_key` is one that it takes."""

    def __init__(self, routing_key: str = ROUTING_KEY) -> None:
        self.routing_key = routing_key
        self.calls: list[dict[str, Any]] = []
        self.alerts: list[Alert] = []
        self.dropped: list[dict[str, Any]] = []
        super().__init__()

    @property
    def url(self) -> str:
        """The base URL of the Events API."""
        return self.address

    def answer(self, request: Request) -> Reply:
        """Take one event."""
        if request.path != "/v2/enqueue" or request.method != "POST":
            return Reply(404, "not found", "text/plain")
        if len(request.body) > BODY_BYTES:
            self.violations.append(f"a body of {len(request.body):,} bytes")
            return Reply(413, json.dumps({"status": "invalid event", "message": "payload too large"}))
        event = request.json()
        if wrong := check_event(event):
            self.violations.extend(wrong)
            return _invalid(wrong)
        if event["routing_key"] != self.routing_key:
            return _invalid(["Routing key is invalid"])
        event.setdefault("dedup_key", uuid4().hex)
        self.calls.append(event)
        self._apply(event)
        answer = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return Reply(202, json.dumps(answer))

    def refuse(self, word: str, request: Request) -> Reply:
        """400 with `word` among its errors."""
        return _invalid([word])

    def count(self, action: Literal["trigger", "acknowledge", "resolve"]) -> int:
        """How many events of this action were accepted."""
        return sum(event["event_action"] == action for event in self.calls)

    def _apply(self, event: dict[str, Any]) -> None:
        alert = next((a for a in self.alerts if a.dedup_key == event["dedup_key"] and a.state != "resolved"), None)
        match event["event_action"], alert:
            case "trigger", None:
                payload = event["payload"]
                alert = Alert(event["dedup_key"], event["routing_key"], payload["summary"], payload["severity"])
                self.alerts.append(alert)
            case _, None:
                self.dropped.append(event)
                return
            case "acknowledge", Alert():
                alert.state = "acknowledged"
            case "resolve", Alert():
                alert.state = "resolved"
        if alert is not None:
            alert.log.append(event)


def check_event(event: dict[str, Any]) -> list[str]:
    """What is wrong with an Events v2 body; nothing when PagerDuty would take it."""
    wrong = []
    if len(str(event.get("routing_key", ""))) != 32:
        wrong.append("'routing_key' has 32 characters")
    action = event.get("event_action")
    if action not in ACTIONS:
        wrong.append(f"'event_action' is one of {', '.join(ACTIONS)}")
    key = event.get("dedup_key")
    if action in ("acknowledge", "resolve") and not key:
        wrong.append("'dedup_key' is required")
    if key is not None and (not isinstance(key, str) or len(key) > DEDUP_KEY):
        wrong.append(f"'dedup_key' has at most {DEDUP_KEY} characters")
    if action == "trigger" or event.get("payload") is not None:
        wrong += _check_payload(event.get("payload"))
    wrong += [f"'{name}' is a list" for name in ("links", "images") if not isinstance(event.get(name, []), list)]
    return wrong


def _check_payload(payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing"]
    wrong = [f"'payload.{name}' is missing" for name in ("summary", "source", "severity") if not payload.get(name)]
    if len(str(payload.get("summary", ""))) > SUMMARY:
        wrong.append(f"'payload.summary' has at most {SUMMARY:,} characters")
    if payload.get("severity") not in SEVERITIES:
        wrong.append(f"'payload.severity' is one of {', '.join(SEVERITIES)}")
    if not isinstance(payload.get("custom_details", {}), dict):
        wrong.append("'payload.custom_details' is an object")
    if "timestamp" in payload and not _is_instant(payload["timestamp"]):
        wrong.append("'payload.timestamp' is an ISO 8601 instant")
    return wrong


def _is_instant(text: Any) -> bool:
    try:
        return datetime.fromisoformat(str(text)).tzinfo is not None
    except ValueError:
        return False


def _invalid(errors: list[str]) -> Reply:
    answer = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    return Reply(400, json.dumps(answer))

"""A stand-in for PagerDuty's Events API v2: it checks what PagerDuty checks, and keeps alerts as PagerDuty does.

A trigger opens an alert or joins the open one of its `dedup_key`; a resolve closes it; acknowledge and resolve without
an open alert are accepted and dropped. Change events are kept beside them. People act with `acknowledge(alert, by=…)`
and the like, which is posted to the webhook subscriptions, signed.
"""

import json
import time
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import uuid4

from tocsin.notifiers.standins import pagerduty_webhooks as webhooks
from tocsin.notifiers.standins.loopback import Reply, Request, StandIn

ROUTING_KEY: Final = "51a9d0dba7e1f0000c0ffee000000001"
WINDOW_S: Final = 60.0
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
    number: int = 1
    state: Literal["triggered", "acknowledged", "resolved"] = "triggered"
    acked_by: str | None = None
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def triggers(self) -> int:
        """How many triggers it has taken; those after the first page nobody."""
        return sum(event["event_action"] == "trigger" for event in self.log)


@dataclass(frozen=True)
class Subscription:
    """A v3 webhook subscription: where it posts, and the secret that signs."""

    url: str
    secret: str


class PagerDutyStandIn(StandIn):
    """PagerDuty on loopback: `url` goes into the notifier's `url`, `routing_key` is one that it takes.

    `per_minute` calls are taken in any 60 s, each more is answered 429 (None: no limit, as it begins). With
    `any_key` it takes every routing key, and limits each by itself.
    """

    def __init__(self, routing_key: str = ROUTING_KEY, *, per_minute: int | None = None, any_key: bool = False) -> None:
        self.routing_key, self.per_minute, self.any_key = routing_key, per_minute, any_key
        self.calls: list[dict[str, Any]] = []
        self.alerts: list[Alert] = []
        self.dropped: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.limited = 0
        self.subscriptions: list[Subscription] = []
        self.posted: list[tuple[dict[str, Any], int]] = []
        self._taken: dict[str, deque[float]] = defaultdict(deque)
        self._poster = ThreadPoolExecutor(1, thread_name_prefix="pagerduty-webhooks")
        super().__init__()

    @property
    def url(self) -> str:
        """The base URL of the Events API."""
        return self.address

    def close(self) -> None:
        """Stop answering and posting."""
        super().close()
        self._poster.shutdown(cancel_futures=True)

    def answer(self, request: Request) -> Reply:
        """Take one event."""
        checks = {"/v2/enqueue": check_event, "/v2/change/enqueue": check_change}
        if request.path not in checks or request.method != "POST":
            return Reply(404, "not found", "text/plain")
        if len(request.body) > BODY_BYTES:
            self.violations.append(f"a body of {len(request.body):,} bytes")
            return Reply(413, json.dumps({"status": "invalid event", "message": "payload too large"}))
        event = request.json()
        if wrong := checks[request.path](event):
            self.violations.extend(wrong)
            return _invalid(wrong)
        if not self.any_key and event["routing_key"] != self.routing_key:
            return _invalid(["Routing key is invalid"])
        if self._is_too_much(event["routing_key"]):
            return Reply(429, json.dumps({"status": "throttle exceeded", "message": "Requests for this service ..."}))
        return self._changed_by(event) if request.path == "/v2/change/enqueue" else self._alerted_by(event)

    def refuse(self, word: str, request: Request) -> Reply:
        """400 with `word` among its errors."""
        return _invalid([word])

    def count(self, action: Literal["trigger", "acknowledge", "resolve"]) -> int:
        """How many events of this action were accepted."""
        return sum(event["event_action"] == action for event in self.calls)

    def subscribe(self, url: str, secret: str) -> None:
        """Post to `url` what happens to incidents from now on, our own events among it, as PagerDuty does."""
        self.subscriptions.append(Subscription(url, secret))

    def acknowledge(self, alert: Alert, by: str = "Ada Lovelace", at: datetime | None = None) -> list[int]:
        """A person takes the alert; how each subscription answered."""
        alert.state, alert.acked_by = "acknowledged", by
        return self.tell("incident.acknowledged", alert, by=by, at=at)

    def unacknowledge(self, alert: Alert, by: str = "Ada Lovelace", at: datetime | None = None) -> list[int]:
        """The acknowledgement ends, by a person or by its time-out."""
        alert.state, alert.acked_by = "triggered", None
        return self.tell("incident.unacknowledged", alert, by=by, at=at)

    def resolve(self, alert: Alert, by: str = "Ada Lovelace", at: datetime | None = None) -> list[int]:
        """A person closes the alert."""
        alert.state = "resolved"
        return self.tell("incident.resolved", alert, by=by, at=at)

    def delegate(self, alert: Alert, by: str = "Ada Lovelace", at: datetime | None = None) -> list[int]:
        """A person hands it to another escalation policy, which pages anew."""
        alert.state, alert.acked_by = "triggered", None
        return self.tell("incident.delegated", alert, by=by, at=at)

    def ping(self) -> list[int]:
        """ "Send test event"."""
        return self._post_to_all(webhooks.ping(datetime.now(UTC)))

    def tell(
        self,
        event_type: str,
        alert: Alert,
        *,
        by: str,
        at: datetime | None = None,
        agent: str = webhooks.PERSON,
    ) -> list[int]:
        """Post one event about the alert to every subscription; how each answered."""
        return self._post_to_all(self.document(event_type, alert, by=by, at=at, agent=agent))

    def document(
        self, event_type: str, alert: Alert, *, by: str, at: datetime | None = None, agent: str = webhooks.PERSON
    ) -> dict[str, Any]:
        """What is posted about the alert."""
        return webhooks.incident_event(
            event_type,
            number=alert.number,
            key=alert.dedup_key,
            title=alert.summary,
            status=alert.state,
            by=by,
            agent=agent,
            at=at or datetime.now(UTC),
        )

    def _post_to_all(self, document: dict[str, Any]) -> list[int]:
        answers = [webhooks.post(to.url, document, to.secret) for to in self.subscriptions]
        self.posted += [(document, status) for status in answers]
        return answers

    def _is_too_much(self, key: str) -> bool:
        now, taken = time.monotonic(), self._taken[key]
        while taken and taken[0] <= now - WINDOW_S:
            taken.popleft()
        if self.per_minute is not None and len(taken) >= self.per_minute:
            self.limited += 1
            return True
        taken.append(now)
        return False

    def _changed_by(self, event: dict[str, Any]) -> Reply:
        self.changes.append(event)
        return Reply(202, json.dumps({"status": "success", "message": "Change event processed"}))

    def _alerted_by(self, event: dict[str, Any]) -> Reply:
        event.setdefault("dedup_key", uuid4().hex)
        self.calls.append(event)
        self._apply(event)
        answer = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return Reply(202, json.dumps(answer))

    def _apply(self, event: dict[str, Any]) -> None:
        alert = next((a for a in self.alerts if a.dedup_key == event["dedup_key"] and a.state != "resolved"), None)
        match event["event_action"], alert:
            case "trigger", None:
                payload, number = event["payload"], len(self.alerts) + 1
                alert = Alert(event["dedup_key"], event["routing_key"], payload["summary"], payload["severity"], number)
                self.alerts.append(alert)
            case _, None:
                self.dropped.append(event)
                return
            case "acknowledge", Alert():
                alert.state = "acknowledged"
                self._echo("incident.acknowledged", alert)
            case "resolve", Alert():
                alert.state = "resolved"
                self._echo("incident.resolved", alert)
        if alert is not None:
            alert.log.append(event)

    def _echo(self, event_type: str, alert: Alert) -> None:
        """What came through the Events API is posted too, a moment later, with the integration as its agent."""
        if self.subscriptions:
            document = self.document(event_type, alert, by="Events API v2", agent=webhooks.INTEGRATION)
            self._poster.submit(self._post_quietly, document)

    def _post_quietly(self, document: dict[str, Any]) -> None:
        with suppress(OSError):
            self._post_to_all(document)
        with self.changed:
            self.changed.notify_all()


def check_change(event: dict[str, Any]) -> list[str]:
    """What is wrong with the body of a change event; nothing when PagerDuty would take it."""
    payload = event.get("payload")
    wrong = [] if len(str(event.get("routing_key", ""))) == 32 else ["'routing_key' has 32 characters"]
    if not isinstance(payload, dict) or not payload.get("summary"):
        return [*wrong, "'payload.summary' is missing"]
    if len(str(payload["summary"])) > SUMMARY:
        wrong.append(f"'payload.summary' has at most {SUMMARY:,} characters")
    if not isinstance(payload.get("custom_details", {}), dict):
        wrong.append("'payload.custom_details' is an object")
    if "timestamp" in payload and not _is_instant(payload["timestamp"]):
        wrong.append("'payload.timestamp' is an ISO 8601 instant")
    if {"event_action", "dedup_key"} & set(event):
        wrong.append("a change event has neither action nor key")
    return wrong + _check_links(event)


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
    return wrong + _check_links(event)


def _check_links(event: dict[str, Any]) -> list[str]:
    wrong = [f"'{name}' is a list" for name in ("links", "images") if not isinstance(event.get(name, []), list)]
    if not wrong:
        wrong += ["'links' have href and text" for link in event.get("links", []) if set(link) != {"href", "text"}]
        sources = [str(image.get("src", "")) for image in event.get("images", [])]
        wrong += ["'images' have an https src" for source in sources if not source.startswith("https://")]
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

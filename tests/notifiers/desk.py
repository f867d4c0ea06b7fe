"""A desk for tests of delivering: a store with notifiers on the stand-ins, a dispatcher, and short questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlmodel import col, select

from tocsin.events import codec
from tocsin.events.clock import ManualClock
from tocsin.events.model import Event
from tocsin.notifiers.blocks import AnyBlock, PagerDuty, Slack, SlackWebhook, Webhook
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.outbox import notify
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.standins import PagerDutyStandIn, SlackStandIn, WebhookStandIn
from tocsin.notifiers.tables import Attempt, Delivery, ReceiverState
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry


def blocks(slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn) -> list[AnyBlock]:
    """One notifier of each kind, on the stand-ins."""
    signing = SecretStr(receiver.secret)
    return [
        Slack(name="slack", token=SecretStr(slack.token), channel=slack.channel, api_url=slack.api_url),
        SlackWebhook(name="hook", url=SecretStr(slack.url)),
        PagerDuty(name="pagerduty", routing_key=SecretStr(pagerduty.routing_key), url=pagerduty.url),
        Webhook(name="webhook", url=SecretStr(receiver.url), secret=signing, allow_private=(receiver.host,)),
    ]


@dataclass
class Desk:
    """What a test of delivering works with; `fire` and `over` speak to several receivers under one event."""

    store: Store
    clock: ManualClock
    dispatcher: Dispatcher

    def put(self, *notifiers: AnyBlock) -> None:
        with self.store.begin() as session:
            for block in notifiers:
                put_notifier(session, block)

    def fire(self, *receivers: str, key: str = "etl", event: UUID | None = None, **more: Any) -> None:
        self._notify("trigger", receivers, key, event or uuid4(), more)

    def over(self, *receivers: str, key: str = "etl", event: UUID | None = None, **more: Any) -> None:
        self._notify("resolve", receivers, key, event or uuid4(), more)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def states(self, receiver: str) -> list[str]:
        return [f"{row.action} {row.state}" for row in self.deliveries(receiver)]

    def deliveries(self, receiver: str) -> Sequence[Delivery]:
        with self.store.read() as session:
            rows = select(Delivery).where(Delivery.receiver == receiver)
            return session.exec(rows.order_by(col(Delivery.incident_id), col(Delivery.revision))).all()

    def attempts(self, receiver: str) -> list[str]:
        with self.store.read() as session:
            rows = select(Attempt).where(Attempt.receiver == receiver).order_by(col(Attempt.at), col(Attempt.id))
            return [row.outcome for row in session.exec(rows)]

    def waits(self) -> dict[str, str]:
        with self.store.read() as session:
            return {row.receiver: str(row.not_before) for row in session.exec(select(ReceiverState))}

    def events(self, name: str) -> list[Event]:
        with self.store.read() as session:
            entries = session.exec(select(LogEntry).where(LogEntry.event == name).order_by(col(LogEntry.seq)))
            return [codec.decode(entry.body) for entry in entries]

    def _notify(self, action: Any, receivers: Sequence[str], key: str, event: UUID, more: dict[str, Any]) -> None:
        fields: dict[str, Any] = {
            "subject": f"{key} failed",
            "body": "12 % bad rows",
            "severity": "error",
            "labels": {"flow": key},
            "now": self.clock.now(),
            "event_id": event,
            "incident_key": key,
        }
        with self.store.begin() as session:
            for receiver in receivers:
                notify(session, notifier=receiver, action=action, **{**fields, **more})

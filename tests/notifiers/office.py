"""An office for tests of incidents: a store, a clock, notifiers and routes, and short questions. Nothing is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlmodel import col, func, select

from tocsin.events import codec
from tocsin.events.clock import ManualClock
from tocsin.events.model import Event
from tocsin.notifiers.act import Act
from tocsin.notifiers.acts import act
from tocsin.notifiers.agenda import next_due
from tocsin.notifiers.alert import Alert, ToNotifier, ToRoute
from tocsin.notifiers.blocks import PagerDuty, Slack, SlackWebhook
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.route import Route
from tocsin.notifiers.routes import put_route
from tocsin.notifiers.tables import AlertRow, Delivery, Incident
from tocsin.notifiers.take import take
from tocsin.notifiers.turns import take_turns
from tocsin.notifiers.view import View, view_from_json
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry

_ORDER = col(Incident.opened), col(Incident.key), col(Incident.episode)


@dataclass
class Office:
    """What a test of incidents works with; every delivery that is put down counts as told when `tell` is called."""

    store: Store
    clock: ManualClock

    def furnish(self, *routes: Route) -> None:
        with self.store.begin() as session:
            put_notifier(session, Slack(name="slack", token=SecretStr("xoxb-0123456789"), channel="C0123456789"))
            put_notifier(session, PagerDuty(name="pager", routing_key=SecretStr("k" * 32)))
            put_notifier(session, SlackWebhook(name="hook", url=SecretStr("https://hooks.example/services/T/B/x")))
            for route in routes:
                put_route(session, route, self.clock.now())

    def alert(self, name: str, to: str = "oncall", *, over: bool = False, source: str = "", **more: Any) -> Alert:
        """An alert of `name`; to a route, or to the notifier "@name"."""
        labels = {"alertname": name, "team": "db", "severity": "error", **more.pop("labels", {})}
        fields: dict[str, Any] = {
            "source": source or f"{name}/1",
            "identity": name,
            "to": ToNotifier(to[1:]) if to.startswith("@") else ToRoute(to),
            "subject": f"{name} is down",
            "event_id": uuid4(),
            "at": self.clock.now(),
            "status": "resolved" if over else "firing",
            "labels": labels,
        }
        return Alert(**{**fields, **more})

    def take(self, *alerts: Alert) -> list[list[Incident]]:
        with self.store.begin() as session:
            return take(session, alerts, self.clock.now())

    def fire(self, *names: str, to: str = "oncall", **more: Any) -> list[list[Incident]]:
        return self.take(*[self.alert(name, to, **more) for name in names])

    def over(self, *names: str, to: str = "oncall", **more: Any) -> list[list[Incident]]:
        return self.take(*[self.alert(name, to, over=True, **more) for name in names])

    def act(self, incident: UUID, what: Act) -> Incident:
        with self.store.begin() as session:
            return act(session, incident, what, self.clock.now())

    def turn(self) -> int:
        """Advance what is due now."""
        turned = 0
        while True:
            with self.store.begin() as session:
                count = take_turns(session, self.clock.now())
            turned += count
            if not count:
                return turned

    def pass_time(self, seconds: float) -> None:
        """Let time pass, each due incident at its time."""
        until = self.clock.now() + timedelta(seconds=seconds)
        while True:
            with self.store.read() as session:
                instant = next_due(session, self.clock.now())
            if instant is None or instant > until:
                break
            self.clock.set(instant)
            self.turn()
        self.clock.set(until)

    def tell(self) -> None:
        """Everything that waits is told."""
        with self.store.begin() as session:
            for row in session.exec(select(Delivery).where(Delivery.state == "pending")):
                row.state, row.maybe_told, row.handle = "delivered", True, {}
                session.add(row)

    def said(self, receiver: str) -> list[str]:
        """What the receiver was told, or would have been: action and state unless pending or delivered."""
        shown = {"pending": "", "delivered": ""}
        return [f"{row.action}{shown.get(row.state, ' ' + row.state)}" for row in self.deliveries(receiver)]

    def views(self, receiver: str) -> list[View]:
        return [view_from_json(row.view) for row in self.deliveries(receiver)]

    def deliveries(self, receiver: str) -> Sequence[Delivery]:
        with self.store.read() as session:
            mine = select(Delivery).join(Incident, col(Incident.id) == col(Delivery.incident_id))
            mine = mine.where(Delivery.receiver == receiver)
            return session.exec(
                mine.order_by(col(Incident.opened), col(Incident.key), col(Incident.episode), col(Delivery.revision))
            ).all()

    def incidents(self) -> Sequence[Incident]:
        with self.store.read() as session:
            return session.exec(
                select(Incident).order_by(col(Incident.opened), col(Incident.key), col(Incident.episode))
            ).all()

    def states(self) -> list[str]:
        return [f"{row.key} {row.state} {row.firing}" for row in self.incidents()]

    def firing(self, incident: UUID) -> int:
        with self.store.read() as session:
            lines = select(func.count()).where(AlertRow.incident_id == incident, AlertRow.status == "firing")
            return session.exec(lines).one()

    def events(self, name: str = "tocsin.incident.") -> list[Event]:
        with self.store.read() as session:
            entries = session.exec(select(LogEntry).where(col(LogEntry.event).startswith(name)).order_by("seq"))
            return [codec.decode(entry.body) for entry in entries]

    def names(self) -> list[str]:
        return [event.event.removeprefix("tocsin.incident.") for event in self.events()]

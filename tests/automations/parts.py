"""Values that the tests of automations are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col, select

from tocsin.automations.actions import CallWebhook, DoNothing
from tocsin.automations.host import Host
from tocsin.automations.model import Automation
from tocsin.automations.store import apply
from tocsin.automations.tables import StoredEvaluation, StoredFiring, StoredInvocation, Tally, TriggerState
from tocsin.events.clock import ManualClock
from tocsin.events.codec import decode
from tocsin.events.ids import uuid7
from tocsin.events.model import RESOURCE_ID, RESOURCE_ROLE, Event
from tocsin.notifiers.http import Answer, Result
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.logbus import LogBus
from tocsin.store.tables import LogEntry, Position
from tocsin.triggers.event import EventTrigger

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
RUN = "tocsin.flow-run.00000000-0000-0000-0000-00000000000a"


def happened(name: str, resource: str = "orders", *, number: int = 0, at: float = 0, **more: Any) -> Event:
    """An event `at` seconds after the start; `number` makes its id, 0 a new one."""
    labels = {RESOURCE_ID: resource, **more.pop("labels", {})}
    identity = UUID(int=number) if number else uuid7()
    return Event(id=identity, event=name, resource=labels, occurred=START + timedelta(seconds=at), **more)


def a_run(state: str, *, at: float = 0, attempt: int = 1, run: str = RUN, depth: int = 0, number: int = 0) -> Event:
    """A flow run of deployment `etl` reaches a state."""
    labels = {
        "tocsin.resource.name": "brave-otter",
        "tocsin.state-name": state,
        "tocsin.state-type": state.upper(),
        "tocsin.state-message": f"it is {state}",
        "tocsin.run-count": str(attempt),
    }
    if depth:
        labels["tocsin.chain.depth"] = str(depth)
    related = [
        {RESOURCE_ID: "tocsin.flow.daily", RESOURCE_ROLE: "flow", "tocsin.resource.name": "daily"},
        {RESOURCE_ID: "tocsin.deployment.etl", RESOURCE_ROLE: "deployment", "tocsin.resource.name": "etl"},
    ]
    payload = {"attempt": attempt, "parameters": {"day": "2026-03-01"}, "error": {"type": "ValueError"}}
    name = f"tocsin.flow-run.{state}"
    return happened(name, run, number=number, at=at, labels=labels, related=related, payload=payload)


def rule(name: str = "rule", *actions: Any, **fields: Any) -> Automation:
    """An automation on failed flow runs, one key a run, unless `fields` say otherwise."""
    trigger = fields.pop("trigger", {"expect": ["tocsin.flow-run.Failed"], "for_each": [RESOURCE_ID]})
    return Automation.model_validate({"name": name, "trigger": trigger, "actions": list(actions), **fields})


def calling(name: str, *names: str, url: str = "http://127.0.0.1:9/", **fields: Any) -> Automation:
    """An automation that calls a webhook for events of these names."""
    action = CallWebhook(url=url, payload={"n": "{{ event.payload.n }}"}, allow_private=["127.0.0.0/8"])
    return Automation(name=name, trigger=EventTrigger(expect=names), actions=[action], **fields)


def quiet(name: str, *names: str, **trigger: Any) -> Automation:
    """An automation that does nothing for events of these names."""
    return Automation(name=name, trigger=EventTrigger(expect=names, **trigger), actions=[DoNothing()])


def define(store: Store, *automations: Automation) -> None:
    """Put the automations on record."""
    with store.begin() as session:
        apply(session, automations, START)


def log(store: Store, *events: Event, now: datetime | None = None) -> None:
    """Write the events to the log, at `now` (default: by the machine's clock)."""
    with store.begin() as session:
        append(session, events, now=now)


def told(store: Store, prefix: str = "tocsin.automation.") -> list[Event]:
    """The events in the log whose names begin with `prefix`, in their order."""
    statement = select(LogEntry).where(col(LogEntry.event).startswith(prefix)).order_by(col(LogEntry.seq))
    with store.read() as session:
        return [decode(row.body) for row in session.exec(statement)]


def firings(store: Store) -> list[StoredFiring]:
    """The firings on record, by event time."""
    with store.read() as session:
        return list(session.exec(select(StoredFiring).order_by(col(StoredFiring.at), col(StoredFiring.id))))


def causes(store: Store) -> list[int]:
    """The numbers of the events that caused the firings on record, by event time."""
    return [one.event_id.int for one in firings(store) if one.event_id is not None]


def invocations(store: Store) -> list[StoredInvocation]:
    """The ledger, by due time."""
    order = col(StoredInvocation.due), col(StoredInvocation.automation), col(StoredInvocation.position)
    with store.read() as session:
        return list(session.exec(select(StoredInvocation).order_by(*order)))


def forget(store: Store) -> None:
    """Take everything back that a host or performer wrote, the events they told included."""
    with store.begin() as session:
        for table in (Position, TriggerState, StoredFiring, StoredInvocation, StoredEvaluation, Tally):
            session.connection().execute(delete(table))
        session.connection().execute(delete(LogEntry).where(col(LogEntry.event).startswith("tocsin.automation.")))


@dataclass
class Outbox:
    """A way out that notes each request and answers as it is told: the next of `answers`, then 204."""

    answers: list[Result] = field(default_factory=list)
    sent: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        allow: Sequence[str] = (),
        timeout: timedelta = timedelta(seconds=1),
    ) -> Result:
        """Note it."""
        self.sent.append((url, body, dict(headers or {})))
        return self.answers.pop(0) if self.answers else Answer(204)

    @property
    def ids(self) -> list[str]:
        """The `webhook-id` of each request."""
        return [headers["webhook-id"] for _, _, headers in self.sent]


def a_clock() -> ManualClock:
    """A clock that stands at the start."""
    return ManualClock(START)


async def decided(store: Store, clock: ManualClock, *events: Event) -> None:
    """Write the events to the log and let a host handle all that is there."""
    log(store, *events, now=clock.now())
    bus = LogBus(store, clock)
    async with bus.subscribe("automations") as subscription:
        while await Host(store, bus, clock=clock).turn(subscription, timedelta(0)):
            pass


def outcomes(store: Store) -> list[str]:
    """`executed` or `failed` for each outcome that was told, in order."""
    return [event.event.rsplit(".")[-1] for event in told(store, "tocsin.automation.action.")]


def on(name: str, *actions: object) -> Automation:
    """An automation that does this for each event `x`."""
    return Automation.model_validate({"name": name, "trigger": {"expect": ["x"]}, "actions": list(actions)})

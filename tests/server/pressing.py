"""An incident that Slack was told of, for tests of pressing its buttons."""

from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlmodel import select

from tocsin.events.clock import SystemClock
from tocsin.notifiers.blocks import Slack
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.outbox import notify
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.standins import SlackMessage, SlackStandIn
from tocsin.notifiers.tables import Incident
from tocsin.store.engine import Store

CLOCK = SystemClock()


def block(slack: SlackStandIn, name: str = "oncall", **fields: Any) -> Slack:
    """A notifier on the stand-in."""
    known = {"name": name, "token": SecretStr(slack.token), "channel": slack.channel, "api_url": slack.api_url}
    return Slack(**{**known, **fields})


def by_http(slack: SlackStandIn) -> dict[str, Any]:
    """The field that lets presses come in by HTTP."""
    return {"signing_secret": SecretStr(slack.signing_secret)}


def by_socket(slack: SlackStandIn) -> dict[str, Any]:
    """The field that lets presses come in by Socket Mode."""
    return {"app_token": SecretStr(slack.app_token)}


async def tell(store: Store, slack: SlackStandIn, notifier: Slack) -> SlackMessage:
    """Open an incident and deliver it; the message that stands in the channel."""
    now = CLOCK.now()
    with store.begin() as session:
        put_notifier(session, notifier, now)
        notify(
            session,
            notifier=notifier.name,
            incident_key=f"etl {uuid4()}",
            action="trigger",
            subject="etl failed",
            body="12 % bad rows",
            severity="error",
            labels={"flow": "etl"},
            event_id=uuid4(),
            now=now,
        )
    await deliver(store)
    return slack.messages[-1]


async def deliver(store: Store) -> None:
    """Carry out what is due."""
    dispatcher = Dispatcher(store, CLOCK)
    await dispatcher.run_due()
    await dispatcher.close()


def state_of(store: Store, message: SlackMessage) -> str:
    """How the incident of a message stands."""
    assert message.metadata is not None
    number = UUID(message.metadata["event_payload"]["incident"])
    with store.read() as session:
        return session.exec(select(Incident.state).where(Incident.id == number)).one()

"""The service that writes events as CloudEvents to a topic of the user's, as the settings say."""

import asyncio

from sqlmodel import Session

from tocsin.events.errors import Invalid
from tocsin.events.kafka import KafkaBus
from tocsin.server.pulse import note
from tocsin.server.settings import Settings, kafka_access
from tocsin.server.wiring import Parts
from tocsin.store.cloudevents_writer import CloudEventsWriter, Outlet
from tocsin.triggers.source_store import list_rows


def outlet_of(settings: Settings) -> Outlet:
    """What the settings want written. Raises Invalid without Kafka, and for a topic of our own."""
    topic = settings.cloudevents_topic or ""
    if not settings.kafka_bootstrap_servers:
        raise Invalid(
            f"TOCSIN_CLOUDEVENTS_TOPIC={topic} needs Kafka: set TOCSIN_KAFKA_BOOTSTRAP_SERVERS, or unset it; "
            "without a broker events go out over HTTP (GET /api/events, the action call-webhook)"
        )
    names = tuple(name for text in settings.cloudevents_events.split(",") if (name := text.strip()))
    return Outlet(topic, settings.cloudevents_mode, names, settings.cloudevents_source)


async def write(parts: Parts, outlet: Outlet, stop: asyncio.Event) -> None:
    """Write until `stop`; `tocsin health dispatcher` says how far it has come."""
    settings = parts.settings
    bus = KafkaBus(settings.kafka_bootstrap_servers or "", access=kafka_access(settings))

    def report(behind: int, failures: int) -> None:
        note(settings.home, "dispatcher", {"cloudevents_behind": behind, "cloudevents_failures": failures})

    writer = CloudEventsWriter(
        parts.store,
        bus,
        parts.bus,
        outlet,
        parts.clock,
        blocked=lambda session: read_back(session, outlet.topic),
        report=report,
    )
    try:
        await writer.serve(stop)
    finally:
        await bus.close()


def read_back(session: Session, topic: str) -> str | None:
    """Why nothing may be written to `topic`: a source reads it, so that what is written would come in again."""
    for row in list_rows(session):
        if row.spec.get("topic") == topic:
            return (
                f"the source {row.name} reads {topic}, so what is written there would come back: give "
                f"TOCSIN_CLOUDEVENTS_TOPIC another topic, or `tocsin source rm {row.name}`"
            )
    return None

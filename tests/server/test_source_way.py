"""The whole way of a message of somebody else's: topic, source, log, relay, stream, firing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from tests.kafka.broker import ApacheBroker
from tests.kafka.guarded import PASSWORD, GuardedBroker
from tocsin.automations import store as automations
from tocsin.automations.model import Automation
from tocsin.events import codec
from tocsin.events.bus import Message
from tocsin.events.kafka import KafkaBus
from tocsin.events.model import Event
from tocsin.events.topics import Topic
from tocsin.server.roles import run_roles
from tocsin.server.settings import Settings, load
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers import source_store
from tocsin.triggers.mapping import Mapping
from tocsin.triggers.source import KafkaSource

RULE = {
    "name": "unpaid",
    "trigger": {"expect": ["orders.unpaid"], "for_each": ["tocsin.resource.id"], "threshold": 2, "within": 3600},
    "actions": [{"type": "do-nothing"}],
}


def firings(store: Store) -> list[Event]:
    with store.read() as session:
        rows = session.exec(select(LogEntry).where(LogEntry.event == "tocsin.automation.triggered"))
        return [codec.decode(row.body) for row in rows]


@pytest.mark.timeout(180)
async def test_a_message_of_somebody_else_fires_an_automation_on_kafka(
    apache_kafka: ApacheBroker, topic_prefix: str, home: Path
) -> None:
    settings = Settings(home=home, kafka_bootstrap_servers=apache_kafka.address, kafka_topic_prefix=topic_prefix)
    await go_the_way(settings, KafkaBus(apache_kafka.address))


@pytest.mark.timeout(180)
async def test_all_of_it_goes_through_the_lock_of_a_guarded_kafka(
    guarded_kafka: GuardedBroker,
    topic_prefix: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Topics, relay, source, stream and dead letters find their way by the settings alone, and say no password."""
    address, access = guarded_kafka.ways["SCRAM-SHA-512 over TLS"]
    given = {name: value for name, value in asdict(access).items() if value}
    given |= {"bootstrap_servers": address, "topic_prefix": topic_prefix}
    for name, value in given.items():
        monkeypatch.setenv(f"TOCSIN_KAFKA_{name.upper()}", value)
    await go_the_way(load(), KafkaBus(address, access=access))
    told = "".join(capsys.readouterr())
    assert f"Kafka at {address} by SASL_SSL with SCRAM-SHA-512 as" in told
    assert PASSWORD not in told


async def go_the_way(settings: Settings, outside: KafkaBus) -> None:
    """Somebody writes to a topic of his own through `outside`; it ends when the automation has fired."""
    topic = f"{settings.kafka_topic_prefix}shop"
    await outside.prepare([Topic(topic, "a shop's", 2, timedelta(days=1))])
    mapping = Mapping(event="'orders.unpaid'", resource="body.id")
    store, now, stop = Store.open(settings.url, create=True), datetime.now(UTC), asyncio.Event()
    with store.begin() as session:
        automations.apply(session, [Automation.model_validate(RULE)], now)
        source_store.apply(session, [KafkaSource(name="shop", topic=topic, mapping=mapping)], now)
    running = asyncio.create_task(run_roles(["processor", "dispatcher"], settings, stop))
    bodies = [b"{", *(json.dumps({"id": one}).encode() for one in ("A-7", "B-1", "A-7"))]
    await outside.publish([Message(topic, "k", body) for body in bodies])
    async with asyncio.timeout(120):
        with store.watch("log") as watch:
            while not firings(store):
                await watch.wait(timedelta(seconds=1))
    stop.set()
    await running
    await outside.close()
    [fired] = firings(store)
    assert "A-7" in json.dumps(fired.payload)
    store.close()

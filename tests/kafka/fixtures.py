"""Kafka for every test: `kafka` (an address), `kafka_broker`, `kafka_bus`, `apache_kafka`. Nothing starts unasked."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from uuid import uuid4

import pytest

from tests.kafka.broker import ApacheBroker, Broker, NoBroker, open_broker

if TYPE_CHECKING:
    from tests.kafka.guarded import GuardedBroker
    from tocsin.events.kafka import KafkaBus

MINUTE = timedelta(minutes=1)  # a member that stands still for ten seconds is not dead
MARKS = {
    "kafka": "kafka",
    "kafka_broker": "kafka",
    "kafka_bus": "kafka",
    "apache_kafka": "apache",
    "mortal_kafka": "apache",
    "guarded_kafka": "apache",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for a broker carries its mark."""
    for item in items:
        for name in getattr(item, "fixturenames", ()):
            if name in MARKS:
                item.add_marker(MARKS[name])
                item.add_marker("kafka")


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker: the one of `TOCSIN_TEST_KAFKA`, Apache Kafka, or Tansu; skipped with the reason where none can run."""
    try:
        broker = open_broker(tmp_path_factory.mktemp("kafka"))
    except NoBroker as reason:
        _without(reason)
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def kafka(kafka_broker: Broker) -> str:
    """Bootstrap address ("host:port") of a running broker; use a topic prefix of your own."""
    return kafka_broker.address


@pytest.fixture(scope="session")
def apache_kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheBroker]:
    """Apache Kafka itself, which can be restarted, killed and frozen; leave it running."""
    if "TOCSIN_TEST_KAFKA" not in os.environ:
        broker = request.getfixturevalue("kafka_broker")
        if isinstance(broker, ApacheBroker):
            yield broker
            return
    try:
        own = ApacheBroker(tmp_path_factory.mktemp("apache-kafka"))
    except NoBroker as reason:
        _without(reason)
    yield own
    own.stop()


@pytest.fixture
def mortal_kafka(tmp_path: Path) -> Iterator[ApacheBroker]:
    """Apache Kafka of this test's own, which it may end: it comes back soon, for it holds no topics of others."""
    try:
        own = ApacheBroker(tmp_path / "mortal-kafka")
    except NoBroker as reason:
        _without(reason)
    yield own
    own.stop()


@pytest.fixture(scope="session")
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    """Apache Kafka that lets nobody in without a password or a certificate, on a listener for each way to ask."""
    from tests.kafka.guarded import GuardedBroker

    try:
        own = GuardedBroker(tmp_path_factory.mktemp("guarded-kafka"))
    except NoBroker as reason:
        _without(reason)
    yield own
    own.stop()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that no other test has."""
    return f"t{uuid4().hex[:12]}."


@pytest.fixture
async def kafka_bus(kafka_broker: Broker, topic_prefix: str) -> AsyncIterator[KafkaBus]:
    """A Kafka bus with fresh topics of its own."""
    from tocsin.events.kafka import KafkaBus

    bus = KafkaBus(
        kafka_broker.address,
        topic_prefix=topic_prefix,
        idempotent=kafka_broker.idempotent,
        heartbeat=timedelta(milliseconds=200),
        session_timeout=MINUTE,
        handover=MINUTE,
    )
    await bus.prepare()
    yield bus
    await bus.close()


def _without(reason: NoBroker) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the Kafka tests: {reason}")
    pytest.skip(str(reason))

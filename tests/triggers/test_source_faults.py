"""Sources under kill -9: each message once, whatever dies."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlmodel import col, func, select

from tests.kafka.broker import ApacheBroker
from tocsin.events.bus import Message
from tocsin.events.kafka import KafkaBus
from tocsin.events.topics import EXTERNAL
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers import source_store
from tocsin.triggers.mapping import Mapping
from tocsin.triggers.source import KafkaSource

MESSAGES = 60_000
ROUND = 10_000
KILLS = 6


def begin(url: str, address: str, prefix: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.triggers.source_process", url, address, prefix]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)


def kept(store: Store) -> int:
    with store.read() as session:
        return session.exec(
            select(func.count()).where(LogEntry.topic == EXTERNAL, LogEntry.event == "orders.paid")
        ).one()


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_each_message_once_under_kill_9(apache_kafka: ApacheBroker, store_url: str, topic_prefix: str) -> None:
    """Two processes share a topic; one of them is killed again and again while messages come, each place at random."""
    store, topic = Store.open(store_url, create=True), f"{topic_prefix}shop"
    admin = AIOKafkaAdminClient(bootstrap_servers=apache_kafka.address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 4, 1)])
    await admin.close()
    source = KafkaSource(name="shop", topic=topic, mapping=Mapping(event="'orders.paid'", resource="body.id"))
    with store.begin() as session:
        source_store.apply(session, [source], datetime.now(UTC))
    bus, dice = KafkaBus(apache_kafka.address, topic_prefix=topic_prefix), random.Random(4)
    await bus.prepare()
    outside = KafkaBus(apache_kafka.address)
    running = [begin(store_url, apache_kafka.address, topic_prefix) for _ in range(2)]
    kills = 0
    try:
        for start in range(0, MESSAGES, ROUND):
            numbers = range(start, start + ROUND)
            await outside.publish([Message(topic, f"k{n % 97}", b'{"id": "order-%d"}' % n) for n in numbers])
            bound = start + dice.randrange(ROUND)  # it dies somewhere within this round, not at its end
            await until(store, min(bound, kept(store) + ROUND // 3))
            victim = kills % 2
            running[victim].kill()
            running[victim].wait()
            running[victim] = begin(store_url, apache_kafka.address, topic_prefix)
            kills += 1
        await until(store, MESSAGES)
    finally:
        for one in running:
            one.kill()
            one.wait()
        await outside.close()
        await bus.close()
    assert kills == KILLS
    with store.read() as session:
        of_ours = select(func.count(), func.count(func.distinct(col(LogEntry.key)))).where(LogEntry.topic == EXTERNAL)
        assert session.exec(of_ours).one() == (MESSAGES, MESSAGES)
    store.close()


async def until(store: Store, count: int) -> None:
    """Wait until so many events are kept."""
    async with asyncio.timeout(120):
        with store.watch("log") as watch:
            while kept(store) < count:
                await watch.wait(timedelta(milliseconds=200))

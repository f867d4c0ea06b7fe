"""The page on sources says what is so: examples run, producers produce."""

from __future__ import annotations

import asyncio
import doctest
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.kafka.broker import Broker
from tocsin.events.bus import Record
from tocsin.events.codec import read
from tocsin.events.kafka import KafkaBus, partition_of
from tocsin.events.topics import EXTERNAL

PAGE = Path(__file__).parents[2] / "docs" / "sources.md"
PROGRAM = re.compile(r"```python\n# (aiokafka|confluent-kafka)\n(.*?)```", re.DOTALL)
PRODUCERS = {match[1]: match[2] for match in PROGRAM.finditer(PAGE.read_text())}
# A broker without idempotent producers takes part in the tests too.
PLAIN = {'"enable.idempotence": True': '"acks": "all"', "enable_idempotence=True": 'acks="all"'}


def test_the_examples_of_the_page_run() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert (failed, tried > 4) == (0, True)


@pytest.mark.parametrize("library", ["aiokafka", "confluent-kafka"])
async def test_a_producer_without_tocsin(library: str, kafka_broker: Broker, kafka_bus: KafkaBus) -> None:
    program = PRODUCERS[library]
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    if not kafka_broker.idempotent:
        for safe, plain in PLAIN.items():
            program = program.replace(safe, plain)
    names = {"KAFKA": kafka_broker.address, "TOPIC": kafka_bus.prefix + EXTERNAL}
    async with asyncio.timeout(60):
        ended = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", program], env={**os.environ, **names}, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        found: list[Record] = []
        async with kafka_bus.subscribe("doc", (EXTERNAL,)) as subscription:
            while not found:
                found = await subscription.fetch(wait=timedelta(seconds=10))
    event = read(found[0].body, datetime.now(UTC))
    assert (event.event, event.resource_id, event.payload) == ("orders.repaired", "order.7", {"rows": 3})
    assert (found[0].key, found[0].partition) == ("order.7", partition_of("order.7", await kafka_bus.width(EXTERNAL)))

"""The parts that roles share: the database and the bus that the settings name."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tocsin.events.bus import Message
from tocsin.events.errors import Invalid, Unavailable
from tocsin.events.kafka import KafkaBus
from tocsin.events.topics import TOPICS
from tocsin.server.settings import Settings
from tocsin.server.wiring import make_topics, open_parts
from tocsin.store.logbus import LogBus


async def test_the_default_is_sqlite_under_the_home_and_the_log_as_bus(home: Path) -> None:
    async with open_parts(Settings(home=home)) as parts:
        assert (parts.store.dialect, str(home) in parts.store.url) == ("sqlite", True)
        assert isinstance(parts.bus, LogBus)


async def test_a_broker_in_the_settings_is_the_bus(home: Path) -> None:
    async with open_parts(Settings(home=home, kafka_bootstrap_servers="127.0.0.1:9")) as parts:
        assert isinstance(parts.bus, KafkaBus)


@pytest.mark.postgres
async def test_a_database_that_holds_no_tables_asks_for_the_upgrade(postgres_url: str) -> None:
    with pytest.raises(Invalid, match="tocsin db upgrade"):
        async with open_parts(Settings(database_url=postgres_url)):  # type: ignore[arg-type]
            pass


async def test_topics_are_made_once_and_can_be_written(kafka: str) -> None:
    settings = Settings(kafka_bootstrap_servers=kafka, kafka_topic_prefix=f"wiring-{uuid4().hex[:8]}.")
    for _ in range(2):
        await make_topics(settings)
    async with open_parts(settings) as parts:
        await parts.bus.publish([Message(topic.name, "key", b"{}") for topic in TOPICS])


async def test_without_a_broker_there_are_no_topics_to_make() -> None:
    await make_topics(Settings())


async def test_a_broker_that_is_away_is_named() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        await make_topics(Settings(kafka_bootstrap_servers="127.0.0.1:9"))

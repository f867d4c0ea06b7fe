"""The parts that roles share: the database and the bus that the settings name."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from tocsin.events.bus import Message
from tocsin.events.errors import Invalid, Unavailable
from tocsin.events.kafka import KafkaBus
from tocsin.events.topics import TOPICS
from tocsin.server.logs import set_up
from tocsin.server.roles import run_roles
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


@pytest.mark.parametrize("role", ["server", "processor"])
async def test_settings_of_kafka_that_do_not_fit_together_end_a_role_at_its_start(home: Path, role: str) -> None:
    settings = Settings(home=home, kafka_bootstrap_servers="127.0.0.1:9", kafka_security_protocol="SASL_SSL")
    with pytest.raises(Invalid, match="SASL_SSL needs TOCSIN_KAFKA_SASL_MECHANISM, TOCSIN_KAFKA_SASL_USERNAME, "):
        await run_roles([role], settings)


async def test_a_password_that_travels_unencrypted_is_warned_of(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(
        home=home,
        kafka_bootstrap_servers="127.0.0.1:9",
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="tocsin",
        kafka_sasl_password=SecretStr("hunter22-and-more"),
    )
    set_up(settings)
    async with open_parts(settings):
        pass
    told = capsys.readouterr().err
    assert "the password for Kafka travels unencrypted" in told
    assert "hunter22" not in told + repr(settings)

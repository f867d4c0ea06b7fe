"""Which host a processor runs, and what is said of its health."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tocsin.events.errors import Invalid
from tocsin.server.cli.health import health
from tocsin.server.pulse import note, noted
from tocsin.server.roles import services
from tocsin.server.settings import Settings
from tocsin.server.wiring import open_parts

KAFKA = "127.0.0.1:9"


@pytest.mark.parametrize(
    ("processor", "kafka", "name"),
    [
        pytest.param("auto", None, "host", id="no Kafka, no stream"),
        pytest.param("auto", KAFKA, "stream", id="a stream where Kafka is set"),
        pytest.param("embedded", KAFKA, "host", id="no stream when it is not wanted"),
        pytest.param("stream", KAFKA, "stream", id="a stream when it is wanted"),
    ],
)
async def test_the_settings_choose_the_host(home: Path, processor: str, kafka: str | None, name: str) -> None:
    settings = Settings(home=home, processor=processor, kafka_bootstrap_servers=kafka)  # type: ignore[arg-type]
    async with open_parts(settings) as parts:
        assert [service.name for service in services(["processor"], parts)] == ["sources", name]


async def test_a_stream_without_kafka_says_what_is_missing(home: Path) -> None:
    async with open_parts(Settings(home=home, processor="stream")) as parts:
        with pytest.raises(Invalid, match="set TOCSIN_KAFKA_BOOTSTRAP_SERVERS"):
            services(["processor"], parts)


def test_a_processor_is_ready_when_it_has_taken_its_partitions_over(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(ready: int) -> tuple[int, dict[str, object]]:
        note(home, "processor", {"partitions": 4, "ready": ready, "lag": 7})
        code = health("processor", ready=True, output="json")
        return code, json.loads(capsys.readouterr().out)

    assert noted(home, "processor") == {}
    note(home, "processor", {})
    (home / "pulse" / "processor").touch()
    code, found = asked(3)
    assert (code, found["status"], found["lag"]) == (1, "not ready", 7)
    code, found = asked(4)
    assert (code, found["status"], found["partitions"]) == (0, "ready", 4)

"""What a noisy library may say."""

import logging
from datetime import timedelta

import pytest

from tocsin.events.hush import Hush, hush


def test_a_complaint_is_heard_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    logger, other = logging.getLogger("noisy.client"), logging.getLogger("quiet.client")
    hush("noisy", Hush(timedelta(seconds=30), lambda: now[0]))
    with caplog.at_level(logging.INFO):
        for second in (100, 101, 129, 130, 131):
            now[0] = float(second)
            logger.error("node %s is away", second)
            logger.warning("still trying")
            logger.info("second %s", second)
            other.error("second %s", second)
    said = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert [text for name, level, text in said if level == "ERROR" and name == "noisy.client"] == [
        "node 100 is away",
        "node 130 is away",
    ]
    assert [level for name, level, _ in said].count("WARNING") == 2
    assert [level for name, level, _ in said].count("INFO") == 5
    assert [name for name, _, _ in said].count("quiet.client") == 5


def test_aiokafka_is_hushed_by_its_door() -> None:
    import tocsin.events.kafka  # noqa: F401  (importing it is the point)

    for name in ("aiokafka", "aiokafka.consumer.fetcher", "aiokafka.producer.sender"):
        assert any(isinstance(filter_, Hush) for filter_ in logging.getLogger(name).filters), name

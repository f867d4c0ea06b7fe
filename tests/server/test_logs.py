"""Logs: JSON where no person reads, and no secret in any form, also not of a library's line or a traceback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import SecretStr

from tocsin.server.logs import Redaction, set_up
from tocsin.server.settings import Settings

KEY = "a-very-secret-api-key"


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


HIDDEN = [
    ("the password in a URL", "postgresql://tocsin:hunter22@db/t", "hunter22"),
    ("the path of a Slack hook", "POST https://hooks.slack.com/services/T0/B0/abcdef", "abcdef"),
    ("a bearer token", "Authorization: Bearer abcdef123", "abcdef123"),
    ("a Slack token", "token xoxb-123-abcdef", "123-abcdef"),
    ("a known secret", f"they sent {KEY}!", KEY),
]


@pytest.mark.parametrize(("line", "secret"), [row[1:] for row in HIDDEN], ids=[row[0] for row in HIDDEN])
def test_a_secret_is_taken_out(line: str, secret: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(Settings(api_key=SecretStr(KEY), log_format="json"), "server")
    structlog.get_logger("a").info("said", line=line, deep={"list": [line]})
    logging.getLogger("some.library").warning("said %s", line)
    try:
        raise RuntimeError(line)
    except RuntimeError:
        logging.getLogger("b").exception("failed")
    written = capsys.readouterr().err
    assert written.count("\n") == 3
    assert secret not in written


@pytest.mark.parametrize(
    "name", ["password", "api_key", "routing_key", "Authorization", "slack_token", "secret", "cookie"]
)
def test_a_telling_name_hides_its_value(name: str) -> None:
    assert Redaction()(None, "", {name: "plain", "deep": {name: ["plain"]}, "other": "plain"}) == {
        name: "(redacted)",
        "deep": {name: "(redacted)"},
        "other": "plain",
    }


def test_a_line_is_json_with_its_role(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(Settings(log_format="json"), "worker")
    structlog.get_logger("a").warning("hello %s", "you", count=3)
    line = json.loads(capsys.readouterr().err)
    assert line.items() >= {"event": "hello you", "count": 3, "role": "worker", "level": "warning"}.items()


def test_less_than_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(Settings(log_level="ERROR"))
    structlog.get_logger("a").warning("hello")
    assert capsys.readouterr().err == ""

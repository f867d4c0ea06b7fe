"""`tocsin event` and CloudEvents: what it prints, it takes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tocsin.server.cli import main

Cli = Callable[..., str]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `tocsin event` in this process; what it printed."""

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ending:
            main(("event", *words))
        printed = capsys.readouterr()
        assert ending.value.code == 0, printed.err
        return printed.out

    return run


def test_ls_gives_a_batch_and_emit_takes_one_back(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_CLOUDEVENTS_SOURCE", "/tocsin/eu")
    cli("emit", "orders.loaded", "order.ü", "--payload", '{"rows": 3}', "--label", "team=sales")
    cli("emit", "orders.late", "order.7")
    before = json.loads(cli("ls", "-o", "json"))
    printed = json.loads(cli("ls", "-o", "cloudevents"))
    read = [JSONFormat().read(CloudEvent, json.dumps(one)) for one in printed]
    assert [one.get_type() for one in read] == ["orders.late", "orders.loaded"]
    assert (read[1].get_source(), read[1].get_data()) == ("/tocsin/eu", {"rows": 3})
    assert json.loads(cli("emit", "--cloudevent", json.dumps(printed[1]), "-o", "json")) == before[1]
    assert json.loads(cli("ls", "-o", "json")) == before, "it is known under its id"


def test_tail_gives_a_cloudevent_a_line(cli: Cli) -> None:
    command = [sys.executable, "-m", "tocsin.server", "event", "tail", "-n", "1", "-o", "cloudevents"]
    tail = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    ended = threading.Thread(target=lambda: lines.extend(tail.communicate(timeout=60)[0].splitlines()))
    ended.start()
    while ended.is_alive():  # it begins to listen at some point
        cli("emit", "orders.loaded", "order.7")
        ended.join(0.1)
    [line] = lines
    assert JSONFormat().read(CloudEvent, line).get_type() == "orders.loaded"

"""The examples of docs/automations.md are true."""

import re
from pathlib import Path
from typing import Any

import pytest

from tocsin.automations import Automation
from tocsin.automations.actions import KNOWN
from tocsin.automations.attempts import webhook_wait
from tocsin.automations.documents import parse
from tocsin.automations.guard import MAX_DEPTH
from tocsin.automations.recording import KEPT
from tocsin.events.ids import uuid7
from tocsin.triggers import EventTrigger
from tocsin.triggers.kinds import CompoundTrigger
from tocsin.triggers.metric import Metric

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "automations.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_yaml_is_read() -> None:
    found = [one.name for text in blocks("yaml") for one in parse(text, "docs.yaml")]
    assert found == ["etl-failed", "refresh-after-etl", "many-late-orders", "heartbeat-lost", "load-failed"]


def test_the_python_runs() -> None:
    names: dict[str, Any] = {}
    for text in blocks("python"):
        exec(text, names)
    assert isinstance(names["etl_failed"], Automation)


def test_every_field_and_action_is_named() -> None:
    both = TEXT + (DOCS / "triggers.md").read_text()
    rows = " ".join(re.findall(r"^\| (.*?) \|", both, re.MULTILINE))
    for name in (*KNOWN, *EventTrigger.model_fields, *Metric.model_fields, *CompoundTrigger.model_fields):
        assert name == "type" or f"`{name}`" in rows
    for name in Automation.model_fields:
        assert name in TEXT


@pytest.mark.parametrize(
    "words", [f"at depth {MAX_DEPTH} ", "5 s, 30 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h", f"newest {KEPT} of"]
)
def test_figures_are_those_of_the_code(words: str) -> None:
    assert words in TEXT
    assert webhook_wait(8, None, uuid7()) is not None
    assert webhook_wait(9, None, uuid7()) is None

"""The examples of docs/conditions.md are true."""

import re
from pathlib import Path

import msgspec
import pytest

from tocsin.events import jmes
from tocsin.events.errors import Invalid
from tocsin.events.jmes.copies import MAX_COPIES
from tocsin.events.jmes.functions import MAX_MADE
from tocsin.events.jmes.syntax import MAX_DEPTH, MAX_NODES, MAX_OPEN, MAX_TEXT
from tocsin.events.model import Event

TEXT = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text()


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


EVENT = msgspec.json.decode(block("json"), type=Event)


@pytest.mark.parametrize("text", block("jmespath").splitlines())
def test_the_event_meets_the_condition(text: str) -> None:
    assert jmes.check(text).meets(EVENT)


@pytest.mark.parametrize("line", block("text").splitlines())
def test_what_is_said_to_be_refused_is(line: str) -> None:
    with pytest.raises(Invalid):
        jmes.check(line.split("   ")[0])


def test_every_field_is_named() -> None:
    assert all(f"`{field}`" in TEXT for field in Event.__struct_fields__)


@pytest.mark.parametrize("limit", [MAX_TEXT, MAX_NODES, MAX_DEPTH, MAX_OPEN, MAX_COPIES, MAX_MADE])
def test_the_limits_are_those_of_the_code(limit: int) -> None:
    assert f"{limit:,} " in TEXT


def test_the_two_differences_are_so() -> None:
    assert jmes.compile("payload.hours > 'x'").event(EVENT) is None
    assert jmes.compile("contains('text', `5`)").event(EVENT) is False

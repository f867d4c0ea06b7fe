"""The page on triggers says what is so: its definitions are read, its pictures are what happens."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter

from tests.triggers.drive import Drive, event
from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.kinds import DEPTH, LEAVES, CompoundTrigger, SequenceTrigger, Trigger
from tocsin.triggers.metric import Metric, MetricTrigger
from tocsin.triggers.samples import SAMPLES

TEXT = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text()
TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
DEFINITIONS = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PICTURES = re.findall(r"^```yaml\n((?:(?!```).)*?)^```\n```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def marks(picture: str) -> Iterator[tuple[int, str, str]]:
    """What stands in a picture: the second, the row, the mark."""
    head, *rows = picture.splitlines()
    seconds = {found.start(): int(found.group()) for found in re.finditer(r"\d+", head)}
    for row in rows:
        name = re.split(r"  +", row)[0]
        for found in re.finditer(r"\S+", row[len(name) :]):
            yield seconds[found.start() + len(name)], name, found.group()


def happened(second: int, row: str, mark: str) -> Event:
    name, _, host = row.partition(" ")
    payload = {"n": int(mark)} if mark.isdigit() else {}
    return event(name, second, second, resource={"host": host} if host else {}, payload=payload)


@pytest.mark.parametrize("text", DEFINITIONS)
def test_the_definitions_are_read(text: str) -> None:
    trigger = TRIGGER.validate_python(yaml.safe_load(text))
    assert TRIGGER.validate_json(TRIGGER.dump_json(trigger)) == trigger


@pytest.mark.parametrize(("text", "picture"), PICTURES)
def test_the_pictures_are_what_happens(text: str, picture: str) -> None:
    run = Drive(TRIGGER.validate_python(yaml.safe_load(text))).begin()
    drawn = sorted(marks(picture))
    run.tell_all(happened(*mark) for mark in drawn if mark[1] != "clock").until(10_000)
    told = {
        (when, met.event.event if met.event else "clock", "O" if met.over else "F")
        for when, (_, met) in zip(run.when, run.mets, strict=True)
    }
    assert told
    assert told == {(second, row.split()[0], mark) for second, row, mark in drawn if mark in "FO"}


def test_there_is_a_picture_of_each_window() -> None:
    assert len(PICTURES) == 10


@pytest.mark.parametrize("model", [EventTrigger, Metric, MetricTrigger, CompoundTrigger, SequenceTrigger])
def test_every_field_is_told(model: type[BaseModel]) -> None:
    rows = " ".join(re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE))
    for name in model.model_fields:
        assert f"`{name}`" in rows or name in ("type", "metric", "posture")


@pytest.mark.parametrize("words", [f"up to {DEPTH} deep, {LEAVES} event", f"{SAMPLES:,} samples"])
def test_figures_are_those_of_the_code(words: str) -> None:
    assert words in TEXT

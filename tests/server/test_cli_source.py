"""Sources on the command line: try one out, apply, list, remove."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tocsin.server.cli import main

YAML = """
sources:
  - name: shop
    topic: shop.orders
    mapping:
      event: "join('.', ['orders', body.kind])"
      resource: {tocsin.resource.id: "order.{{ body.id }}", region: headers.region}
  - name: lineage
    topic: openlineage
    format: openlineage
"""
PYTHON = """
from tocsin.triggers import KafkaSource, Mapping

shop = KafkaSource(name="shop", topic="shop.orders", mapping=Mapping(event="'orders.paid'", resource="key"))
"""
BAD = "sources: [{name: shop, topic: shop.orders, mapping: {event: paid, resource: key}}]"
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs one `tocsin source` in this process, in a folder with sources and messages."""
    (tmp_path / "sources.yaml").write_text(YAML)
    (tmp_path / "shop.py").write_text(PYTHON)
    (tmp_path / "bad.yaml").write_text(
        "sources: [{name: shop, topic: shop.orders, mapping: {event: paid, resource: key}}]"
    )
    (tmp_path / "message.json").write_text('{"kind": "paid", "id": "A-7"}')
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ending:
            main(("source", *words))
        printed = capsys.readouterr()
        assert isinstance(ending.value.code, int)
        return ending.value.code, printed.out, printed.err

    return run


PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()


def test_the_first_commands_of_the_page_work_as_they_stand(cli: Cli) -> None:
    for name, pattern in (("sources.yaml", r"```yaml\n(.*?)```"), ("message.json", r"```json\n(.*?)```")):
        found = re.search(pattern, PAGE, re.DOTALL)
        assert found is not None
        Path(name).write_text(found[1])
    commands = re.findall(r"^\$ tocsin source (.*?)(?:#.*)?$", PAGE, re.MULTILINE)
    assert [cli(*command.split())[0] for command in commands] == [0, 0, 0]


def test_a_source_is_applied_listed_shown_and_removed(cli: Cli) -> None:
    _, out, _ = cli("apply", "sources.yaml", "-o", "json")
    assert json.loads(out) == [{"name": "shop", "change": "created"}, {"name": "lineage", "change": "created"}]
    _, out, _ = cli("apply", "sources.yaml", "-o", "json")
    assert {one["change"] for one in json.loads(out)} == {"unchanged"}
    _, out, _ = cli("ls", "-o", "json")
    assert [(one["name"], one["format"], one["handled"]) for one in json.loads(out)] == [
        ("lineage", "openlineage", 0),
        ("shop", "json", 0),
    ]
    _, out, _ = cli("show", "lineage", "-o", "json")
    assert json.loads(out) == {"name": "lineage", "topic": "openlineage", "format": "openlineage"}
    assert cli("rm", "lineage")[0] == 0
    assert "known: shop" in cli("rm", "lineage")[2]


def test_a_python_file_defines_sources_too(cli: Cli) -> None:
    assert json.loads(cli("apply", "shop.py", "-o", "json")[1]) == [{"name": "shop", "change": "created"}]


def test_a_message_is_tried_out_before_anything_reads_it(cli: Cli) -> None:
    cli("apply", "sources.yaml")
    code, out, _ = cli("test", "shop", "message.json", "--header", "region=eu", "-o", "json")
    event = json.loads(out)
    assert (code, event["event"]) == (0, "orders.paid")
    assert event["resource"] == {"tocsin.resource.id": "order.A-7", "region": "eu"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("test", "shop.py", "message.json", "--key", ""), 1, "resource: its expression gives null"),
        (("test", "sources.yaml", "message.json"), 1, "2 sources"),
        (("test", "nobody", "message.json"), 1, "source 'nobody' is not known; known: none"),
        (("test", "shop.py", "nowhere.json"), 1, "nowhere.json: No such file"),
        (("test", "shop.py", "message.json", "--header", "x"), 1, "write name=value"),
        (("apply", "bad.yaml"), 1, "line 1, mapping.event: expression \"paid\": there is no 'paid'"),
    ],
)
def test_what_is_wrong_is_said(cli: Cli, words: tuple[str, ...], code: int, said: str) -> None:
    ended, _, err = cli(*words)
    assert (ended, said in err) == (code, True), err

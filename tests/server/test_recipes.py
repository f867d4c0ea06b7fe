"""The recipes work: what they define is read, and means what the tools have been heard to send."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from tests.server.conftest import Api
from tocsin.automations.documents import load_all
from tocsin.automations.model import Automation
from tocsin.events.model import Event
from tocsin.server.definitions import sources_in
from tocsin.server.hook_files import hooks_in
from tocsin.triggers.event import EventTrigger, covers
from tocsin.triggers.hook_posts import Meant, Post, read
from tocsin.triggers.openlineage import from_document

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipes.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.S)
RULES = [text for kind, text in BLOCKS if kind == "yaml" and "automations:" in text]
RECORDED = ROOT / "tests" / "triggers" / "openlineage"


def rules(folder: Path) -> dict[str, Automation]:
    paths = [folder / f"{place}.yaml" for place in range(len(RULES))]
    for path, text in zip(paths, RULES, strict=True):
        path.write_text(text)
    return {rule.name: rule for rule in load_all([str(path) for path in paths]).automations}


def events(tool: str) -> list[Event]:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    return [from_document(json.loads(line), now) for line in (RECORDED / f"{tool}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "tool", "jobs"),
    [
        ("airflow-dag-failed", "airflow", ["airflow-prod/daily_orders"]),
        ("orders-loaded", "airflow", ["airflow-prod/daily_orders.load"]),
        ("dbt-model-failed", "dbt", ["dbt-prod/shop.main.shop.large_orders.build.run"]),
        ("dbt-did-not-run", "dbt", []),  # it failed
    ],
)
def test_a_rule_means_what_the_tool_sends(name: str, tool: str, jobs: list[str], tmp_path: Path) -> None:
    trigger = rules(tmp_path)[name].trigger
    assert isinstance(trigger, EventTrigger)
    assert [event.resource_id for event in events(tool) if covers(trigger, event)] == jobs


@pytest.mark.parametrize(
    "text", [text for kind, text in BLOCKS if kind == "yaml" and text.startswith("# sources")], ids=["recipes"]
)
def test_the_source_is_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(text)
    assert [source.format for source in sources_in(str(tmp_path / "sources.yaml"))] == ["openlineage"]


def test_the_sources_of_the_page_are_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sources.md").read_text()
    found = re.search(r"```yaml\n(# sources.yaml\n.*?)```", page, re.S)
    assert found is not None
    (tmp_path / "sources.yaml").write_text(found[1])
    assert [source.name for source in sources_in(str(tmp_path / "sources.yaml"))] == ["shop", "lineage"]


@pytest.mark.parametrize("tool", ["airflow", "dbt", "spark"])
def test_over_http_jobs_and_runs_are_what_they_are_over_kafka(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEAGE_KEY", "0123456789abcdef0123")
    file = tmp_path / "hooks.yaml"
    file.write_text(next(text for kind, text in BLOCKS if kind == "yaml" and text.startswith("# hooks.yaml")))
    [hook] = hooks_in(str(file))
    now = datetime(2026, 11, 23, tzinfo=UTC)
    heard = 0
    for line, kafka in zip((RECORDED / f"{tool}.jsonl").read_text().splitlines(), events(tool), strict=True):
        found = read(hook, Post((("content-type", "application/json"),), {}, line.encode()), now)
        if not isinstance(found, Meant):
            assert not kafka.event.startswith("openlineage.run.")
            continue
        heard += 1
        assert (found.event.event, found.event.resource_id) == (kafka.event, kafka.resource_id)
        assert found.event.occurred == kafka.occurred
        for label in ("openlineage.job.integration", "openlineage.job.type"):
            assert found.event.resource[label] == kafka.resource.get(label, "")
    assert heard


def test_the_transport_of_dbt_is_yaml() -> None:
    text = next(text for kind, text in BLOCKS if kind == "yaml" and "transport:" in text)
    assert yaml.safe_load(text)["transport"]["type"] == "kafka"


async def test_a_prefect_flow_tells_with_the_standard_library(sqlite_api: Api) -> None:
    names: dict[str, Any] = {}  # Any: whatever the example defines
    exec(next(text for kind, text in BLOCKS if kind == "python" and "def tell" in text), names)
    ids = await asyncio.to_thread(
        names["tell"], sqlite_api.url, "", "prefect.flow-run.Failed", "prefect.flow-run.1", why="x"
    )
    found = (await sqlite_api.get(f"/api/events/{UUID(ids[0])}")).json()
    assert (found["event"], found["payload"]) == ("prefect.flow-run.Failed", {"why": "x"})

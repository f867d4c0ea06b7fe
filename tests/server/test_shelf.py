"""Artifacts, variables and blocks on the command line and over HTTP."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.server.conftest import Api, serving
from tests.server.test_cli import Cli, cli
from tocsin.flows import ledger as ledgers
from tocsin.flows.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from tocsin.flows.blocks import JSON, Block, Secret, SQLAlchemyConnector
from tocsin.flows.variables import Variable
from tocsin.server.settings import Settings
from tocsin.store.engine import Store

__all__ = ["cli"]

PLANTED = "planted-secret-0123456789"
OWN = """
from pydantic import SecretStr
from tocsin.flows.blocks import Block

class GrafanaToken(Block):
    '''What opens Grafana.'''
    url: str
    token: SecretStr
    teams: list[str] = []
"""


@pytest.fixture(autouse=True)
def book(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TOCSIN_DATABASE_URL", sqlite_url)
    yield
    ledgers.close()


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    store = Store.open(sqlite_url)
    async with serving(store, Settings(port=0)) as running:
        yield running
    store.close()


def test_artifacts_are_listed_shown_and_removed(cli: Cli) -> None:
    assert "no artifacts" in cli("artifact", "ls").out
    create_markdown_artifact("# first", key="report")
    made = create_markdown_artifact("# second", key="report", description="of today")
    create_table_artifact([{"shop": "berlin", "orders": 3}], key="orders")
    create_link_artifact("https://example.com/x", key="link")
    rows = cli("artifact", "ls", "-o", "json").json()
    assert [(row["key"], row["type"]) for row in rows] == [
        ("link", "link"),
        ("orders", "table"),
        ("report", "markdown"),
    ]
    assert len(cli("artifact", "ls", "--all", "--type", "markdown", "-o", "json").json()) == 2
    assert cli("artifact", "show", "report").out == "# second\n"
    assert cli("artifact", "show", str(made), "-o", "json").json()["body"] == "# second"
    assert "berlin" in cli("artifact", "show", "orders").out
    assert cli("artifact", "show", "link").out == "https://example.com/x\n"
    assert [row["size"] for row in cli("artifact", "history", "report", "-o", "json").json()] == [10, 9]
    assert cli("artifact", "rm", "report", "-o", "json").json() == [
        {"name": "report", "change": "removed", "versions": 2}
    ]
    gone = cli("artifact", "show", "report")
    assert (gone.code, "'report'; `tocsin artifact ls`" in gone.err) == (1, True)


def test_variables_are_set_got_and_removed(cli: Cli) -> None:
    assert "no variables" in cli("variable", "ls").out
    assert cli("variable", "set", "shops", '["berlin"]', "--tag", "sales", "-o", "json").json()["value"] == ["berlin"]
    assert cli("variable", "set", "day", "2024", "--text").code == 0
    assert cli("variable", "set", "offset", "-3").code == 0
    assert (Variable.get("day"), Variable.get("offset"), Variable.get("shops")) == ("2024", -3, ["berlin"])
    assert [cli("variable", "get", name).out for name in ("day", "shops")] == ["2024\n", '["berlin"]\n']
    taken = cli("variable", "set", "day", "x")
    assert (taken.code, "already" in taken.err) == (1, True)
    assert cli("variable", "set", "day", "x", "--overwrite").code == 0
    assert [row["name"] for row in cli("variable", "ls", "--tag", "sales", "-o", "json").json()] == ["shops"]
    assert cli("variable", "rm", "day").code == 0
    assert cli("variable", "rm", "day").code == 1


def test_blocks_are_created_listed_shown_and_removed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "shelf_blocks.py").write_text(OWN)
    (tmp_path / "token").write_text(f"{PLANTED}\n")
    monkeypatch.setenv("PLANTED_URL", f"postgresql://me:{PLANTED}@db/shop")
    assert cli("block", "register", "shelf_blocks.py", "-o", "json").json()[0]["type"] == "grafana-token"
    fields = ("--set", "url=https://grafana.example", "--set", 'teams=["a"]', "--file", "token=token")
    created = [
        cli("block", "create", "grafana-token", "main", *fields),
        cli("block", "create", "sqlalchemy-connector", "shop", "--env", "connection_info=PLANTED_URL"),
        cli("block", "create", "secret", "key", "--file", "value=token"),
    ]
    assert [one.code for one in created] == [0, 0, 0], created
    assert Secret.load("key").get() == PLANTED
    assert SQLAlchemyConnector.load("shop").url().password == PLANTED
    assert Block.load("grafana-token/main").model_dump()["teams"] == ["a"]
    words = [
        ("ls",),
        ("types",),
        ("show", "grafana-token/main"),
        ("show", "secret/key"),
        ("show", "sqlalchemy-connector/shop"),
        ("create", "secret", "key", "--file", "value=token"),
        ("create", "secret", "key2", "--set", f"value={PLANTED}"),
        ("create", "json", "x", "--set", f"val={PLANTED}"),
    ]
    shown = [cli("block", *one, *more) for one in words for more in ((), ("-o", "json"))]
    said = "".join(one.out + one.err for one in [*created, *shown])
    assert [text in said for text in ("grafana.example", "********", "is a secret; give it by", PLANTED)] == [
        True, True, True, False
    ]  # fmt: skip
    assert cli("block", "rm", "grafana-token/main").code == 0
    missing = cli("block", "show", "grafana-token/main")
    assert (missing.code, "no block grafana-token/main" in missing.err) == (1, True)
    assert "give its type and its name" in cli("block", "show", "main").err


async def test_all_three_over_http(api: Api) -> None:
    create_markdown_artifact("# first", key="report")
    create_markdown_artifact("# second", key="report")
    assert [one["key"] for one in (await api.get("/api/artifacts")).json()] == ["report"]
    assert (await api.get("/api/artifacts/report")).json()["body"] == "# second"
    assert len((await api.get("/api/artifacts/report/history")).json()) == 2
    assert (await api.ask("DELETE", "/api/artifacts/report")).status == 204
    assert (await api.get("/api/artifacts/report")).status == 404

    body: dict[str, Any] = {"value": {"a": [1, None]}, "tags": ["x"]}
    assert (await api.ask("PUT", "/api/variables/shops", json=body)).json()["value"] == {"a": [1, None]}
    assert Variable.get("shops") == {"a": [1, None]}
    assert [one["name"] for one in (await api.get("/api/variables?tag=x")).json()] == ["shops"]
    assert (await api.ask("PUT", "/api/variables/Shops", json=body)).status == 422
    assert (await api.ask("DELETE", "/api/variables/shops")).status == 204
    assert (await api.get("/api/variables/shops")).status == 404

    Secret(value=SecretStr(PLANTED)).save("key")
    address = SecretStr(f"postgresql://me:{PLANTED}@db/shop")
    SQLAlchemyConnector(connection_info=address, connect_args={"password": PLANTED}).save("shop")
    JSON(value=[1]).save("list")
    answers = [await api.get(f"/api/blocks{path}") for path in ("", "/secret/key", "/sqlalchemy-connector/shop")]
    assert [one.status for one in answers] == [200, 200, 200]
    assert [one["type"] for one in answers[0].json()] == ["json", "secret", "sqlalchemy-connector"]
    assert not any(PLANTED.encode() in one.body for one in answers)
    assert (await api.ask("DELETE", "/api/blocks/json/list")).status == 204
    assert (await api.get("/api/blocks/json/list")).status == 404

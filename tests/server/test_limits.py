"""Limits over HTTP and on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.server.conftest import Api
from tocsin.events.clock import SystemClock
from tocsin.flows.pools import create_pool
from tocsin.server.cli import main
from tocsin.store.engine import Store


async def test_a_limit_is_put_shown_changed_and_removed(sqlite_api: Api) -> None:
    made = await sqlite_api.ask("PUT", "/api/limits/tag/db", json={"slots": 3})
    assert (made.status, made.json()["slots"], made.json()["taken"]) == (200, 3, 0)
    changed = await sqlite_api.ask("PUT", "/api/limits/tag/db", json={"decay": 0.5, "paused": True})
    assert [changed.json()[name] for name in ("slots", "decay", "paused", "taken")] == [3, 0.5, True, None]
    shown = (await sqlite_api.get("/api/limits/tag/db")).json()
    assert (shown["kind"], shown["name"], shown["places"]) == ("tag", "db", [])
    assert [one["name"] for one in (await sqlite_api.get("/api/limits")).json()] == ["db"]
    assert (await sqlite_api.ask("DELETE", "/api/limits/tag/db")).status == 204
    gone = await sqlite_api.get("/api/limits/tag/db")
    assert (gone.status, "known: none" in gone.json()["detail"]) == (404, True)


@pytest.mark.parametrize(
    ("path", "body", "status", "why"),
    [
        ("/api/limits/tag/db", {}, 422, "say how many slots it has"),
        ("/api/limits/host/db", {"slots": 1}, 422, "is no kind of limit; known: task, tag, global, deployment"),
        ("/api/limits/work-queue/default/fast", {"slots": 1}, 404, "make the queue first"),
        ("/api/limits/tag/db", {"slots": 0}, 422, "greater than or equal to 1"),
    ],
    ids=["new without slots", "no such kind", "no such queue", "no slots"],
)
async def test_what_cannot_be_is_refused(
    sqlite_api: Api, path: str, body: dict[str, Any], status: int, why: str
) -> None:
    refused = await sqlite_api.ask("PUT", path, json=body)
    assert refused.status == status
    assert why in json.dumps(refused.json())


def say(capsys: pytest.CaptureFixture[str], *tokens: str) -> tuple[int, str, str]:
    """Exit code, what was printed, and what was complained about."""
    with pytest.raises(SystemExit) as left:
        main(list(tokens))
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err


def test_limits_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = say(capsys, "limit", "create", "task:fetch", "10", "-o", "json")
    assert (code, json.loads(out)["slots"]) == (0, 10)
    say(capsys, "limit", "create", "api", "5", "--decay", "2.5")
    code, out, _ = say(capsys, "limit", "ls", "-o", "json")
    assert [(one["kind"], one["name"], one["decay"]) for one in json.loads(out)] == [
        ("global", "api", 2.5),
        ("task", "fetch", None),
    ]
    assert "fetch" in say(capsys, "limit", "ls")[1]
    code, out, _ = say(capsys, "limit", "set", "task:fetch", "--slots", "4", "--pause", "-o", "json")
    assert [json.loads(out)[name] for name in ("slots", "paused")] == [4, True]
    say(capsys, "limit", "set", "task:fetch", "--resume")
    assert json.loads(say(capsys, "limit", "show", "task:fetch", "-o", "json")[1])["paused"] is False
    assert "nobody holds it" in say(capsys, "limit", "show", "task:fetch")[1]
    assert say(capsys, "limit", "rm", "task:fetch")[0] == 0
    code, _, complaint = say(capsys, "limit", "show", "task:fetch")
    assert (code, "known: global:api" in complaint) == (1, True)


async def test_a_queue_is_put_listed_and_paused(sqlite_api: Api, sqlite_url: str) -> None:
    path = "/api/work-pools/default/queues"
    assert (await sqlite_api.ask("PUT", f"{path}/urgent", json={"priority": 1})).status == 404, "no such pool"
    store = Store.open(sqlite_url)
    with store.begin() as session:
        create_pool(session, "default", now=SystemClock().now())
    store.close()
    made = (await sqlite_api.ask("PUT", f"{path}/urgent", json={"priority": 1, "concurrency": 2})).json()
    assert [made[name] for name in ("name", "priority", "concurrency", "paused")] == ["urgent", 1, 2, False]
    assert (await sqlite_api.ask("PUT", f"{path}/urgent", json={"paused": True})).json()["paused"] is True
    assert [one["concurrency"] for one in (await sqlite_api.get(path)).json()] == [2]
    assert [one["name"] for one in (await sqlite_api.get("/api/limits")).json()] == ["default/urgent"]


def test_queues_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "work-pool", "create", "default")
    say(capsys, "work-queue", "create", "default/urgent", "--priority", "1")
    say(capsys, "work-queue", "pause", "default/urgent")
    found = json.loads(say(capsys, "work-queue", "ls", "-o", "json")[1])
    assert [(one["name"], one["priority"], one["paused"]) for one in found] == [("urgent", 1, True)]
    assert json.loads(say(capsys, "work-queue", "resume", "default/urgent", "-o", "json")[1])["paused"] is False
    code, _, complaint = say(capsys, "work-queue", "pause", "urgent")
    assert (code, "write POOL/QUEUE" in complaint) == (1, True)

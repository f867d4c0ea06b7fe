"""The command line: every command parses, reads speak JSON, mistakes are one line and an exit code."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.server.conftest import Api
from tocsin.events.clock import SystemClock
from tocsin.notifiers import SlackWebhook, put_notifier
from tocsin.notifiers.standins import SlackStandIn
from tocsin.server.cli import app, main
from tocsin.store.engine import Store
from tocsin.triggers.schedules import Interval
from tocsin.triggers.store import put_schedule

FLOWS = """
from tocsin.flows import flow
from tocsin.flows.deployments import Deployment

@flow
def etl(day: str = "today"):
    return day

nightly = Deployment(name="nightly", entrypoint="flows.py:etl", schedules=[{"cron": "0 6 * * *"}])
"""
RULES = """
automations:
  - name: late
    trigger: {expect: [orders.late]}
    actions: [{type: do-nothing}]
"""


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Done]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one command line in this process."""

    def run(*words: str) -> Done:
        with pytest.raises(SystemExit) as ending:
            main(words)
        printed = capsys.readouterr()
        assert isinstance(ending.value.code, int)
        return Done(ending.value.code, printed.out, printed.err)

    return run


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a flow, its deployment, and rules."""
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "rules.yaml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_an_event_is_emitted_and_listed(cli: Cli) -> None:
    emitted = cli(
        "event", "emit", "orders.loaded", "orders", "--payload", '{"rows": 3}', "--label", "team=sales",
        "--related", "shop=shop.1", "-o", "json",
    )  # fmt: skip
    assert emitted.code == 0, emitted.err
    (event,) = cli("event", "ls", "-o", "json").json()
    assert event == emitted.json()
    assert (event["payload"], event["resource"]["team"]) == ({"rows": 3}, "sales")
    assert event["related"] == [{"tocsin.resource.id": "shop.1", "tocsin.resource.role": "shop"}]
    assert cli("event", "ls", "--name", "stock.*", "-o", "json").json() == []
    assert "orders.loaded" in cli("event", "ls").out


@pytest.mark.parametrize(
    "words",
    [
        "event ls", "automation ls", "schedule ls", "source ls", "deployment ls", "run ls", "work-pool ls",
        "notifier ls", "incident ls", "delivery ls",
    ],
)  # fmt: skip
def test_a_read_of_nothing_is_an_empty_list_or_says_what_to_do(cli: Cli, words: str) -> None:
    assert cli(*words.split(), "-o", "json").json() == []
    told = cli(*words.split())
    assert (told.code, told.err, "no " in told.out) == (0, "", True)


def test_deployments_are_applied_and_run(cli: Cli, flows: Path) -> None:
    applied = cli("deployment", "apply", "flows.py", "-o", "json")
    assert [(row["name"], row["path"]) for row in applied.json()] == [("nightly", str(flows))]
    by_entrypoint = cli("deployment", "apply", "flows.py:etl", "--name", "hourly", "--cron", "0 * * * *", "-o", "json")
    assert by_entrypoint.json()[0]["schedules"][0]["cron"] == "0 * * * *"
    assert [row["name"] for row in cli("deployment", "ls", "-o", "json").json()] == ["hourly", "nightly"]
    run = cli("deployment", "run", "nightly", "--parameters", '{"day": "monday"}', "-o", "json").json()
    assert run["parameters"] == {"day": "monday"}
    for name in (run["id"], run["id"][:13], run["name"]):
        assert cli("run", "show", name, "-o", "json").json()["id"] == run["id"]
    assert "Scheduled" in cli("run", "show", run["name"]).out
    assert cli("run", "logs", run["name"], "-o", "json").json() == []
    assert cli("run", "cancel", run["id"], "-o", "json").json()["state_name"] == "Cancelled"
    assert [row["state_name"] for row in cli("run", "ls", "--state", "cancelled", "-o", "json").json()] == ["Cancelled"]


def test_deployments_come_from_yaml_too(cli: Cli, flows: Path) -> None:
    lines = [f"- {{name: {name}, entrypoint: 'flows.py:etl'}}" for name in ("a", "b")]
    (flows / "deployments.yaml").write_text("\n".join(lines))
    assert [row["name"] for row in cli("deployment", "apply", "deployments.yaml", "-o", "json").json()] == ["a", "b"]


def test_automations_are_applied_and_shown(cli: Cli, flows: Path) -> None:
    for change in ("created", "unchanged"):
        applied = cli("automation", "apply", "rules.yaml", "-o", "json")
        assert applied.json() == [{"kind": "automation", "name": "late", "change": change}]
    assert [row["name"] for row in cli("automation", "ls", "-o", "json").json()] == ["late"]
    shown = cli("automation", "show", "late", "-o", "json").json()
    assert (shown["definition"]["trigger"]["expect"], shown["firings"]) == (["orders.late"], [])
    assert "it has not fired" in cli("automation", "show", "late").out


def test_a_schedule_is_previewed(cli: Cli) -> None:
    store = Store.open()
    with store.begin() as session:
        put_schedule(session, "hourly", Interval(timedelta(hours=1)), now=SystemClock().now())
    store.close()
    assert [row["slug"] for row in cli("schedule", "ls", "-o", "json").json()] == ["hourly"]
    assert len(cli("schedule", "preview", "hourly", "-n", "3", "-o", "json").json()) == 3


def test_a_definition_is_previewed_before_it_is_a_schedule(cli: Cli) -> None:
    spring = ("--timezone", "Europe/Berlin", "--start", "2026-03-28T02:30", "--count", "2")
    assert cli("schedule", "preview", "30 2 * * *", *spring, "-o", "json").json() == [
        {"instant": at, "wall": wall, "note": note, "sent_at": at}
        for at, wall, note in (
            ("2026-03-28T01:30:00Z", "2026-03-28T02:30:00", ""),
            ("2026-03-29T01:00:00Z", "2026-03-29T03:00:00", "gap"),
        )
    ]
    assert "2026-03-29 03:00:00  " in cli("schedule", "preview", "30 2 * * *", *spring).out
    autumn = ("--timezone", "Europe/Berlin", "--start", "2026-10-25T00:00Z", "-n", "3")
    beats = cli("schedule", "preview", "every 1h", *autumn, "-o", "json").json()
    assert [row["note"] for row in beats] == ["fold", "fold", ""]
    rule = cli("schedule", "preview", "FREQ=WEEKLY;COUNT=2", "--start", "2026-03-02T09:00", "-o", "json").json()
    assert [row["wall"] for row in rule] == ["2026-03-02T09:00:00", "2026-03-09T09:00:00"]


def test_a_preview_says_when_a_jittered_tick_is_sent(cli: Cli) -> None:
    store = Store.open()
    spread = Interval(timedelta(hours=1), jitter=timedelta(minutes=30))
    with store.begin() as session:
        row = put_schedule(session, "spread", spread, now=SystemClock().now())
    store.close()
    assert row.next_at is not None
    shown = cli("schedule", "preview", "spread", "-n", "2", "-o", "json").json()
    assert datetime.fromisoformat(shown[0]["sent_at"]) == row.next_at
    assert "sent at" in cli("schedule", "preview", "spread").out
    definition = ("schedule", "preview", json.dumps(spread.to_dict()), "--start", shown[0]["instant"], "-n", "2")
    assert cli(*definition, "--slug", "spread", "-o", "json").json() == shown
    unnamed = cli(*definition, "-o", "json")
    assert [row["sent_at"] for row in unnamed.json()] == [None, None]
    assert "say --slug" in unnamed.err


def test_a_schedule_rests_and_its_past_is_made_up_for(cli: Cli) -> None:
    store, now = Store.open(), SystemClock().now()
    with store.begin() as session:
        put_schedule(session, "hourly", Interval(timedelta(hours=1)), now=now)
    store.close()
    assert cli("schedule", "pause", "hourly", "-o", "json").json()["active"] is False
    asked = ("schedule", "backfill", "hourly", "--from", "2026-03-02T08:30", "--to", "2026-03-02T11:00Z", "-o", "json")
    said = cli(*asked, "--dry-run", "--reverse").json()
    assert [row["scheduled_time"] for row in said] == [f"2026-03-02T{hour}:00:00Z" for hour in ("11", "10", "09")]
    assert cli(*asked, "--reverse", "--max-active", "2").json() == said
    assert cli(*asked).json() == []
    told = cli("event", "ls", "--name", "tocsin.schedule.tick", "-o", "json").json()
    assert sorted(event["occurred"] for event in told) == sorted(row["scheduled_time"] for row in said)
    assert cli("schedule", "resume", "hourly", "-o", "json").json()["active"] is True
    assert "--from" in cli("schedule", "backfill", "hourly", "--from", "soon").err


def test_a_work_pool_is_created_and_bounded(cli: Cli) -> None:
    assert cli("work-pool", "create", "gpu", "--concurrency", "2", "-o", "json").json()["concurrency"] == 2
    assert [row["name"] for row in cli("work-pool", "ls", "-o", "json").json()] == ["gpu"]


def test_a_work_pool_of_containers_is_created_from_a_file_and_shown(cli: Cli, tmp_path: Path) -> None:
    template = tmp_path / "pool.json"
    template.write_text('{"image": "etl:1", "memory": "512m"}')
    cli("work-pool", "create", "etl", "--type", "docker", "--template", f"@{template}")
    assert cli("work-pool", "show", "etl", "-o", "json").json()["template"] == {"image": "etl:1", "memory": "512m"}
    refused = cli("work-pool", "create", "k8s", "--type", "kubernetes", "--template", '{"image": "i", "cpus": 1}')
    assert "template of a pool of type kubernetes: cpus: Extra inputs are not permitted" in refused.err
    assert "known: etl" in cli("work-pool", "show", "gpu").err


def test_a_notifiers_test_says_by_its_exit_code_whether_it_arrived(cli: Cli) -> None:
    with SlackStandIn() as slack:
        store = Store.open()
        with store.begin() as session:
            put_notifier(session, SlackWebhook(name="team", url=SecretStr(slack.url)))
        store.close()
        assert cli("notifier", "test", "team", "-o", "json").json()["outcome"] == "delivered"
        assert slack.url not in cli("notifier", "ls").out + cli("notifier", "ls", "-o", "json").out
    assert cli("notifier", "test", "team").code == 1


def test_the_database_is_upgraded(cli: Cli, home: Path) -> None:
    first, second = (cli("db", "upgrade", "-o", "json").json() for _ in range(2))
    assert (first["before"], second["before"], first["after"]) == (None, second["after"], second["after"])
    assert str(home) in first["database"]


MISTAKES = [
    ("an unknown command", "evnt ls", 2, 'Did you mean "event"'),
    ("an unknown sub-command", "event lss", 2, 'Did you mean "ls"'),
    ("an unknown option", "event ls --colour red", 2, "--colour"),
    ("a value of the wrong kind", "event ls --limit many", 2, "--limit"),
    ("an argument too few", "event emit", 2, "NAME"),
    ("an output that there is not", "run ls -o xml", 2, "xml"),
    ("a foreign name", "event emit tocsin.x orders", 1, "kept for tocsin"),
    ("a payload that is no JSON", "event emit a orders --payload {", 1, "not JSON"),
    ("a payload that is no object", "event emit a orders --payload []", 1, "JSON object"),
    ("a label without a value", "event emit a orders --label x", 1, "key=value"),
    ("an unknown run", "run show nothing", 1, "tocsin run ls"),
    ("an unknown automation", "automation show late", 1, "late"),
    ("an unknown deployment", "deployment run etl", 1, "etl"),
    ("a file that is not there", "automation apply nothing.yaml", 1, "nothing.yaml"),
    ("a module that is not there", "deployment apply nothing_here", 1, "nothing_here"),
    ("a file without deployments", "deployment apply rules.yaml", 1, "rules.yaml"),
    ("a file that raises", "deployment apply broken.py", 1, "ZeroDivisionError"),
    ("a flow's file that raises", "deployment apply broken.py:etl", 1, "broken.py:etl: ZeroDivisionError"),
    ("a file without automations", "automation apply flows.py", 1, "no automation"),
    ("an open door", "server --host 0.0.0.0 --port 0", 1, "set TOCSIN_API_KEY"),
    ("a schedule that cannot be", "deployment apply flows.py:etl --cron 61", 1, "cron"),
    ("an unknown schedule", "schedule preview nothing", 1, "nothing"),
    ("a line that never fires", "schedule preview @yearlyish", 1, "unknown; known: @yearly"),
    ("a zone that there is not", "schedule preview 90m --timezone Europe/Belrin", 1, "did you mean Europe/Berlin"),
    ("another name for a schedule", "schedule preview nightly --slug noon", 1, "has its own slug"),
    ("another zone for a schedule", "schedule preview nightly --timezone UTC", 1, "has its own timezone"),
    ("an unknown notifier", "notifier test team", 1, "team"),
    ("a glob in the middle", "event ls --name a*b", 1, "end"),
]


@pytest.mark.parametrize(("words", "code", "said"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_one_line_and_an_exit_code(cli: Cli, flows: Path, words: str, code: int, said: str) -> None:
    (flows / "broken.py").write_text("1 / 0\n")
    ended = cli(*words.split())
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("tocsin: ")
    assert ended.err.count("\n") == 1
    assert said in ended.err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TOCSIN_PORT", "x", "TOCSIN_PORT"),
        ("TOCSIN_API_KEY", "short", "TOCSIN_API_KEY: give at least 16 characters"),
        ("TOCSIN_DATABASE_URL", "mysql://u:hunter22@db/t", "mysql"),
        ("TOCSIN_DATABASE_URL", "postgresql://u:hunter22@127.0.0.1:9/t", "127.0.0.1"),
        ("TOCSIN_API_URL", "http://127.0.0.1:9", ":9: [Errno"),
        ("TOCSIN_API_URL", "ftp://127.0.0.1", "http"),
    ],
)
def test_a_setting_that_does_not_hold_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    ended = cli("event", "ls")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert said in ended.err
    assert "hunter22" not in ended.err


async def test_events_go_over_http_when_a_server_is_named(sqlite_api: Api, home: Path) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "tocsin.server", "event", *words]
        environment = os.environ | {"TOCSIN_API_URL": sqlite_api.url}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    await asyncio.to_thread(run, "emit", "orders.loaded", "orders")
    listed = json.loads(await asyncio.to_thread(run, "ls", "-o", "json"))
    assert [event["event"] for event in listed] == ["orders.loaded"]
    assert not (home / "tocsin.db").exists()


@pytest.mark.parametrize("over_http", [False, True], ids=["database", "http"])
async def test_a_tail_prints_what_happens(sqlite_api: Api, sqlite_url: str, over_http: bool) -> None:
    where = {"TOCSIN_API_URL": sqlite_api.url} if over_http else {"TOCSIN_DATABASE_URL": sqlite_url}
    command = [sys.executable, "-m", "tocsin.server", "event", "tail", "-n", "2", "-o", "jsonl"]
    tail = subprocess.Popen(command, env=os.environ | where, stdout=subprocess.PIPE, text=True)
    event = {"event": "orders.loaded", "resource": {"tocsin.resource.id": "orders"}}
    ended = asyncio.create_task(asyncio.to_thread(tail.communicate, timeout=60))
    while not ended.done():  # it begins to listen at some point
        await sqlite_api.post("/api/events", json=event)
        await asyncio.wait([ended], timeout=0.1)
    output, _ = await ended
    assert [json.loads(line)["event"] for line in output.splitlines()] == ["orders.loaded"] * 2


def test_a_reader_that_goes_away_is_no_error(cli: Cli) -> None:
    for number in range(3):
        assert cli("event", "emit", f"a.{number}", "orders").code == 0
    program = f"{sys.executable} -m tocsin.server event ls -o json | head -c 1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_help_is_quick_and_lists_every_command() -> None:
    command = [sys.executable, "-m", "tocsin.server", "--help"]
    best, printed = 60.0, ""
    for _ in range(3):
        began = cpu_of_children_s()
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        best = min(best, cpu_of_children_s() - began)
    assert [name for name in app if not name.startswith("-") and name not in printed] == []
    assert best < 2, "it takes 0.2 s of a processor, however busy the machine is"


def cpu_of_children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def test_help_loads_no_room() -> None:
    program = "import sys; from tocsin.server.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    program += "print(sorted(m for m in sys.modules if m.startswith(('tocsin.', 'sqlalchemy', 'fastapi', 'alembic'))))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert (
        printed.splitlines()[-1]
        == "['tocsin.server', 'tocsin.server.cli', 'tocsin.server.cli.ending', 'tocsin.server.version']"
    )


def test_every_command_of_the_docs_parses() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    assert [name for name in app if not name.startswith("-") and f"`tocsin {name}" not in documented] == []


def test_the_version_is_told(cli: Cli) -> None:
    assert cli("--version").out.startswith("tocsin ")


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_the_health_of_a_role_that_does_not_run_is_bad(cli: Cli, role: str) -> None:
    ended = cli("health", role, "--ready", "-o", "json")
    assert (ended.code, ended.json()["status"]) == (1, "unknown")


def test_the_health_of_a_role_is_in_its_pulse(cli: Cli, home: Path) -> None:
    mark = home / "pulse" / "worker"
    mark.parent.mkdir(parents=True)
    mark.touch()
    assert cli("health", "worker").code == 0
    assert cli("health", "worker", "--ready", "-o", "json").json() == {"status": "ready"}
    os.utime(mark, (0, 0))
    silent = cli("health", "worker")
    assert (silent.code, "silent" in silent.out) == (1, True)


async def test_the_servers_health_is_asked_over_http(sqlite_api: Api) -> None:
    def run(*words: str) -> int:
        environment = os.environ | {"TOCSIN_API_URL": sqlite_api.url}
        return subprocess.run([sys.executable, "-m", "tocsin.server", "health", *words], env=environment).returncode

    assert await asyncio.to_thread(run) == 0
    assert await asyncio.to_thread(run, "server", "--ready") == 0


def test_a_server_that_is_not_there_is_unreachable(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_API_URL", "http://127.0.0.1:9")
    ended = cli("health", "-o", "json")
    assert (ended.code, ended.json()["status"]) == (1, "unreachable")
    assert "urlopen" not in ended.json()["reason"]

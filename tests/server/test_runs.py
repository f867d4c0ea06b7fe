"""Flow runs by command and over HTTP: found by what they are, steered, tried again, given what they wait for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.server.conftest import Api, serving
from tocsin.events.clock import SystemClock
from tocsin.events.ids import uuid7
from tocsin.flows.changes import propose
from tocsin.flows.claims import claim
from tocsin.flows.decide import Context
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.pause_requests import Hold
from tocsin.flows.runs import create_run, get_run
from tocsin.flows.states import State, StateType, completed, running, suspended
from tocsin.server.cli import main
from tocsin.server.run_reads import Wanted, runs
from tocsin.server.settings import Settings
from tocsin.store.engine import Store

NOW = SystemClock().now
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


def made(store: Store, name: str = "etl", flow: str = "load", **also: Any) -> UUID:
    with store.begin() as session:
        tags = tuple(also.pop("tags", ()))
        put_deployment(session, Deployment(name=name, entrypoint="m:f", flow_name=flow, tags=tags), NOW())
        return create_run(session, name, now=also.pop("at", NOW()), **also).id


def taken(store: Store, run: UUID) -> None:
    """Claim it and begin it."""
    with store.begin() as session:
        claim(session, "default", 10, lease="worker:1", worker="w", now=NOW())
        propose(session, run, running(), Context(attempt=1), NOW())


def asking(store: Store) -> UUID:
    """A run that has left its process and asks for input."""
    run = made(store)
    taken(store, run)
    hold = Hold(
        run_id=run, attempt=1, transition="t", key="approve", state=suspended(), wants=SCHEMA, until=None, now=NOW()
    )
    with store.begin() as session:
        assert hold.perform(session).refused is None
    return run


def finished(store: Store, kind: StateType = StateType.COMPLETED) -> UUID:
    run = made(store)
    taken(store, run)
    end = completed() if kind is StateType.COMPLETED else State(kind, kind.title())
    with store.begin() as session:
        propose(session, run, end, Context(attempt=1), NOW())
    return run


# --- which runs ---

EARLY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FOUND = [
    pytest.param(Wanted(), ["late", "other", "etl"], id="all, newest first"),
    pytest.param(Wanted(deployment="other"), ["other"], id="of a deployment"),
    pytest.param(Wanted(flow="load"), ["late", "etl"], id="of a flow"),
    pytest.param(Wanted(tag="night ly"), ["other"], id="with a tag"),
    pytest.param(Wanted(tag="night"), [], id="with a part of a tag"),
    pytest.param(Wanted(name="ot*"), ["other"], id="by a pattern of the name"),
    pytest.param(Wanted(name="o%r*"), [], id="by a pattern without a star"),
    pytest.param(Wanted(since=EARLY + timedelta(hours=1)), ["late", "other"], id="made since"),
    pytest.param(Wanted(before=EARLY + timedelta(hours=1)), ["etl"], id="made before"),
    pytest.param(Wanted(state="SCHEDULED"), ["late", "other", "etl"], id="in a type"),
    pytest.param(Wanted(state="scheduled"), ["late", "other", "etl"], id="in a type, in any case"),
    pytest.param(Wanted(state="late"), ["late"], id="in a name, in any case"),
    pytest.param(Wanted(state="awaitingretry"), [], id="in a name of two words"),
    pytest.param(Wanted(state="SCHEDULED", flow="load", tag="night ly"), [], id="all of it must fit"),
]


@pytest.mark.parametrize(("wanted", "names"), FOUND)
def test_runs_are_found_by_what_they_are(store: Store, wanted: Wanted, names: list[str]) -> None:
    made(store, "etl", at=EARLY)
    made(store, "other", "check", at=EARLY + timedelta(hours=2), tags=["night ly", 'quo"te'])
    late = made(store, "late", at=EARLY + timedelta(hours=3))
    with store.begin() as session:
        propose(session, late, State(StateType.SCHEDULED, "Late", scheduled=EARLY), Context(), EARLY)
    with store.read() as session:
        assert [run.deployment for run in runs(session, wanted)] == names


# --- by command ---


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
def cli(capsys: pytest.CaptureFixture[str], store_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs one command line in this process, on the test's store."""
    monkeypatch.setenv("TOCSIN_DATABASE_URL", store_url)

    def run(*words: str) -> Done:
        with pytest.raises(SystemExit) as ending:
            main(words)
        printed = capsys.readouterr()
        assert isinstance(ending.value.code, int)
        return Done(ending.value.code, printed.out, printed.err)

    return run


def test_a_run_is_paused_suspended_and_resumed_by_command(cli: Cli, store: Store) -> None:
    run = made(store)
    for verb, name in (("pause", "Paused"), ("resume", "Resuming"), ("suspend", "Suspended"), ("resume", "Resuming")):
        shown = cli("run", verb, str(run), "--reason", f"to {verb}", "-o", "json").json()
        assert (shown["state_name"], shown["state_message"]) == (name, f"to {verb}")
    refused = cli("run", "resume", str(run)[:13])
    assert refused.code == 0, "what is on its way is no failure"
    assert cli("run", "cancel", str(run), "-o", "json").json()["state_name"] == "Cancelled"
    assert "it is Cancelled, not paused" in cli("run", "resume", str(run)).err


def test_a_run_is_given_what_it_waits_for_by_command(cli: Cli, store: Store) -> None:
    run = asking(store)
    shown = cli("run", "show", str(run), "-o", "json").json()
    assert shown["waits_for"] == {"key": "approve", "schema": SCHEMA}
    for given, said in (
        ('{"ok": "perhaps"}', "input 'ok': Input should be a valid boolean"),
        ("{}", "input 'ok': Field required"),
        ("yes", "it is not JSON"),
    ):
        wrong = cli("run", "resume", str(run), "--input", given)
        assert (wrong.code, wrong.out) == (1, "")
        assert said in wrong.err
    with store.read() as session:
        assert get_run(session, run).state_name == "Suspended"
    resumed = cli("run", "resume", str(run), "--input", '{"ok": true}', "-o", "json").json()
    assert (resumed["state_name"], resumed["waits_for"]) == ("Resuming", None)


def test_what_was_completed_starts_again_only_by_force(cli: Cli, store: Store) -> None:
    run = finished(store)
    refused = cli("run", "retry", str(run))
    assert refused.code == 1
    assert "by force" in refused.err
    again = cli("run", "retry", str(run), "--force", "-o", "json").json()
    assert (again["state_name"], again["reruns"]) == ("Scheduled", 1)


def test_a_run_is_removed_by_command(cli: Cli, store: Store) -> None:
    run, busy = finished(store), made(store)
    taken(store, busy)
    assert "cancel it first" in cli("run", "rm", str(busy)).err
    assert cli("run", "rm", str(run)).code == 0
    assert [row["id"] for row in cli("run", "ls", "-o", "json").json()] == [str(busy)]


# --- over HTTP ---


@pytest.fixture
async def api(store: Store, store_url: str) -> AsyncIterator[Api]:
    async with serving(store, Settings()) as served:
        yield served


async def test_a_run_is_steered_over_http(api: Api, store: Store) -> None:
    run = made(store)
    for verb, name in (("pause", "Paused"), ("resume", "Resuming"), ("suspend", "Suspended"), ("resume", "Resuming")):
        answer = await api.post(f"/api/runs/{run}/{verb}", json={"reason": "so"})
        assert (answer.status, answer.json()["state_name"], answer.json()["state_message"]) == (200, name, "so")
    assert (await api.post(f"/api/runs/{run}/cancel")).json()["state_name"] == "Cancelled"
    assert (await api.post(f"/api/runs/{run}/pause")).status == 409
    assert (await api.get("/api/runs?flow=load&state=cancelled")).json()[0]["id"] == str(run)
    assert (await api.get("/api/runs?since=2026-03-02T09:00:00")).status == 422


async def test_an_input_that_does_not_fit_is_422_and_changes_nothing(api: Api, store: Store) -> None:
    run = asking(store)
    answer = await api.post(f"/api/runs/{run}/resume", json={"run_input": {"ok": []}})
    assert answer.status == 422
    assert "input 'ok': Input should be a valid boolean" in answer.json()["detail"]
    assert (await api.get(f"/api/runs/{run}")).json()["state_name"] == "Suspended"
    answer = await api.post(f"/api/runs/{run}/resume", json={"run_input": {"ok": True}})
    assert (answer.status, answer.json()["state_name"]) == (200, "Resuming")


async def test_the_same_retry_is_asked_for_once_over_http(api: Api, store: Store) -> None:
    run = finished(store, StateType.FAILED)
    key = str(uuid7())
    for _ in range(2):
        answer = await api.post(f"/api/runs/{run}/retry", json={"key": key, "budget": 1})
        assert (answer.status, answer.json()["reruns"]) == (200, 1)
    assert (await api.post(f"/api/runs/{run}/retry", json={"keep": "?"})).status == 422


def test_a_slip_of_the_pen_is_told_from_nothing_to_list(cli: Cli) -> None:
    assert "start one with" in cli("run", "ls").out
    assert "no flow runs like that" in cli("run", "ls", "--state", "failed").out
    assert (
        "no flow runs are faild; the states that tocsin gives are Scheduled" in cli("run", "ls", "--state", "faild").out
    )


@pytest.mark.parametrize("given", ["{day", "[1]"])
def test_parameters_that_are_no_object_are_named(cli: Cli, given: str) -> None:
    refused = cli("deployment", "run", "nightly", "--parameters", given)
    assert refused.code == 1
    assert f"--parameters {given!r}: " in refused.err
    assert "give a JSON object, such as" in refused.err

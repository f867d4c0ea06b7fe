"""A run that starts again: killed in task k of n it does the first k-1 no more; what is forced to may begin anew."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import col, select

from tests.flows.conftest import Book
from tests.flows.found import Found
from tests.flows.killed_flows import GIVES
from tests.flows.yard import now
from tocsin.flows import flow, task
from tocsin.flows.claims import claim, ended
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.flows import Flow
from tocsin.flows.runs import Refusal, create_run, get_run, retry_run
from tocsin.flows.states import StateType
from tocsin.flows.tables import FlowRun, TaskRun
from tocsin.store.engine import Store

FLOWS = Path(__file__).with_name("killed_flows.py")
PLACES = {
    "chain": [f"chain-{number}" for number in range(1, 6)],
    "spread": ["spread-alone", "spread-0", "spread-3", "spread-5"],
    "nested": ["first-1", "first-2", "between", "second-1", "second-2"],
    "awaiting": ["await-1", "await-2", "await-3"],
}
"""Where each flow is killed, one place after the other."""


@pytest.mark.faults
@pytest.mark.parametrize("name", PLACES)
def test_killed_in_one_task_after_the_other_a_run_does_none_twice(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    witness = tmp_path / "witness"
    monkeypatch.setenv("TOCSIN_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("WITNESS", str(witness))
    store = Store.open(sqlite_url)
    with store.begin() as session:
        put_deployment(session, Deployment(name=name, entrypoint=f"{FLOWS}:{name}", flow_name=name), now())
        run = create_run(session, name, now=now()).id
    for place in PLACES[name]:
        assert attempt(store, run, KILLED_AT=place) == -signal.SIGKILL
    assert attempt(store, run) == 0
    found = Found(store, witness)
    assert found.flows[run].attempt == len(PLACES[name]) + 1
    assert found.wrong_results() == found.wrong_events() == found.unfinished_tasks() == found.done_twice() == []
    begun = [place for _, place, *_ in found.begun]
    if name in ("chain", "nested"):  # in the others, more than one may be under way when one is killed
        assert sorted(begun) == sorted(2 * PLACES[name])
    assert set(GIVES) >= {name}
    store.close()


def attempt(store: Store, run: UUID, **also: str) -> int:
    """Let a process do the run as a worker would; how it ended. A run that has crashed is to be tried again."""
    with store.begin() as session:
        (taken,) = claim(session, "default", 1, lease="worker:1", worker="w", now=now())
    command = [sys.executable, "-m", "tocsin.flows.execute", str(run), str(taken["attempt"])]
    code = subprocess.run(command, env={**os.environ, **also}, check=False).returncode
    with store.begin() as session:
        ended(session, run, taken["attempt"], code, now())
        if code:
            retry_run(session, run, scheduled=now(), key=f"{run}:{taken['attempt']}", now=now())
    return code


# --- from the start, or not ---


class Here:
    """A deployment whose runs are done in this process."""

    def __init__(self, book: Book, what: Flow[..., Any]) -> None:
        self.book, self.flow = book, what
        with book.store.begin() as session:
            put_deployment(session, Deployment(name="d", entrypoint="m:f", flow_name="f"), now())
            self.id = create_run(session, "d", now=now()).id

    def work(self) -> Any:
        with self.book.store.begin() as session:
            (taken,) = claim(session, "default", 1, lease="worker:1", worker="w", now=now() + timedelta(seconds=1))
        return self.flow.resume(taken)

    def again(self, **options: Any) -> FlowRun | Refusal:
        with self.book.store.begin() as session:
            return retry_run(session, self.id, scheduled=now(), key=f"{now()}", now=now(), **options)


@pytest.mark.parametrize(
    ("options", "times"),
    [({}, 2), ({"keep": True}, 1), ({"keep": False}, 2)],
    ids=["by default it begins from the start", "it keeps what it has done", "it begins from the start"],
)
def test_a_completed_run_is_forced_to_start_again(book: Book, options: dict[str, Any], times: int) -> None:
    calls: list[str] = []

    @task
    def step(name: str) -> str:
        calls.append(name)
        return name

    @flow
    def within() -> str:
        return step("within")

    @flow
    def whole() -> list[str]:
        return [step("a"), *step.map(["b", "c"]).result(), within()]

    run = Here(book, whole)
    assert run.work() == ["a", "b", "c", "within"]
    refused = run.again()
    assert isinstance(refused, Refusal)
    assert "by force" in refused.reason
    again = run.again(force=True, **options)
    assert isinstance(again, FlowRun)
    assert (again.state_name, again.reruns) == ("Scheduled", 1)
    assert run.work() == ["a", "b", "c", "within"]
    assert sorted(calls) == sorted(times * ["a", "b", "c", "within"])
    with book.store.read() as session:
        assert (get_run(session, run.id).attempt, get_run(session, run.id).state_name) == (2, "Completed")
        ends = session.exec(select(FlowRun.state_type).where(col(FlowRun.parent_run_id) == run.id)).all()
        assert set(ends) == {"COMPLETED"}
        assert {row.state_name for row in session.exec(select(TaskRun)).all()} == {"Completed"}


def test_a_failed_run_can_be_made_to_begin_from_the_start(book: Book) -> None:
    calls: list[str] = []

    @task
    def step() -> None:
        calls.append("step")

    @flow
    def fails() -> None:
        step()
        raise ValueError("no")

    run = Here(book, fails)
    for keep, count in ((None, 1), (None, 1), (False, 2)):
        if calls:
            run.again(keep=keep)
        with pytest.raises(ValueError, match="no"):
            run.work()
        assert len(calls) == count


def test_the_run_of_a_script_is_not_tried_again_and_the_way_out_is_told(book: Book) -> None:
    @flow
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()
    [run] = book.flow_runs()
    with book.store.begin() as session:
        refused = retry_run(session, run.id, scheduled=now(), force=True, key="k", now=now())
    assert isinstance(refused, Refusal)
    assert "call the flow again, or deploy it" in refused.reason


@pytest.mark.parametrize("same", [True, False], ids=["of one request", "of two people"])
def test_two_retries_at_once_are_one(store: Store, same: bool) -> None:
    with store.begin() as session:
        put_deployment(session, Deployment(name="d", entrypoint="m:f", flow_name="f"), now())
        run = create_run(session, "d", now=now()).id
        claim(session, "default", 1, lease="worker:1", worker="w", now=now())
        ended(session, run, 1, -9, now())
    start = threading.Barrier(2)

    def ask(number: int) -> FlowRun | Refusal:
        start.wait(30)
        with store.begin() as session:
            key = "same" if same else str(number)
            return retry_run(session, run, scheduled=now() + timedelta(hours=number), key=key, now=now())

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(ask, range(2)))
    with store.read() as session:
        after = get_run(session, run)
    assert (after.state_type, after.reruns) == (StateType.SCHEDULED, 1)
    assert sum(isinstance(answer, FlowRun) for answer in answers) == 2 if same else 1

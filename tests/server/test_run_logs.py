"""What runs have logged: filters, search, and following a run to its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.server.conftest import serving
from tocsin.events.clock import SystemClock
from tocsin.flows import flow, get_run_logger, task
from tocsin.flows import ledger as ledgers
from tocsin.flows.runs import list_runs
from tocsin.flows.tables import FlowRun
from tocsin.server import log_reads
from tocsin.server.log_reads import Wanted, level_of
from tocsin.server.settings import Settings
from tocsin.store.engine import Store

NOW = SystemClock().now


@task(name="fetch")
def fetch(shop: str) -> None:
    get_run_logger().info("fetching %s: 100%% of 5_000", shop)


@task(name="fetch-rates")
def fetch_rates() -> None:
    get_run_logger().warning("rates are OLD")


@flow
def takings() -> None:
    get_run_logger().debug("not kept: the level of runs is INFO")
    get_run_logger().info("begun")
    fetch("berlin")
    fetch_rates()
    fetch("lagos")


@pytest.fixture
def logged(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, FlowRun]]:
    """A store in which `takings` has run."""
    monkeypatch.setenv("TOCSIN_DATABASE_URL", store_url)
    takings()
    store = ledgers.local().store
    ledgers.local().flush()
    with store.read() as session:
        [run] = list_runs(session)
    yield store, run
    ledgers.close()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), ["begun", "fetching berlin: 100% of 5_000", "rates are OLD", "fetching lagos: 100% of 5_000"]),
        (Wanted(level=level_of("warning")), ["rates are OLD"]),
        (Wanted(text="Are old"), ["rates are OLD"]),
        (Wanted(text="0% of 5_0"), ["fetching berlin: 100% of 5_000", "fetching lagos: 100% of 5_000"]),
        (Wanted(text="berlin%"), []),
        (Wanted(task="fetch-rates"), ["rates are OLD"]),
        (Wanted(task="fetch-1"), ["fetching lagos: 100% of 5_000"]),
        (Wanted(task="fet"), []),
        (Wanted(since=NOW() + timedelta(days=1)), []),
        (Wanted(until=NOW() - timedelta(days=1)), []),
    ],
    ids=["all", "level", "text", "wildcards", "percent", "task", "task-run", "no-task", "since", "until"],
)
def test_lines_are_found_by_what_they_say(logged: tuple[Store, FlowRun], wanted: Wanted, found: list[str]) -> None:
    store, run = logged
    with store.read() as session:
        assert [line.message for line in log_reads.of_run(session, run.id, wanted)] == found
        assert [line.message for line in log_reads.search(session, wanted)] == found[::-1]
        assert log_reads.search(session, wanted, deployment="another") == []


def test_a_line_tells_whose_it_is_and_is_paged_by_its_number(logged: tuple[Store, FlowRun]) -> None:
    store, run = logged
    with store.read() as session:
        first, *others = log_reads.of_run(session, run.id)
        assert (first.run, first.task) == (run.name, None)
        assert [line.task for line in others] == ["fetch-0", "fetch-rates-0", "fetch-1"]
        assert log_reads.of_run(session, run.id, after=first.id, limit=1) == others[:1]
        assert log_reads.last_of_run(session, run.id, Wanted(), limit=2) == others[1:]


async def test_lines_are_searched_over_http(logged: tuple[Store, FlowRun]) -> None:
    store, run = logged
    async with serving(store, Settings(port=0)) as api:
        one: Any = (await api.get(f"/api/runs/{run.id}/logs?level=warning")).json()
        every: Any = (await api.get("/api/logs?text=LAGOS")).json()
        refused = await api.get("/api/logs?level=loud")
    assert [line["message"] for line in one] == ["rates are OLD"]
    assert [(line["run"], line["task"]) for line in every] == [(run.name, "fetch-1")]
    assert (refused.status, "warning" in refused.json()["detail"]) == (422, True)


FLOW = """
import sys
from tocsin.flows import flow, get_run_logger
@flow
def told():
    logger = get_run_logger()
    for line in sys.stdin:
        logger.info("heard %s", line.strip())
told()
"""


def test_a_run_is_followed_to_its_end(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader sees a line while the run still waits for its next word, and ends when the run has."""
    monkeypatch.setenv("TOCSIN_DATABASE_URL", store_url)
    program = [sys.executable, "-c", FLOW]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(program, stdin=subprocess.PIPE, **quiet) as running:  # type: ignore[call-overload]
        running.stdin.write("one\n")
        running.stdin.flush()
        run = _begun(Store.open(store_url))
        command = [sys.executable, "-m", "tocsin.server", "run", "logs", str(run.id), "-f"]
        with subprocess.Popen(command, **quiet) as reader:  # type: ignore[call-overload]
            assert reader.stdout.readline().endswith("heard one\n")
            running.stdin.write("two\n")
            running.stdin.flush()
            assert reader.stdout.readline().endswith("heard two\n")
            running.stdin.close()
            assert reader.stdout.read() == ""
            assert reader.wait(60) == 0


def _begun(store: Store) -> FlowRun:
    found: list[FlowRun] = []
    while not found:
        with store.read() as session:
            found = list_runs(session)
    store.close()
    return found[0]

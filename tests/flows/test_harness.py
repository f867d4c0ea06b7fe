"""Flows under test: their own database, waits that take no time, deployments carried out at once."""

import asyncio
import os
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tocsin.events.errors import Invalid, NotFound
from tocsin.flows import flow, get_run_logger, task
from tocsin.flows.deployments import Deployment
from tocsin.flows.testing import Harness, VirtualClock
from tocsin.flows.testing import flow_harness as make_harness

DAY = 86_400


def shop(answers: list[str]) -> Callable[[], str]:
    """A flow whose task takes the answers one by one, and fails on an empty one."""

    @task(retries=2, retry_delay_seconds=[DAY, 10])
    def fetch() -> str:
        get_run_logger().info("asking")
        if not (answer := answers.pop(0)):
            raise ValueError("closed")
        return answer

    @flow
    def takings() -> str:
        return fetch()

    return takings


def test_waits_take_no_time_and_are_counted(flow_harness: Harness) -> None:
    began = time.monotonic()
    assert shop(["", "", "42"])() == "42"
    assert time.monotonic() - began < 60
    assert flow_harness.states("fetch") == [
        "Running", "AwaitingRetry", "Pending", "Retrying", "AwaitingRetry", "Pending", "Retrying", "Completed"
    ]  # fmt: skip
    assert flow_harness.slept == timedelta(seconds=DAY + 10)
    assert flow_harness.logs("ask") == ["asking"] * 3
    [run] = flow_harness.task_runs("fetch")
    assert run.ended is not None
    assert run.ended - run.created >= timedelta(days=1)


def test_coroutines_wait_no_longer(flow_harness: Harness) -> None:
    tries: list[int] = []

    @flow(retries=1, retry_delay_seconds=DAY)
    async def nightly() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")

    asyncio.run(nightly())
    assert flow_harness.states("nightly")[-2:] == ["Retrying", "Completed"]
    assert flow_harness.slept == timedelta(days=1)


FLOW = """
from tocsin.flows import flow, task

@task
def count(day):
    with open("counted", "a") as file:
        print(day, file=file)
    return len(day)

@flow(name="report", retries=1, retry_delay_seconds=7200)
def report(day: str):
    total = count(day)
    if day == "bad":
        raise ValueError("no data")
    return total
"""


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment of a flow in a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports.py").write_text(textwrap.dedent(FLOW))
    return Deployment(name="report", entrypoint="reports.py:report", parameters={"day": "{{ data_interval_end[:10] }}"})


def test_a_deployment_is_run_at_once_by_the_time_of_the_test(report: Deployment, tmp_path: Path) -> None:
    with make_harness(start=datetime(2026, 3, 29, 1, tzinfo=UTC)) as harness:
        run = harness.run_deployment(report)
        assert (run.state_name, run.parameters) == ("Completed", {"day": "2026-03-29"})
        assert (tmp_path / "counted").read_text() == "2026-03-29\n"


def test_a_deployed_run_that_fails_is_tried_again_hours_later(
    report: Deployment, tmp_path: Path, flow_harness: Harness
) -> None:
    run = flow_harness.run_deployment(report, {"day": "bad"})
    assert (run.state_name, run.attempt) == ("Failed", 2)
    assert flow_harness.slept >= timedelta(hours=1)
    assert (tmp_path / "counted").read_text() == "bad\n"
    assert "AwaitingRetry" in flow_harness.states(run.name)


def test_what_went_on_before_is_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOCSIN_HOME", str(tmp_path / "mine"))
    with make_harness() as first:
        shop(["1"])()
        assert len(first.flow_runs()) == 1
    assert os.environ["TOCSIN_HOME"] == str(tmp_path / "mine")
    with make_harness() as second:
        assert second.flow_runs() == []


def test_a_run_that_there_is_not_is_named_with_those_there_are(flow_harness: Harness) -> None:
    shop(["1"])()
    with pytest.raises(NotFound, match=r"fetched.*there are: fetch-0, takings"):
        flow_harness.states("fetched")


def test_time_does_not_go_back() -> None:
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock.skip(timedelta(hours=1))
    assert clock.now() >= datetime(2026, 1, 1, 1, tzinfo=UTC)
    with pytest.raises(Invalid, match="forward"):
        clock.skip(timedelta(seconds=-1))

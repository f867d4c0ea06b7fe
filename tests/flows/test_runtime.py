"""What the code at hand can ask about its run."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.flows.conftest import Book
from tocsin.flows import flow, runtime, task
from tocsin.flows.changes import load
from tocsin.flows.claims import claim
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.runs import create_run

NOW = datetime(2026, 3, 2, 5, tzinfo=UTC)


def told() -> dict[str, Any]:
    run, inner = runtime.flow_run, runtime.task_run
    return {
        "flow_run": (run.name, run.flow_name, run.flow_version, run.parameters, run.tags, run.run_count),
        "task_run": (inner.name, inner.task_name, inner.parameters, inner.tags, inner.attempt),
        "ids": (run.id, inner.id, run.parent_flow_run_id),
        "deployment": (runtime.deployment.name, runtime.deployment.work_pool),
    }


def test_outside_of_a_run_there_is_nothing() -> None:
    assert told() == {
        "flow_run": (None, None, None, {}, [], None),
        "task_run": (None, None, {}, [], None),
        "ids": (None, None, None),
        "deployment": (None, None),
    }
    assert runtime.flow_run.scheduled_start_time is None


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_inside_it_is_the_run_at_hand(quick: Book, asynchronous: bool) -> None:
    tries: list[int] = []

    def asks(day: str, factor: int = 2) -> dict[str, Any]:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        return told()

    async def asks_async(day: str, factor: int = 2) -> dict[str, Any]:
        return asks(day, factor)

    made: Any = task(asks_async if asynchronous else asks, name="asks", retries=1, tags=["t"], task_run_name="a-{day}")

    @flow(name="f", version="3", tags=["x"], flow_run_name="f of {number}")
    def runs(number: int) -> tuple[Any, Any]:
        return made.submit("monday").result(), told()

    inside, outside = runs("7")  # type: ignore[call-overload]  # validated
    (flow_run,), (task_run,) = quick.flow_runs(), quick.task_runs()
    assert inside["flow_run"] == outside["flow_run"] == ("f of 7", "f", "3", {"number": 7}, ["x"], 1)
    assert inside["task_run"] == ("a-monday", "asks", {"day": "monday", "factor": 2}, ["t"], 2)
    assert inside["ids"] == (flow_run.id, task_run.id, None)
    assert outside["task_run"] == (None, None, {}, [], None)


def test_a_subflow_is_a_run_of_its_own(quick: Book) -> None:
    inner = flow(told, name="inner")
    outer = flow(lambda: (told(), inner()), name="outer")
    outside, inside = outer()
    assert inside["ids"][2] == outside["ids"][0]
    assert inside["flow_run"][1] == "inner"


def test_a_coroutine_asks_for_itself(quick: Book) -> None:
    @task
    async def asks(number: int) -> int:
        await asyncio.sleep(0)
        return int(runtime.task_run.parameters["number"])

    @flow
    async def runs() -> list[int]:
        return list(await asyncio.gather(asks(1), asks(2), asks(3)))

    assert asyncio.run(runs()) == [1, 2, 3]


@flow(version="9", flow_run_name="due {day}")
def due(day: str) -> Any:
    return told(), runtime.flow_run.scheduled_start_time


def test_a_run_of_a_deployment_knows_when_it_was_due(book: Book) -> None:
    lease, now = book.ledger.lease, book.ledger.clock.now()
    with book.store.begin() as session:
        put_deployment(session, Deployment(name="d", entrypoint="m.py:due", flow_name="due"), NOW)
        run = create_run(session, "d", parameters={"day": "monday"}, scheduled=NOW, now=NOW)
        (taken,) = claim(session, "default", 1, lease=lease, worker="w", now=now)
    answer, scheduled = due.resume(taken)
    assert scheduled == NOW
    assert answer["deployment"] == ("d", "default")
    with book.store.read() as session:
        row = load(session, run.id)
    assert (row["name"], row["flow_version"], row["state_name"]) == ("due monday", "9", "Completed")

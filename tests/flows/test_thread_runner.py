"""The pool of threads and its event loop: its limit, who waits in it, and what is left of it."""

import asyncio
import threading

import pytest

from tests.flows import runner_flows as flows
from tests.flows.conftest import Book
from tocsin.flows import flow, task
from tocsin.flows.task_runners import ConcurrentTaskRunner


@pytest.mark.parametrize(("tasks", "limit"), [(1, 3), (3, 3), (4, 2), (6, 3), (5, 1)])
@pytest.mark.parametrize("kind", ["functions", "coroutines"])
def test_parallelism_is_the_lesser_of_tasks_and_limit(quick: Book, kind: str, tasks: int, limit: int) -> None:
    at_work, most, together = 0, 0, min(tasks, limit)
    lock = threading.Lock()
    gate = threading.Barrier(together)

    def enter() -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)

    def leave() -> None:
        nonlocal at_work
        with lock:
            at_work -= 1

    @task
    def waits(number: int) -> int:
        enter()
        if tasks % together == 0:
            gate.wait(60)
        leave()
        return number

    @task
    async def awaits(number: int) -> int:
        enter()
        while most < together:
            await asyncio.sleep(0)
        leave()
        return number

    @flow(task_runner=ConcurrentTaskRunner(max_workers=limit))
    def side_by_side() -> list[int]:
        return (waits if kind == "functions" else awaits).map(range(tasks)).result()

    assert side_by_side() == list(range(tasks))
    assert most == together


@pytest.mark.parametrize("kind", ["functions", "coroutines"])
def test_tasks_that_wait_for_tasks_do_not_stop_a_pool_of_one(quick: Book, kind: str) -> None:
    @task
    def down(depth: int) -> int:
        return 1 + down.submit(depth - 1).result() if depth else 0

    @task
    async def down_awaiting(depth: int) -> int:
        return 1 + await down_awaiting.submit(depth - 1) if depth else 0

    @flow(task_runner=ConcurrentTaskRunner(max_workers=1))
    def deep() -> list[int]:
        return (down if kind == "functions" else down_awaiting).map([12, 5]).result()

    assert deep() == [12, 5]


def test_a_subflow_in_a_task_of_a_full_pool_ends(quick: Book) -> None:
    runner = ConcurrentTaskRunner(max_workers=1)

    @flow(task_runner=runner)
    def inner() -> None:
        flows.double.map([1, 2, 3])

    @task
    def calls() -> None:
        inner()

    @flow(task_runner=runner)
    def whole() -> None:
        calls.submit().result()

    whole()
    assert [run.state_name for run in quick.task_runs() if run.name.startswith("double")] == ["Completed"] * 3


def test_a_task_that_waits_for_its_next_try_holds_no_thread(quick: Book) -> None:
    order: list[str] = []

    @task(retries=1, retry_delay_seconds=0.5)
    def again() -> None:
        order.append("again")
        if len(order) == 1:
            raise ConnectionError("no")

    @task
    def other() -> None:
        order.append("other")

    @flow(task_runner=ConcurrentTaskRunner(max_workers=1))
    def both() -> None:
        again.submit()
        other.submit()

    both()
    assert order == ["again", "other", "again"]


def test_whoever_stops_waiting_for_a_task_does_not_break_it(quick: Book) -> None:
    gate = threading.Event()

    @task
    def held() -> int:
        gate.wait(60)
        return 1

    @flow
    async def impatient() -> int:
        future = held.submit()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)
        gate.set()
        return await future

    assert asyncio.run(impatient()) == 1


def test_its_threads_go_with_the_flow_run(quick: Book) -> None:
    before = {thread for thread in threading.enumerate() if thread.name == "tocsin-task"}
    flows.chained.with_options(task_runner=ConcurrentTaskRunner(max_workers=4))()
    left = [thread for thread in threading.enumerate() if thread.name == "tocsin-task" and thread not in before]
    for thread in left:
        thread.join(60)
        assert not thread.is_alive()

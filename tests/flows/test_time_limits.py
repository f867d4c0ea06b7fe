"""A time limit: what takes too long is given up, and begins nothing more."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.flows.conftest import Book
from tocsin.flows import flow, task
from tocsin.flows.errors import OutOfTime


@task
def double(number: int) -> int:
    return 2 * number


def called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What it gives, awaited if it is to be."""
    value = function(*args, **kwargs)
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


@pytest.mark.parametrize("kind", ["task", "flow", "async task", "async flow", "submitted task"])
def test_a_function_that_takes_too_long_is_given_up(quick: Book, kind: str) -> None:
    never = threading.Event()

    def waits() -> bool:
        return never.wait(20)

    async def waits_async() -> None:
        await asyncio.Event().wait()

    made: Any = (task if "task" in kind else flow)(waits_async if "async" in kind else waits, timeout_seconds=0.05)
    try:
        with pytest.raises(TimeoutError, match=r"did not end within 0.05 s"):
            called(lambda: made.submit().result() if kind == "submitted task" else made())
        (run,) = quick.task_runs() if "task" in kind else quick.flow_runs()
        assert (run.state_name, run.state_type) == ("TimedOut", "FAILED")
    finally:
        never.set()


def test_what_was_given_up_begins_no_more_tasks(quick: Book) -> None:
    began, go_on, over = threading.Event(), threading.Event(), threading.Event()

    @flow(timeout_seconds=0.05)
    def slow() -> None:
        began.set()
        go_on.wait(20)
        try:
            double(1)
        finally:
            over.set()

    with pytest.raises(OutOfTime):
        slow()
    go_on.set()
    assert over.wait(20)
    assert quick.task_runs() == []


def test_what_a_flow_left_at_work_ends_with_it(book: Book) -> None:
    began, go_on = threading.Event(), threading.Event()

    @task
    def hangs() -> None:
        began.set()
        go_on.wait(20)

    @flow(timeout_seconds=0.3)
    def slow() -> None:
        hangs.submit()
        began.wait(20)
        book.ledger.flush()
        go_on.wait(20)

    with pytest.raises(OutOfTime):
        slow()
    assert (book.flow_runs()[0].state_name, book.task_states()) == ("TimedOut", {"hangs-0": "Crashed"})
    go_on.set()


def test_a_timeout_of_the_functions_own_is_an_error_like_any_other(quick: Book) -> None:
    @task(timeout_seconds=60)
    def asks() -> None:
        raise TimeoutError("the shop does not answer")

    with pytest.raises(TimeoutError, match="the shop"):
        asks()
    assert quick.task_runs()[0].state_name == "Failed"


def test_one_that_is_out_of_time_is_tried_again(quick: Book) -> None:
    tries: list[int] = []
    never = threading.Event()

    @task(timeout_seconds=0.05, retries=1)
    def slow_at_first() -> int:
        tries.append(1)
        return len(tries) if len(tries) > 1 else never.wait(20)

    assert slow_at_first() == 2
    never.set()
    assert quick.event_names()["task-run.AwaitingRetry"] == 1


def test_an_abandoned_attempt_does_not_join_the_next_one(quick: Book) -> None:
    tries: list[int] = []
    go_on, over = threading.Event(), threading.Event()

    @flow(timeout_seconds=0.2, retries=1)
    def slow_at_first() -> int:
        tries.append(1)
        if len(tries) == 1:
            go_on.wait(20)
            try:
                double(1)
            finally:
                over.set()
        else:
            go_on.set()
            over.wait(20)
        return double(2)

    assert slow_at_first() == 4
    assert list(quick.task_states().values()) == ["Completed"]


def test_a_timed_function_gives_its_place_to_the_tasks_it_waits_for(quick: Book) -> None:
    @task(timeout_seconds=60)
    def outer(number: int) -> int:
        return double.submit(number).result()

    assert outer.map(list(range(40))).result() == [2 * number for number in range(40)]

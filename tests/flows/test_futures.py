"""Tasks beside their caller: submitted, mapped, handed on as futures, failed upstream."""

import asyncio
import threading
from typing import Any

import pytest

from tests.flows.conftest import Book
from tocsin.events.errors import Invalid
from tocsin.flows import UpstreamFailed, flow, task, unmapped
from tocsin.flows.futures import Future


@task
def double(number: int) -> int:
    return 2 * number


@task
async def adouble(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@task(name="fails")
def fails(number: int) -> int:
    raise ValueError(f"no {number}")


@task
def gathered(first: int, *more: int, **named: int) -> tuple[int, tuple[int, ...], dict[str, int]]:
    return first, more, named


@pytest.mark.parametrize("double_it", [double, adouble], ids=["sync task", "async task"])
def test_submitted_tasks_pass_their_results_on(book: Book, double_it: Any) -> None:
    @flow
    def chained() -> tuple[int, list[int]]:
        first = double_it.submit(1)
        second = double_it.submit(first)
        return double(second), double_it.map([second, 10, 20]).result()

    assert chained() == (8, [8, 20, 40])
    assert set(book.task_states().values()) == {"Completed"}


def test_futures_are_awaited_in_coroutines(quick: Book) -> None:
    @flow
    async def chained() -> int:
        first = adouble.submit(1)
        second = double.submit(first)
        return await adouble(second) + await first  # type: ignore[call-overload, no-any-return]  # futures for values

    assert asyncio.run(chained()) == 10


def test_map_makes_one_run_an_element(quick: Book) -> None:
    @task
    def show(word: str, number: int, rest: list[int]) -> str:
        return f"{word}{number}{rest}"

    @flow
    def maps() -> list[str]:
        return show.map("x", range(3), unmapped([7, 8])).result()

    assert maps() == ["x0[7, 8]", "x1[7, 8]", "x2[7, 8]"]
    assert list(quick.task_states()) == ["show-0", "show-1", "show-2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(([1, 2], [1]), "word: 2, number: 1"), (("ab", 1), "none of them is a list")],
    ids=["lengths differ", "nothing to go through"],
)
def test_a_map_that_cannot_be_is_refused(quick: Book, arguments: tuple[Any, ...], message: str) -> None:
    @task
    def show(word: str, number: int) -> None: ...

    with pytest.raises(Invalid, match=message):
        show.map(*arguments)


def test_an_empty_map_makes_no_run(quick: Book) -> None:
    @flow
    def maps() -> list[int]:
        return double.map([]).result()

    assert maps() == []
    assert quick.task_runs() == []


def test_a_failed_mapped_task_names_itself_in_the_error_of_the_flow(book: Book) -> None:
    @task(name="halve")
    def halve(number: int) -> float:
        return 1 / number

    @task(name="collect")
    def collect(numbers: list[float]) -> float:
        return sum(numbers)

    @flow
    def maps() -> float:
        return collect(halve.map([1, 0, 2]))  # type: ignore[arg-type]  # futures for values

    message = r'task "collect" did not run: task run .halve-1. \(map index 1\) failed with ZeroDivisionError: division'
    with pytest.raises(UpstreamFailed, match=message) as caught:
        maps()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    (run,) = book.flow_runs()
    assert run.state_name == "Failed"
    assert "halve-1" in run.state_message
    assert book.task_states()["collect-0"] == "UpstreamFailed"


def test_the_error_of_the_root_reaches_the_end_of_a_chain(quick: Book) -> None:
    @flow
    def chain() -> int:
        return double(double.submit(double.submit(fails.submit(4))))  # type: ignore[call-overload, no-any-return]

    with pytest.raises(UpstreamFailed, match="task \"double\" did not run: task run 'fails-0' failed"):
        chain()


def test_a_flow_waits_for_its_tasks_and_a_failure_that_nobody_looked_at_is_its_own(quick: Book) -> None:
    @flow
    def starts() -> str:
        fails.submit(1)
        double.submit(double.submit(2))
        return "done"

    with pytest.raises(UpstreamFailed, match=r"task run 'fails-0' failed with ValueError: no 1; nobody looked at it"):
        starts()
    assert quick.task_states() == {"fails-0": "Failed", "double-0": "Completed", "double-1": "Completed"}


def test_a_failed_future_that_is_returned_fails_the_flow(quick: Book) -> None:
    @flow
    def starts() -> Future[int]:
        return fails.submit(1)

    with pytest.raises(ValueError, match="no 1"):
        starts()
    assert quick.flow_runs()[0].state_name == "Failed"


def test_tasks_that_wait_for_tasks_do_not_stop_a_full_pool(quick: Book) -> None:
    @task
    def outer(number: int) -> int:
        return double.submit(number).result()

    @flow
    def nested() -> list[int]:
        return outer.map(range(100)).result()

    assert nested() == [2 * number for number in range(100)]


def test_tasks_of_one_map_are_at_work_together(quick: Book) -> None:
    together = threading.Barrier(8)

    @task
    def meets(number: int) -> int:
        together.wait(30)
        return number

    @flow
    def maps() -> list[int]:
        return meets.map(range(8)).result()

    assert maps() == list(range(8))


@pytest.mark.usefixtures("quick")
def test_a_map_goes_through_further_arguments_too() -> None:
    assert gathered.map([1, 2], [3, 4], unmapped(5), a=[6, 7], b=8).result() == [
        (1, (3, 5), {"a": 6, "b": 8}),
        (2, (4, 5), {"a": 7, "b": 8}),
    ]
    with pytest.raises(Invalid, match="lists of one length, and got first: 2, argument 2: 1, a: 3"):
        gathered.map([1, 2], [3], a=[1, 2, 3])
    with pytest.raises(Invalid, match='task "double": too many positional arguments; its parameters are number'):
        double.map([1], [2])

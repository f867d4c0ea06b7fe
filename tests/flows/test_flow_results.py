"""A flow is as good as what it returns, and no failure is lost."""

import asyncio
from typing import Any

import pytest

from tests.flows.conftest import Book
from tocsin.flows import RunState, UpstreamFailed, flow, task
from tocsin.flows.run_states import Completed, Failed


@task
def halve(number: int) -> float:
    return 4 / number


@task
def adds(numbers: list[float]) -> float:
    return sum(numbers)


def returns(what: Any) -> Any:
    return flow(what, name="f")


# what a flow returns, made inside it -> its result
GOOD: dict[str, tuple[Any, Any]] = {
    "a future": (lambda: halve.submit(2), 2.0),
    "a list of futures": (lambda: [halve.submit(2), halve.submit(4)], [2.0, 1.0]),
    "futures in a dict": (lambda: {"a": halve.submit(2), "b": 7}, {"a": 2.0, "b": 7}),
    "what map gives": (lambda: halve.map([1, 2]), [4.0, 2.0]),
    "a state": (lambda: Completed(7, message="enough"), 7),
    "the state of a task": (lambda: halve(2, return_state=True), 2.0),
    "nothing, after a failure that was looked at": (lambda: halve.submit(0).exception() and None, None),
    "nothing, after a state that was looked at": (lambda: halve.submit(0, return_state=True) and None, None),
    "nothing, after a failure of a call": (lambda: halve(0, return_state=True) and None, None),
}


@pytest.mark.parametrize(("what", "result"), GOOD.values(), ids=GOOD)
def test_what_is_good_is_completed(quick: Book, what: Any, result: Any) -> None:
    assert returns(what)() == result
    assert quick.flow_runs()[0].state_name == "Completed"


def test_states_that_are_good_are_given_as_they_are(quick: Book) -> None:
    states = returns(lambda: [halve(2, return_state=True), Completed(1)])()
    assert [state.result() for state in states] == [2.0, 1]


ZERO = "task run 'halve-0' failed with ZeroDivisionError: division by zero"
BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "a future": (lambda: halve.submit(0), ZeroDivisionError, r"division by zero"),
    "a list of futures": (lambda: [halve.submit(0), halve.submit(1)], UpstreamFailed, f'flow "f": {ZERO}'),
    "what map gives": (
        lambda: halve.map([1, 0, 0]),
        UpstreamFailed,
        r"task run 'halve-1' \(map index 1\) failed with .*; task run 'halve-2' \(map index 2\) failed with",
    ),
    "more than a screen of failures": (lambda: halve.map([0] * 12), UpstreamFailed, "and 2 more$"),
    "a state": (lambda: Failed(message="too few"), Exception, "^too few$"),
    "the state of a task": (lambda: halve(0, return_state=True), ZeroDivisionError, "division"),
    "states, one of them bad": (
        lambda: [Completed(1), halve(0, return_state=True)],
        UpstreamFailed,
        "1 of the 2 states that it returns are no success: Failed: ZeroDivisionError",
    ),
    "nothing, after a failure that nobody saw": (lambda: halve.submit(0) and None, UpstreamFailed, f"{ZERO}; nobody"),
    "something, after a mapped failure that nobody saw": (
        lambda: halve.map([1, 0]) and 3,
        UpstreamFailed,
        r"'halve-1' \(map index 1\) failed with ZeroDivisionError: division by zero; nobody looked",
    ),
    "a task that needs them": (
        lambda: adds(halve.map([1, 0])),  # type: ignore[arg-type]
        UpstreamFailed,
        r'task "adds" did not run: task run \'halve-1\' \(map index 1\) failed with ZeroDivisionError',
    ),
}


@pytest.mark.parametrize(("what", "kind", "message"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_what_is_bad_fails_the_flow_and_names_itself(
    quick: Book, what: Any, kind: type[Exception], message: str, asynchronous: bool
) -> None:
    async def awaits() -> Any:
        return what()

    made = returns(awaits if asynchronous else what)
    with pytest.raises(kind, match=message):
        asyncio.run(made()) if asynchronous else made()
    (run,) = quick.flow_runs()
    assert run.state_name == "Failed"


def test_the_error_of_a_called_task_names_its_run_in_the_state_of_the_flow(book: Book) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        returns(lambda: halve.map([1, 0]).result())()
    assert book.flow_runs()[0].state_message == (
        "ZeroDivisionError: division by zero (in task run 'halve-1' (map index 1))"
    )
    assert raised.value.__notes__ == ["in task run 'halve-1' (map index 1)"]


def test_the_end_of_a_chain_names_its_root(quick: Book) -> None:
    @task
    def passes(number: float) -> float:
        return number

    with pytest.raises(UpstreamFailed, match=r"^task \"passes\" did not run: task run 'halve-0' failed with"):
        returns(lambda: passes.submit(passes.submit(halve.submit(0))).result())()


def test_a_flow_answers_with_its_state(quick: Book) -> None:
    good: RunState = returns(lambda: 3)(return_state=True)
    bad: RunState = returns(lambda: halve(0))(return_state=True)
    assert (good.name, good.result()) == ("Completed", 3)
    assert (bad.name, type(bad.result(raise_on_failure=False))) == ("Failed", ZeroDivisionError)
    assert asyncio.run(flow(nothing, name="n")(return_state=True)).is_completed()


async def nothing() -> None:
    """A coroutine function."""


def test_a_subflow_takes_futures_and_waits_for_others(quick: Book) -> None:
    inner = flow(lambda number: number + 1, name="inner")
    order: list[str] = []
    notes = task(lambda: order.append("task"), name="notes")
    late = flow(lambda: order.append("flow"), name="late")

    @flow
    def outer() -> Any:
        late(wait_for=[notes.submit()])
        return inner(halve.submit(2))

    assert outer() == 3.0
    assert order == ["task", "flow"]


def test_a_subflow_whose_input_failed_does_not_begin(quick: Book) -> None:
    inner = flow(lambda number: number, name="inner")
    with pytest.raises(UpstreamFailed, match=f'flow "inner" did not run: {ZERO}'):
        returns(lambda: inner(halve.submit(0)))()
    assert [run.flow_name for run in quick.flow_runs()] == ["f"]


def test_a_returned_failure_of_a_flow_counts_as_a_try(quick: Book) -> None:
    tries: list[int] = []

    @flow(retries=1, name="f")
    def poor() -> RunState:
        tries.append(1)
        return Failed(message="too few rows") if len(tries) == 1 else Completed(5)

    assert poor() == 5


def test_subflows_run_in_submitted_tasks_and_of_their_own_making(book: Book) -> None:
    @flow(name="inner")
    def inner(number: int) -> float:
        return halve(number)

    @task
    def wraps(number: int) -> float:
        return inner(number)

    @flow
    def outer(upto: int) -> float:
        found = wraps.map(list(range(1, upto))).result()
        while sum(found) > 2:  # as many tasks as the data asks for
            found = [halve(2) - 1.5 for _ in found[:-1]]
        return sum(found)

    assert outer(4) == 1.0
    parents = {run.parent_run_id for run in book.flow_runs() if run.flow_name == "inner"}
    assert parents == {run.id for run in book.flow_runs() if run.flow_name == "outer"}

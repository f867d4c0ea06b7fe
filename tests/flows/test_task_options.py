"""What the options of a task do: names, retries, time limits, what it waits for, how it answers."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.flows.conftest import Book
from tocsin.flows import RunState, UpstreamFailed, allow_failure, flow, task, unmapped
from tocsin.flows.errors import Unsuccessful
from tocsin.flows.futures import as_completed, wait
from tocsin.flows.retries import Retrying, retrying
from tocsin.flows.run_states import Completed, Failed
from tocsin.flows.states import StateType
from tocsin.flows.tasks import exponential_backoff


@task
def double(number: int) -> int:
    return 2 * number


@task
def fails(number: int = 0) -> int:
    raise ValueError(f"no {number}")


def called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What it gives, awaited if it is to be."""
    value = function(*args, **kwargs)
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


# --- names ---

NAMES: dict[str, tuple[Any, str]] = {
    "a template": ("load-{table}-{day:>3}", "load-orders-  2"),
    "a template into an object": ("{table.__class__.__name__}", "str"),
    "a function": (lambda: "by hand", "by hand"),
    "a function of the parameters": (lambda parameters: f"{parameters['table']}!", "orders!"),
    "one that is too long": ("x" * 500, "x" * 200),
    "one that cannot be printed": ("a\n{table}", "a\\norders"),
}


@pytest.mark.parametrize(("spec", "name"), NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("how", ["called", "submitted"])
def test_a_run_is_named_by_its_arguments(quick: Book, spec: Any, name: str, how: str) -> None:
    @task(task_run_name=spec)
    def load(table: str, day: int = 2) -> str:
        return table

    @flow(flow_run_name=spec)
    def loads(table: str, day: int = 2) -> str:
        return load(table) if how == "called" else load.submit(load.submit(table)).result()

    assert loads("orders") == "orders"
    assert {run.name for run in quick.task_runs()} == {name}
    assert [run.task_name for run in quick.task_runs()] == ["load"] * (1 if how == "called" else 2)
    assert quick.flow_runs()[0].name == name


NAMELESS: dict[str, Any] = {
    "a function that raises": lambda: 1 / 0,
    "a function that gives a number": lambda: 3,
    "a template that does not fit": "{table.nothing}",
    "a template that comes out empty": "{table}",
}


@pytest.mark.parametrize("spec", NAMELESS.values(), ids=NAMELESS)
def test_no_work_is_lost_for_a_name(quick: Book, spec: Any, caplog: pytest.LogCaptureFixture) -> None:
    @task(task_run_name=spec)
    def load(table: str) -> str:
        return table

    @flow
    def loads() -> str:
        return load("")

    assert loads() == ""
    assert quick.task_states() == {"load-0": "Completed"}
    assert "default" in caplog.text


# --- retries ---


def test_a_backoff_doubles() -> None:
    assert exponential_backoff(10)(4) == [10, 20, 40, 80]
    waits = retrying("task", 3, exponential_backoff(0.5)).waits
    assert waits == (timedelta(seconds=0.5), timedelta(seconds=1), timedelta(seconds=2))


@given(
    delays=st.lists(st.floats(0, 1e6), min_size=1, max_size=5),
    retries=st.integers(1, 8),
    jitter=st.floats(0, 3),
    chance=st.floats(0, 1, exclude_max=True),
    done=st.integers(0, 7),
)
def test_jitter_only_stretches(delays: list[float], retries: int, jitter: float, chance: float, done: int) -> None:
    policy = retrying("task", retries, delays, jitter)
    plain = Retrying(policy.waits).wait(done, chance)
    assert plain <= policy.wait(done, chance) <= plain * (1 + jitter) + timedelta(microseconds=1)
    assert plain == policy.waits[min(done, retries - 1)]


def test_the_due_time_is_drawn_once_and_stored(quick: Book) -> None:
    @task(retries=1, retry_delay_seconds=0.05, retry_jitter_factor=1)
    def flaky(tries: list[int]) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        return len(tries)

    assert flaky([]) == 2
    (waits,) = [event for event in quick.events() if event.event.endswith("AwaitingRetry")]
    from datetime import datetime

    delay = datetime.fromisoformat(waits.payload["scheduled"]) - waits.occurred
    assert timedelta(seconds=0.05) <= delay <= timedelta(seconds=0.1)


def only_connections(definition: Any, run: Any, state: RunState) -> bool:
    assert (run.state_name, state.name) == ("Running", "Failed") or run.attempt > 1
    return isinstance(state.result(raise_on_failure=False), ConnectionError)


async def only_connections_async(definition: Any, run: Any, state: RunState) -> bool:
    return only_connections(definition, run, state)


CONDITIONS: dict[str, tuple[Any, Exception, int]] = {
    "it says yes": (only_connections, ConnectionError("away"), 3),
    "it says no": (only_connections, ValueError("bad"), 1),
    "a coroutine function says yes": (only_connections_async, ConnectionError("away"), 3),
    "it raises": (lambda definition, run, state: 1 / 0, ConnectionError("away"), 1),
}


@pytest.mark.parametrize(("condition", "error", "tries"), CONDITIONS.values(), ids=CONDITIONS)
@pytest.mark.parametrize("kind", ["task", "async task", "flow"])
def test_a_condition_decides_whether_to_try_again(
    quick: Book, kind: str, condition: Any, error: Exception, tries: int
) -> None:
    seen = []

    def raises() -> None:
        seen.append(1)
        raise error

    async def raises_async() -> None:
        raises()

    made: Any = {"task": (task, raises), "async task": (task, raises_async), "flow": (flow, raises)}[kind]
    with pytest.raises(type(error)):
        called(made[0](made[1], retries=2, retry_condition_fn=condition))
    assert len(seen) == tries
    assert [run.state_name for run in (quick.flow_runs() if kind == "flow" else quick.task_runs())] == ["Failed"]


# --- what a run waits for ---


@pytest.mark.parametrize("how", ["called", "submitted", "mapped"])
def test_a_run_waits_for_what_it_is_told(quick: Book, how: str) -> None:
    order: list[str] = []
    go_on = threading.Event()

    @task
    def first() -> None:
        go_on.wait(20)
        order.append("first")

    @task
    def second(number: int) -> int:
        order.append("second")
        return number

    @flow
    def both() -> Any:
        before = [first.submit(), first.submit()]
        if how == "submitted":
            after: Any = second.submit(1, wait_for=before)
        elif how == "mapped":
            after = second.map([1], wait_for=[before])
        go_on.set()
        return second(1, wait_for=before) if how == "called" else after

    both()
    assert order == ["first", "first", "second"]


def test_one_that_waits_for_a_failure_does_not_run(quick: Book) -> None:
    @flow
    def both() -> RunState:
        state: RunState = double(1, wait_for=[fails.submit()], return_state=True)
        return state

    with pytest.raises(UpstreamFailed, match=r'task "double" did not run: task run \'fails-0\' failed with ValueError'):
        both()
    assert quick.task_states()["double-0"] == "UpstreamFailed"


@pytest.mark.parametrize("how", ["called", "submitted", "mapped", "waited for"])
def test_a_failure_that_is_allowed_comes_as_it_is(quick: Book, how: str) -> None:
    @task
    def counts(inputs: Any) -> list[str]:
        listed = inputs if isinstance(inputs, list) else [inputs]
        return [type(each).__name__ for each in listed]

    @flow
    def both() -> Any:
        futures = [fails.submit(1), double.submit(2)]
        match how:
            case "called":
                return counts(allow_failure(futures))
            case "submitted":
                return counts.submit(allow_failure(futures)).result()
            case "mapped":
                return [each for found in counts.map(allow_failure(futures)).result() for each in found]
        return counts([ValueError(), 1], wait_for=[allow_failure(futures)])

    assert both() == ["ValueError", "int"]


def test_an_allowed_failure_goes_to_every_element_whole(quick: Book) -> None:
    @task
    def shows(number: int, error: Any) -> str:
        return f"{number} {error}"

    @flow
    def both() -> list[str]:
        return shows.map([1, 2], unmapped(allow_failure(fails.submit(7)))).result()

    assert both() == ["1 no 7", "2 no 7"]


# --- how a run answers ---


def test_a_state_is_given_in_place_of_a_result_or_an_error(quick: Book) -> None:
    done, bad = double(2, return_state=True), fails(1, return_state=True)
    assert (done.name, done.is_completed(), done.result()) == ("Completed", True, 4)
    assert (bad.name, bad.is_failed(), bad.message) == ("Failed", True, "ValueError: no 1")
    assert isinstance(bad.result(raise_on_failure=False), ValueError)
    with pytest.raises(ValueError, match="no 1"):
        bad.result()


def test_submitted_and_mapped_runs_answer_with_states_too(quick: Book) -> None:
    assert double.submit(2, return_state=True).result() == 4
    assert [state.name for state in fails.map([1, 2], return_state=True)] == ["Failed", "Failed"]


def test_a_coroutine_answers_with_its_state(quick: Book) -> None:
    @task
    async def waits() -> int:
        await asyncio.sleep(0)
        return 3

    assert asyncio.run(waits(return_state=True)).result() == 3


def test_wrong_arguments_are_no_state(quick: Book) -> None:
    with pytest.raises(TypeError):
        double(return_state=True, nothing=1).result()


def test_a_future_knows_its_state(quick: Book) -> None:
    go_on = threading.Event()

    @task
    def waits() -> bool:
        return go_on.wait(20)

    future = waits.submit()
    assert not future.state.is_final()
    go_on.set()
    assert future.result() is True
    assert (future.state.type, future.state.result()) == (StateType.COMPLETED, True)
    bad = fails.submit(3)
    assert isinstance(bad.result(raise_on_failure=False), ValueError)
    assert bad.state.is_failed()


ENDS: dict[str, tuple[Any, str, str]] = {
    "completed, with a message": (lambda: Completed(5, message="nothing new"), "Completed", "nothing new"),
    "completed, under another name": (lambda: Completed(5, name="Skipped"), "Skipped", ""),
    "failed": (lambda: Failed(message="too few rows"), "Failed", "too few rows"),
    "completed, with what no database keeps": (lambda: Completed(5, message="a\0b"), "Completed", "a\ufffdb"),
    "failed, with an error": (lambda: Failed(error=KeyError("a")), "Failed", "KeyError: 'a'"),
}


@pytest.mark.parametrize(("end", "name", "message"), ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("decorate", [task, flow], ids=["task", "flow"])
def test_a_run_may_return_its_state(quick: Book, decorate: Any, end: Any, name: str, message: str) -> None:
    state = decorate(end, name="ends")(return_state=True)
    rows = quick.task_runs() if decorate is task else quick.flow_runs()
    assert [(row.state_name, row.state_message) for row in rows] == [(name, message)]
    assert (state.name, state.is_completed()) == (name, end().is_completed())
    if end().is_completed():
        assert state.result() == 5


def test_a_returned_failure_counts_as_a_try(quick: Book) -> None:
    tries: list[int] = []

    @task(retries=2)
    def poor() -> RunState:
        tries.append(1)
        return Failed(message="too few rows")

    with pytest.raises(Unsuccessful, match="too few rows"):
        poor()
    assert len(tries) == 3


# --- futures together ---


def test_futures_are_given_as_they_end(quick: Book) -> None:
    gates = [threading.Event() for _ in range(3)]

    @task
    def waits(number: int) -> int:
        gates[number].wait(20)
        return number

    futures = waits.map([0, 1, 2])
    ended = as_completed(futures, timeout=20)
    for number in (2, 0, 1):
        gates[number].set()
        assert next(ended).result() == number
    assert list(ended) == []


def test_waiting_has_an_end(quick: Book) -> None:
    go_on = threading.Event()

    @task
    def waits() -> bool:
        return go_on.wait(20)

    quick_one, slow_one = double.submit(1), waits.submit()
    quick_one.wait()
    done, not_done = wait([quick_one, slow_one], timeout=0.01)
    assert (done, not_done) == ({quick_one}, {slow_one})
    with pytest.raises(TimeoutError, match="1 task runs have not ended"):
        list(as_completed([quick_one, slow_one], timeout=0.01))
    with pytest.raises(TimeoutError):
        slow_one.result(timeout=0.01)
    go_on.set()
    assert wait([quick_one, slow_one]).not_done == set()

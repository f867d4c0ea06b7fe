"""Flows and tasks in this process: what they return, what is recorded, what others hear."""

import asyncio
import logging
from collections.abc import Callable
from datetime import date, timedelta

import pytest

from tests.flows.conftest import Book
from tocsin.events.errors import Invalid
from tocsin.events.ids import state_event_id
from tocsin.flows import flow, get_run_logger, task
from tocsin.flows.errors import Terminated
from tocsin.flows.runs import cancel_run


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


def test_a_flow_returns_what_its_function_returns_and_leaves_its_states(book: Book) -> None:
    @flow(name="sums", tags=["b", "a"])
    def sums(number: int) -> int:
        return double(number) + double(number)

    assert sums(3) == 12
    (run,) = book.flow_runs()
    assert (run.flow_name, run.state_type, run.state_name, run.attempt, run.version) == (
        "sums",
        "COMPLETED",
        "Completed",
        1,
        2,
    )
    assert (run.parameters, run.tags, run.lease) == ({"number": 3}, ["a", "b"], None)
    assert run.started is not None
    assert run.ended is not None
    assert book.task_states() == {"double-0": "Completed", "double-1": "Completed"}
    assert book.event_names() == {
        "flow-run.Running": 1,
        "flow-run.Completed": 1,
        "task-run.Running": 2,
        "task-run.Completed": 2,
    }


def test_an_async_flow_does_the_same(book: Book) -> None:
    @flow
    async def sums(number: int) -> int:
        both = await asyncio.gather(adouble(number), adouble(number))
        return sum(both) + double(1)

    assert asyncio.run(sums(3)) == 14
    assert set(book.task_states().values()) == {"Completed"}
    assert len(book.task_states()) == 3


def test_each_state_is_an_event_that_follows_the_one_before(quick: Book) -> None:
    @flow(name="load", tags=["nightly"])
    def load(day: date) -> None:
        raise ValueError(f"bad\0 rows on {day}")

    with pytest.raises(ValueError, match="bad"):
        load("2024-01-15")  # type: ignore[call-overload]  # coerced
    (run,) = quick.flow_runs()
    running, failed = quick.events()
    assert (running.id, running.follows) == (state_event_id(run.id, 1), None)
    assert (failed.id, failed.follows) == (state_event_id(run.id, 2), running.id)
    assert failed.event == "tocsin.flow-run.Failed"
    labels = dict(failed.resource)
    assert labels.pop("tocsin.state-timestamp") == run.state_at.isoformat()
    assert labels == {
        "tocsin.resource.id": f"tocsin.flow-run.{run.id}",
        "tocsin.resource.name": run.name,
        "tocsin.state-name": "Failed",
        "tocsin.state-type": "FAILED",
        "tocsin.state-message": "ValueError: bad� rows on 2024-01-15",
        "tocsin.run-count": "1",
    }
    assert failed.related == [
        {"tocsin.resource.id": "tocsin.flow.load", "tocsin.resource.role": "flow", "tocsin.resource.name": "load"},
        {"tocsin.resource.id": "tocsin.tag.nightly", "tocsin.resource.role": "tag"},
    ]
    assert run.started is not None
    assert failed.payload == {
        "duration_s": (run.state_at - run.started).total_seconds(),
        "from": {"type": "RUNNING", "name": "Running", "message": ""},
        "to": {"type": "FAILED", "name": "Failed", "message": labels["tocsin.state-message"]},
        "attempt": 1,
        "version": 2,
        "parameters": {"day": "2024-01-15"},
        "error": {"type": "ValueError", "message": "bad� rows on 2024-01-15"},
    }


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit], ids=["ctrl-c", "sys.exit"])
def test_an_interrupted_flow_has_crashed(quick: Book, interruption: type[BaseException]) -> None:
    @task
    def stops() -> None:
        raise interruption

    @flow
    def interrupted() -> None:
        stops()

    with pytest.raises(interruption):
        interrupted()
    (run,) = quick.flow_runs()
    assert (run.state_name, run.state_message) == ("Crashed", f"interrupted by {interruption.__name__}")
    assert quick.task_states() == {"stops-0": "Crashed"}


def test_a_script_that_is_asked_to_stop_does_so_before_its_next_task(book: Book) -> None:
    @flow
    def long() -> None:
        double(1)
        (run,) = book.flow_runs()
        with book.store.begin() as session:
            cancel_run(session, run.id, reason="by hand", now=book.ledger.clock.now())
        book.beat()
        double(2)

    with pytest.raises(Terminated):
        long()
    (run,) = book.flow_runs()
    assert (run.state_name, run.state_message) == ("Cancelled", "by hand")
    assert book.task_states() == {"double-0": "Completed"}


def test_parameters_are_coerced_and_a_bad_one_fails_the_run_by_name(quick: Book) -> None:
    @flow(name="typed")
    def typed(count: int, day: date | None = None) -> tuple[int, date | None]:
        return count, day

    assert typed("3", "2024-01-15") == (3, date(2024, 1, 15))  # type: ignore[call-overload]
    with pytest.raises(Invalid, match="parameter 'count'"):
        typed("three")  # type: ignore[call-overload]
    assert [run.state_name for run in quick.flow_runs()] == ["Completed", "Failed"]


def test_a_task_is_tried_again_after_its_delays(book: Book) -> None:
    tries: list[int] = []

    @task(retries=2, retry_delay_seconds=[0, 0.01])
    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("away")
        return 7

    @flow
    def calls() -> int:
        return flaky()

    assert calls() == 7
    (run,) = book.task_runs()
    assert (run.state_name, run.attempt, run.retries) == ("Completed", 3, 2)
    names = [event.event.rpartition(".")[2] for event in book.events() if event.event.startswith("tocsin.task-run.")]
    once = ["AwaitingRetry", "Pending", "Retrying"]
    assert names == ["Running", *once, *once, "Completed"]


def test_a_task_out_of_retries_has_failed(quick: Book) -> None:
    @flow
    def calls() -> None:
        fails.with_options(retries=1)(5)

    with pytest.raises(ValueError, match="no 5"):
        calls()
    (run,) = quick.task_runs()
    assert (run.state_name, run.attempt, run.fault) == ("Failed", 2, {"type": "ValueError", "message": "no 5"})


def test_a_flow_that_is_tried_again_does_not_repeat_what_was_done(book: Book) -> None:
    done: list[str] = []

    @task
    def step(name: str) -> str:
        done.append(name)
        return name.upper()

    @task
    def gate() -> None:
        done.append("gate")
        if done.count("gate") == 1:
            raise ConnectionError("away")

    @flow
    def inner(name: str) -> str:
        done.append("inner")
        return step(name)

    @flow(retries=1)
    def resumed() -> list[str]:
        result = [step("a"), step("a"), inner("b")]
        gate()
        return [*result, step("c")]

    assert resumed() == ["A", "A", "B", "C"]
    assert done == ["a", "a", "inner", "b", "gate", "gate", "c"]
    outer = next(run for run in book.flow_runs() if run.parent_run_id is None)
    assert (outer.state_name, outer.attempt) == ("Completed", 2)
    assert len(book.flow_runs()) == 2


def test_a_subflow_that_failed_is_resumed_in_its_own_run(quick: Book) -> None:
    done: list[str] = []

    @task
    def step(name: str) -> None:
        done.append(name)
        if name == "bad" and done.count("bad") == 1:
            raise ConnectionError("away")

    @flow
    def inner() -> None:
        step("good")
        step("bad")

    @flow(retries=1)
    def outer() -> None:
        inner()

    outer()
    assert done == ["good", "bad", "bad"]
    parent, child = quick.flow_runs()
    assert (child.parent_run_id, child.attempt, child.state_name) == (parent.id, 2, "Completed")
    roles = {label["tocsin.resource.role"]: label for event in quick.events() for label in event.related}
    assert roles["parent-run"]["tocsin.resource.id"] == f"tocsin.flow-run.{parent.id}"


def test_a_task_outside_any_flow_is_recorded_too(book: Book) -> None:
    assert double(2) == 4
    assert double.submit(3).result() == 6
    assert asyncio.run(adouble(4)) == 8
    runs = book.task_runs()
    assert [run.flow_run_id for run in runs] == [None, None, None]
    assert {run.state_name for run in runs} == {"Completed"}


def test_fn_is_the_bare_function(quick: Book) -> None:
    @task
    def logs(number: int) -> int:
        get_run_logger().info("not in a run")
        return number

    assert logs.fn(3) == 3
    assert quick.task_runs() == []


def test_an_async_task_that_takes_too_long_has_timed_out(quick: Book) -> None:
    @task(timeout_seconds=0.01)
    async def waits() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(waits())
    assert quick.task_runs()[0].state_name == "TimedOut"


REFUSED: list[tuple[str, Callable[[], object]]] = [
    ("timeout_seconds must be above zero", lambda: task(timeout_seconds=-1)(lambda: 1)),
    ("retries is a whole number", lambda: task(retries=-1)(lambda: 1)),
    ("retries is a whole number", lambda: flow(retries=1.5)(lambda: 1)),  # type: ignore[call-overload]
    ("name is printable text", lambda: flow(name=" ")(lambda: 1)),
    ("tag.*is printable", lambda: task(tags=["\0"])(lambda: 1)),
    ("51 tags, at most 50", lambda: task(tags=map(str, range(51)))(lambda: 1)),
    ("caches nothing", lambda: double.with_options(cache_expiration=timedelta(1))),
]


@pytest.mark.parametrize(("message", "definition"), REFUSED, ids=[message for message, _ in REFUSED])
def test_a_bad_definition_is_refused(message: str, definition: Callable[[], object]) -> None:
    with pytest.raises(Invalid, match=message):
        definition()


def test_what_a_run_logs_and_prints_is_kept_with_it(book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = logging.getLogger("some.library")

    @task(log_prints=True)
    def talks() -> None:
        print("printed", "by", "task", sep="-")
        elsewhere.warning("of a %s", "library")

    @flow
    def talking() -> None:
        get_run_logger().info("from %s", "the flow")
        print("not kept")
        talks()

    logging.getLogger("tests").warning("before")
    talking()
    assert book.lines() == ["from the flow", "printed-by-task", "of a library"]
    assert capsys.readouterr().out == "not kept\n"


def test_logging_and_print_are_as_before_when_the_run_is_over(quick: Book) -> None:
    former, handlers, level = print, list(logging.getLogger().handlers), logging.getLogger().level

    @flow(log_prints=True)
    def talking() -> None:
        print("x")

    talking()
    root = logging.getLogger()
    assert (print, root.handlers, root.level) == (former, handlers, level)

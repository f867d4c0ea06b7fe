"""Hooks are told of the states of their runs, and harm nothing."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Book
from tocsin.flows import RunState, afterwards, flow, ledger, task
from tocsin.flows.cache_policies import INPUTS
from tocsin.flows.changes import propose
from tocsin.flows.decide import Context
from tocsin.flows.deployments import Deployment
from tocsin.flows.errors import Terminated, UpstreamFailed
from tocsin.flows.ledger import Ledger
from tocsin.flows.runs import cancel_run, create_run
from tocsin.flows.states import cancelled, crashed, pending, running

Heard = list[tuple[str, str, str]]


class Listener:
    """Hooks that note what they are told."""

    def __init__(self) -> None:
        self.heard: Heard = []

    def hook(self, definition: Any, run: Any, state: RunState) -> None:
        self.heard.append((definition.name, run.state_name, state.name))

    async def hook_async(self, definition: Any, run: Any, state: RunState) -> None:
        await asyncio.sleep(0)
        self.hook(definition, run, state)


def called(function: Any, *args: Any) -> Any:
    value = function(*args)
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync hooks", "async hooks"])
@pytest.mark.parametrize("kind", ["task", "async task", "flow", "async flow"])
def test_every_state_is_told_once(quick: Book, kind: str, asynchronous: bool) -> None:
    listener, tries = Listener(), []
    hook = listener.hook_async if asynchronous else listener.hook

    def work(bad: bool) -> int:
        tries.append(1)
        if bad or len(tries) == 1:
            raise ValueError("no luck")
        return 3

    async def work_async(bad: bool) -> int:
        return work(bad)

    made: Any = (task if "task" in kind else flow)(
        work_async if "async" in kind else work,
        name="f",
        retries=1,
        on_running=[hook],
        on_completion=[hook],
        on_failure=[hook],
    )
    assert called(made, False) == 3
    begins = [("f", "Running", "Running"), ("f", "Retrying", "Retrying")]
    assert listener.heard == [*begins, ("f", "Completed", "Completed")]
    listener.heard.clear()
    with pytest.raises(ValueError, match="no luck"):
        called(made, True)
    assert listener.heard == [*begins, ("f", "Failed", "Failed")]


def test_hooks_are_told_what_came_of_the_run(quick: Book) -> None:
    results: list[Any] = []

    @task
    def works(number: int) -> float:
        return 1 / number

    @works.on_completion
    @works.on_failure
    def notes(definition: Any, run: Any, state: RunState) -> None:
        results.append((definition is works, run.name, state.result(raise_on_failure=False)))

    @flow
    def both() -> None:
        works(2)
        works(0, return_state=True)

    both()
    (first, name, value), (_, _, error) = results
    assert (first, name, value, type(error)) == (True, "works-0", 0.5, ZeroDivisionError)


@pytest.mark.parametrize("where", ["flow", "task"])
def test_a_hook_that_raises_is_logged_and_harms_nothing(quick: Book, where: str) -> None:
    listener = Listener()

    def raises(definition: Any, run: Any, state: RunState) -> None:
        raise RuntimeError("no line")

    hooks: Any = {"on_completion": [raises, listener.hook], "on_running": [raises]}

    @task(**(hooks if where == "task" else {}))
    def works() -> int:
        return 1

    @flow(**(hooks if where == "flow" else {}))
    def runs() -> int:
        return works()

    assert runs() == 1
    assert [quick.flow_runs()[0].state_name, *quick.task_states().values()] == ["Completed", "Completed"]
    assert len(listener.heard) == 1
    logged = [line for line in quick.lines() if line.startswith("hook raises of")]
    assert len(logged) == 2
    assert "RuntimeError: no line" in logged[0]


def test_what_is_logged_in_a_hook_of_a_task_is_kept_with_it(quick: Book) -> None:
    from tocsin.flows import get_run_logger

    @task(log_prints=True)
    def works() -> int:
        return 1

    @works.on_completion
    def says(definition: Any, run: Any, state: RunState) -> None:
        get_run_logger().info("logged")
        print("printed")

    works()
    assert quick.lines() == ["logged", "printed"]


def test_a_result_of_the_cache_and_an_input_that_is_missing_are_told_too(quick: Book) -> None:
    listener = Listener()
    options: Any = {"on_completion": [listener.hook], "on_failure": [listener.hook], "on_running": [listener.hook]}

    @task(cache_policy=INPUTS, **options)
    def once(number: int) -> int:
        return number

    @task
    def fails() -> int:
        raise ValueError

    @flow
    def runs() -> None:
        once(1)
        listener.heard.clear()
        once(1)
        once.submit(fails.submit()).exception()

    runs()
    assert [state for _, _, state in listener.heard] == ["Cached", "UpstreamFailed"]


def test_parameters_that_do_not_fit_are_a_failure(quick: Book) -> None:
    listener = Listener()

    @flow(on_failure=[listener.hook])
    def typed(number: int) -> int:
        return number

    assert typed("three", return_state=True).is_failed()
    assert listener.heard == [("typed", "Failed", "Failed")]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_flow_that_is_interrupted_tells_that_it_crashed(quick: Book, asynchronous: bool) -> None:
    listener = Listener()

    def stops() -> None:
        raise Terminated("terminated by signal 15")

    async def stops_async() -> None:
        stops()

    made = flow(stops_async if asynchronous else stops, name="f")
    made.on_crashed(listener.hook)
    made.on_cancellation(listener.hook)
    with pytest.raises(Terminated):
        called(made)
    assert listener.heard == [("f", "Crashed", "Crashed")]


def test_a_flow_that_is_cancelled_tells_of_it(book: Book) -> None:
    listener = Listener()

    @flow(name="f", on_cancellation=[listener.hook], on_crashed=[listener.hook])
    def stops() -> None:
        (run,) = book.flow_runs()
        with book.store.begin() as session:
            cancel_run(session, run.id, now=book.ledger.clock.now())
        raise Terminated("terminated by signal 15")

    with pytest.raises(Terminated):
        stops()
    assert listener.heard == [("f", "Cancelled", "Cancelled")]


# --- of a run whose process is gone ---

CODE = """
from tocsin.flows import flow
from tocsin.flows.runtime import flow_run

@flow
def nightly(day: str) -> None: ...

@nightly.on_crashed
async def tell(definition, run, state):
    print(definition.name, run.parameters, state.name, state.message, flow_run.name == run.name)

@nightly.on_cancellation
def tell_too(definition, run, state):
    raise RuntimeError("nobody is there")
"""


@pytest.fixture
def claimed(quick: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The id of a run whose process has begun, and what puts its end on record."""
    (tmp_path / "afterwards_flows.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    Deployment(name="nightly", entrypoint="afterwards_flows.py:nightly", path=str(tmp_path)).apply(quick.store)
    now = quick.ledger.clock.now()
    with quick.store.begin() as session:
        run = create_run(session, "nightly", parameters={"day": "2026-03-02"}, now=now)
        propose(session, run.id, pending(), Context(), now, lease="gone")
        propose(session, run.id, running(), Context(attempt=1), now)
    yield run.id
    sys.modules.pop("afterwards_flows", None)


def end(book: Book, run_id: Any, state: Any) -> None:
    with book.store.begin() as session:
        propose(session, run_id, state, Context(unbound=True), book.ledger.clock.now())


def test_others_tell_the_hooks_of_a_run_whose_process_is_gone(
    quick: Book, claimed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    end(quick, claimed, crashed("killed by signal 9"))
    assert afterwards.main([str(claimed)]) == 0
    assert capsys.readouterr().out == "nightly {'day': '2026-03-02'} Crashed killed by signal 9 True\n"


def test_what_such_a_hook_raises_is_logged_with_the_run(quick: Book, claimed: Any) -> None:
    end(quick, claimed, cancelled("by hand"))
    assert afterwards.main([str(claimed)]) == 0
    opened = ledger.current()
    assert isinstance(opened, Ledger)
    assert any("RuntimeError: nobody is there" in line for line in Book(opened).lines())


def test_there_is_nothing_to_tell_of_a_run_that_is_under_way(
    quick: Book, claimed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert afterwards.main([str(claimed)]) == afterwards.NOT_OVER
    assert "is Running: no hooks to be told by others" in capsys.readouterr().err
    assert afterwards.main(["not an id"]) == afterwards.NOT_OVER
    assert afterwards.main([]) == 2


def test_code_that_is_gone_is_told_by_the_exit_code(quick: Book, claimed: Any) -> None:
    Path("afterwards_flows.py").write_text("raise RuntimeError('half an edit')")
    sys.modules.pop("afterwards_flows")
    end(quick, claimed, crashed("gone"))
    assert afterwards.main([str(claimed)]) == afterwards.NOT_LOADED


def test_a_hook_may_look_at_what_the_flow_got(quick: Book) -> None:
    errors = []

    @task
    def fails() -> None:
        raise KeyError("a")

    @flow
    def runs() -> None:
        fails.submit()

    @runs.on_failure
    def notes(definition: Any, run: Any, state: RunState) -> None:
        errors.append(state.exception())

    with pytest.raises(UpstreamFailed):
        runs()
    assert isinstance(errors[0], UpstreamFailed)
    assert isinstance(errors[0].__cause__, KeyError)

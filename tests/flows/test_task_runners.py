"""Every task runner gives the same results and the same states; each keeps the promises that are its own."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from tests.flows import runner_flows as flows
from tests.flows.conftest import Book
from tocsin.events.errors import Invalid
from tocsin.flows import flow, task
from tocsin.flows.dask import DaskTaskRunner
from tocsin.flows.errors import OutOfTime, WorkerDied
from tocsin.flows.tables import LogLine
from tocsin.flows.task_runners import (
    ConcurrentTaskRunner,
    ProcessPoolTaskRunner,
    SequentialTaskRunner,
    TaskRunner,
    ThreadPoolTaskRunner,
)

MAKERS: dict[str, Callable[[], TaskRunner]] = {
    "sequential": SequentialTaskRunner,
    "threads": ConcurrentTaskRunner,
    "one thread": lambda: ThreadPoolTaskRunner(max_workers=1),
    "processes": lambda: ProcessPoolTaskRunner(max_workers=1),
    "dask": lambda: DaskTaskRunner(cluster_kwargs={"processes": False, "n_workers": 1, "threads_per_worker": 2}),
}
FAR = ("processes", "dask")


@pytest.fixture(scope="module")
def entered() -> Iterator[Callable[[str], TaskRunner]]:
    """A runner of each kind, started when it is first asked for and used by all flows of this module."""
    with ExitStack() as stack:
        known: dict[str, TaskRunner] = {}

        def get(name: str) -> TaskRunner:
            if name not in known:
                known[name] = stack.enter_context(MAKERS[name]())
            return known[name]

        yield get


@pytest.fixture(params=MAKERS)
def runner(request: pytest.FixtureRequest, entered: Callable[[str], TaskRunner]) -> TaskRunner:
    return entered(request.param)


@pytest.fixture(params=FAR)
def far(request: pytest.FixtureRequest, entered: Callable[[str], TaskRunner]) -> TaskRunner:
    return entered(request.param)


def names(book: Book) -> Counter[str]:
    """How many task runs of which task are in which state."""
    return Counter(f"{run.task_key.rpartition('.')[2]} {run.state_name}" for run in book.task_runs())


def told(book: Book) -> Counter[str]:
    return Counter({name: n for name, n in book.event_names().items() if name.startswith("task-run.")})


# --- the same from each ---


def test_futures_find_their_way_into_lists_and_dicts(quick: Book, runner: TaskRunner) -> None:
    assert flows.chained.with_options(task_runner=runner)() == [0, 2, 4, 6, 1, 3, 5, 7, 20]
    assert names(quick) == {"double Completed": 5, "increment Completed": 4, "total Completed": 1}
    assert told(quick) == {"task-run.Running": 10, "task-run.Completed": 10}


def test_a_failure_names_itself_in_what_needed_it(quick: Book, runner: TaskRunner) -> None:
    answer = flows.failing.with_options(task_runner=runner)()
    assert answer.startswith("['NoneType', 'UpstreamFailed', 'NoneType'] ")
    assert "picky-1" in answer
    assert "ValueError: 2 is not for me" in answer
    assert names(quick) == {
        "picky Completed": 2,
        "picky Failed": 1,
        "double Completed": 2,
        "double UpstreamFailed": 1,
    }


def test_tries_are_counted_where_the_flow_is(quick: Book, runner: TaskRunner, tmp_path: Path) -> None:
    assert flows.trying.with_options(task_runner=runner)(str(tmp_path)) == 3
    assert told(quick) == {
        "task-run.Running": 1,
        "task-run.AwaitingRetry": 2,
        "task-run.Pending": 2,
        "task-run.Retrying": 2,
        "task-run.Completed": 1,
    }


def test_tasks_in_tasks_are_runs_of_the_same_flow_run(quick: Book, runner: TaskRunner) -> None:
    assert flows.nesting.with_options(task_runner=runner)() == [8, 13, 18]
    assert names(quick) == {"outer Completed": 3, "double Completed": 6, "increment Completed": 3}
    (run,) = quick.flow_runs()
    assert {each.flow_run_id for each in quick.task_runs()} == {run.id}
    assert len({each.name for each in quick.task_runs()}) == 12


def test_what_a_task_says_is_kept_with_it(quick: Book, runner: TaskRunner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    flows.talking.with_options(task_runner=runner)()
    runs = {run.id: run.name for run in quick.task_runs()}
    said = {(runs[line.task_run_id], line.message) for line in quick.rows(LogLine)}
    assert said == {
        (run, f"{what} {who}")
        for run, who in (("talk-0", "ann"), ("talk-1", "bob"))
        for what in ("printed by", "logged by", "heard of")
    }


def test_the_cache_is_asked_where_the_flow_is(quick: Book, runner: TaskRunner, tmp_path: Path) -> None:
    assert flows.caching.with_options(task_runner=runner)(str(tmp_path)) == [1, 2, 1, 2]
    assert (tmp_path / "costly").read_text() == "xx"
    assert names(quick) == {"costly Completed": 2, "costly Cached": 2}


def test_a_second_attempt_does_not_repeat_what_is_done(quick: Book, runner: TaskRunner, tmp_path: Path) -> None:
    assert flows.resuming.with_options(task_runner=runner)(str(tmp_path)) == [1, 2]
    assert (tmp_path / "attempts").read_text() == "xx"
    assert (tmp_path / "costly").read_text() == "xx"


def test_functions_that_no_import_finds_run_too(quick: Book, runner: TaskRunner) -> None:
    base = 40

    @task
    def local(number: int) -> Callable[[], int]:
        return lambda: base + number

    @flow(task_runner=runner)
    def own() -> int:
        return local.submit(2).result()()

    assert own() == 42


# --- those whose tasks run elsewhere ---


def test_what_cannot_be_sent_is_refused_by_name(quick: Book, far: TaskRunner) -> None:
    lock = threading.Lock()

    @flow(task_runner=far)
    def sends() -> None:
        flows.where.submit(lock).result()

    with pytest.raises(Invalid, match='task "where": it cannot be sent to another process'):
        sends()


def test_a_result_that_cannot_come_back_is_an_error(quick: Book, far: TaskRunner) -> None:
    @task
    def keeps() -> Any:
        return threading.Lock()

    @flow(task_runner=far)
    def asks() -> None:
        keeps.submit().result()

    with pytest.raises(Invalid, match="a result of type lock cannot be sent"):
        asks()


def test_an_error_of_any_class_comes_back_with_where_it_was(quick: Book, far: TaskRunner) -> None:
    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    @task
    def raises() -> None:
        raise Odd(1, 2)

    @flow(task_runner=far)
    def asks() -> None:
        raises.submit().result()

    with pytest.raises(RuntimeError, match="Odd: 1 and 2") as caught:
        asks()
    assert "in raises" in caught.value.__notes__[0]


# --- processes ---


def test_processes_are_others_and_end_with_the_flow_run(quick: Book) -> None:
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def asks() -> set[int]:
        return set(flows.where.map(range(6)).result())

    found = asks()
    assert os.getpid() not in found
    assert 1 <= len(found) <= 2
    for pid in found:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("retries", [0, 1], ids=["no retries", "a retry"])
def test_a_killed_process_takes_one_try_with_it(
    quick: Book, entered: Callable[[str], TaskRunner], tmp_path: Path, retries: int
) -> None:
    dies = flows.dies.with_options(retries=retries)

    @flow(task_runner=entered("processes"))
    def goes_on() -> list[int]:
        lost = dies.submit(str(tmp_path))
        if not retries:
            with pytest.raises(WorkerDied, match=r"was killed by signal 9 \(SIGKILL\)"):
                lost.result()
        return flows.double.map(range(5)).result()

    assert goes_on() == [0, 2, 4, 6, 8]
    (run,) = [each for each in quick.task_runs() if each.name == "dies-0"]
    assert run.state_name == ("Completed" if retries else "Crashed")
    assert run.retries == retries


def test_a_timeout_kills_the_process(quick: Book, entered: Callable[[str], TaskRunner], tmp_path: Path) -> None:
    note = tmp_path / "pid"

    @flow(task_runner=entered("processes"))
    def gives_up() -> list[int]:
        with pytest.raises(OutOfTime):
            flows.stubborn.with_options(timeout_seconds=1).submit(str(note)).result()
        return flows.double.map(range(3)).result()

    assert gives_up() == [0, 2, 4]
    assert names(quick) == {"stubborn TimedOut": 1, "double Completed": 3}
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_a_coroutine_that_takes_too_long_is_cancelled_elsewhere_too(quick: Book, far: TaskRunner) -> None:
    @flow(task_runner=far)
    def gives_up() -> None:
        with pytest.raises(OutOfTime):
            flows.patient.with_options(timeout_seconds=0.05).submit().result()

    gives_up()
    assert names(quick) == {"patient TimedOut": 1}


@pytest.mark.faults
def test_processes_end_with_a_flow_that_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = f"""
from tests.flows import runner_flows as flows
from tocsin.flows import flow
from tocsin.flows.task_runners import ProcessPoolTaskRunner

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def endless():
    flows.stubborn.submit({str(note)!r}).result()

endless()
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    until(note.exists)
    process.kill()
    process.wait()
    until(lambda: not alive(int(note.read_text())))


@pytest.mark.faults
@pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning")
def test_dask_runs_again_what_a_dead_worker_was_at(quick: Book, tmp_path: Path) -> None:
    runner = DaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1})

    @flow(task_runner=runner)
    def goes_on() -> tuple[int, list[int]]:
        return flows.dies.submit(str(tmp_path)).result(), flows.double.map(range(4)).result()

    survivor, doubled = goes_on()
    assert survivor != os.getpid()
    assert doubled == [0, 2, 4, 6]
    assert (tmp_path / "dies").read_text() == "xx"


@pytest.mark.faults
@pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning")
def test_a_task_that_kills_every_worker_crashes_with_the_reason(quick: Book) -> None:
    @task
    def deadly() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @flow(task_runner=DaskTaskRunner(cluster_kwargs={"n_workers": 1, "threads_per_worker": 1}))
    def tries() -> None:
        with pytest.raises(WorkerDied, match="the Dask workers that it was given to died"):
            deadly.submit().result()

    tries()
    (run,) = quick.task_runs()
    assert run.state_name == "Crashed"


# --- one object, many flows ---


def test_a_runner_is_started_once_for_all_attempts_and_inner_flows(quick: Book, tmp_path: Path) -> None:
    steps: list[str] = []

    class Watched(ThreadPoolTaskRunner):
        def start(self) -> None:
            super().start()
            steps.append("start")

        def stop(self) -> None:
            super().stop()
            steps.append("stop")

    runner = Watched()
    inner = flows.resuming.with_options(task_runner=runner)

    @flow(task_runner=runner)
    def outer() -> list[int]:
        return inner(str(tmp_path))

    assert outer() == [1, 2]
    assert steps == ["start", "stop"]


def test_a_flow_whose_runner_does_not_start_has_failed(quick: Book) -> None:
    nobody = DaskTaskRunner("tcp://127.0.0.1:9", client_kwargs={"timeout": 0.1})
    with pytest.raises(OSError, match=r"tcp://127\.0\.0\.1:9"):
        flows.chained.with_options(task_runner=nobody)()
    (run,) = quick.flow_runs()
    assert (run.state_name, (run.fault or {})["type"]) == ("Failed", "OSError")


@pytest.mark.parametrize(
    ("given", "says"), [("threads", r"ConcurrentTaskRunner\("), (SequentialTaskRunner, r"SequentialTaskRunner\(\)")]
)
def test_what_is_no_runner_is_refused_where_the_flow_is_decorated(given: Any, says: str) -> None:
    with pytest.raises(Invalid, match=f"task_runner is an object such as {says}"):
        flows.chained.with_options(task_runner=given)


@pytest.mark.parametrize("given", [0, -1, True, 1.5])
def test_a_number_of_workers_that_makes_no_sense_is_refused(given: Any) -> None:
    for kind in (ThreadPoolTaskRunner, ProcessPoolTaskRunner):
        with pytest.raises(Invalid, match="max_workers is a whole number from 1 up"):
            kind(max_workers=given)


@pytest.mark.parametrize("name", MAKERS)
def test_a_runner_crosses_to_other_processes_as_what_it_was_made_from(name: str) -> None:
    made = MAKERS[name]()
    again = cloudpickle.loads(cloudpickle.dumps(made))
    assert type(again) is type(made)
    assert getattr(again, "max_workers", None) == getattr(made, "max_workers", None)


def test_dask_takes_an_address_or_a_cluster_to_make() -> None:
    with pytest.raises(Invalid, match="not both"):
        DaskTaskRunner("tcp://127.0.0.1:1", cluster_kwargs={"n_workers": 1})


def test_the_example_of_the_guide_runs(quick: Book) -> None:
    text = (Path(__file__).parents[2] / "docs/task-runners.md").read_text()
    exec(compile(text.partition("```python\n")[2].partition("```")[0], "guide", "exec"), {"__name__": "__main__"})


def until(holds: Callable[[], bool]) -> None:
    """Return when it holds; the tests' own time limit is the only one."""
    while not holds():
        threading.Event().wait(0.01)


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False

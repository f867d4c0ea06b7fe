"""What docs/limits.md says: its programs run, and its formula holds."""

import re
import threading
from pathlib import Path

import pytest

from tests.flows.conftest import Book
from tocsin.flows import flow, task
from tocsin.flows.limits import set_limits

PAGE = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PATIENCE_S = 60


@pytest.mark.parametrize("program", PROGRAMS, ids=[text.strip().splitlines()[-1][:40] for text in PROGRAMS])
def test_the_programs_run(quick: Book, program: str) -> None:
    exec(compile(program, "docs/limits.md", "exec"), {"__name__": "limits"})


@pytest.mark.parametrize(("tasks", "slots"), [(8, 4), (3, 4), (6, 1), (4, 4)])
def test_parallelism_is_the_smaller_of_tasks_and_slots(quick: Book, tasks: int, slots: int) -> None:
    """Parallelism = min(N, C): so many meet inside, and never more."""
    meeting, inside, most = threading.Barrier(min(tasks, slots), timeout=PATIENCE_S), [0], [0]
    lock = threading.Lock()

    @task
    def work(number: int) -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        if number < min(tasks, slots):
            meeting.wait()
        with lock:
            inside[0] -= 1

    @flow
    def every() -> None:
        for future in work.map(list(range(tasks))):
            future.result()

    set_limits({"work": slots})
    every()
    assert most[0] == min(tasks, slots)


def test_throughput_is_that_of_one_task_times_the_slots(quick: Book) -> None:
    """N tasks are done in N / C rounds of one task's time: C * task throughput. A round is over when C are at work."""
    tasks, slots = 12, 3
    rounds: list[int] = []
    round_over = threading.Barrier(slots, action=lambda: rounds.append(1), timeout=PATIENCE_S)

    @task
    def work(number: int) -> None:
        round_over.wait()

    @flow
    def every() -> None:
        for future in work.map(list(range(tasks))):
            future.result()

    set_limits({"work": slots})
    every()
    assert len(rounds) == tasks / slots

"""Plain scripts: nothing is lost however they end, and they load no more than they need."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

FORBIDDEN = ("faust", "fastapi", "slack_sdk", "pdpyras", "aiokafka", "apscheduler", "rich", "structlog", "aiohttp")


def run(program: str, home: Path, url: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TOCSIN_HOME": str(home)} | ({"TOCSIN_DATABASE_URL": url} if url else {})
    code = textwrap.dedent(program)
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100)


def ask(home: Path, question: str) -> dict[str, int]:
    connection = sqlite3.connect(home / "tocsin.db")
    try:
        return dict(connection.execute(question).fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize(
    "ending",
    ["", "os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"],
    ids=["end of the script", "exit at once", "kill -9"],
)
def test_a_thousand_finished_tasks_leave_a_thousand_recorded_ones(tmp_path: Path, ending: str) -> None:
    program = f"""
        import os, signal
        from tocsin.flows import flow, task

        @task
        def work(number):
            return number

        @flow
        def script():
            for number in range(500):
                work(number)
            work.map(range(500)).result()
            {ending}

        script()
    """
    done = run(program, tmp_path)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    tasks = ask(tmp_path, "SELECT state_name, count(*) FROM task_run GROUP BY 1")
    events = ask(tmp_path, "SELECT event, count(*) FROM log GROUP BY 1")
    assert tasks == {"Completed": 1000}
    assert events["tocsin.task-run.Running"] == events["tocsin.task-run.Completed"] == 1000
    assert events.get("tocsin.flow-run.Completed", 0) == (not ending)


def test_what_a_script_logged_last_is_kept(tmp_path: Path) -> None:
    program = """
        from tocsin.flows import get_run_logger, flow, task

        @task
        def outside():
            get_run_logger().info("from a task without a flow")

        @flow
        def script():
            get_run_logger().info("from a flow")
            raise ValueError("no")

        outside()
        script()
    """
    done = run(program, tmp_path)
    assert done.returncode == 1
    lines = ask(tmp_path, "SELECT message, count(*) FROM log_line GROUP BY 1")
    assert lines == {"from a task without a flow": 1, "from a flow": 1}
    assert "from a flow" in done.stderr, "a script without logging of its own shows what its runs log"
    assert ask(tmp_path, "SELECT name, 1 FROM lease") == {}, "a process that ended in order leaves no lease"


def test_a_forked_child_has_a_book_of_its_own(tmp_path: Path) -> None:
    program = """
        import os
        from tocsin.flows import flow, task

        @task
        def work(name):
            return name

        @flow
        def script(name):
            return work.submit(name).result()

        script("parent")
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0
        script("either")
    """
    done = run(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert ask(tmp_path, "SELECT state_name, count(*) FROM flow_run GROUP BY 1") == {"Completed": 3}


def test_importing_flows_loads_nothing_that_a_script_does_not_need(tmp_path: Path) -> None:
    program = """
        import sys
        import tocsin.flows
        from tocsin.flows import flow, task, get_run_logger, unmapped
        from tocsin.flows.tasks import task_input_hash
        from tocsin.flows.cache_policies import INPUTS, NO_CACHE
        from tocsin.flows.deployments import Deployment

        @flow
        def first(number: int) -> int:
            return number

        assert first("1") == 1
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
    """
    done = run(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(FORBIDDEN) & set(done.stdout.split()) == set()


def test_the_package_alone_loads_neither_database_nor_pydantic(tmp_path: Path) -> None:
    program = "import sys, tocsin.flows; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(run(program, tmp_path).stdout.split())
    assert loaded & {"sqlalchemy", "sqlmodel", "pydantic", "msgspec", "asyncio"} == set()

"""What others take for a no-op task, for `tasks.py`: dask.delayed here, Prefect 3 in an environment of its own."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PREFECT = ("prefect>=3,<4", "fastapi==0.139.0")  # a newer FastAPI no longer has an argument that its server passes
QUIET = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "DO_NOT_TRACK": "1",
}
COLD = "from prefect import flow\n@flow\ndef first() -> int:\n    return 1\nassert first() == 1"
Figures = dict[str, Any]  # Any: numbers, for JSON


def delayed(count: int, rounds: int) -> Figures:
    """Microseconds a no-op by dask.delayed: one after the other in this thread, and in threads."""
    import dask

    def no_op(number: int) -> int:
        return number

    def run(scheduler: str) -> float:
        began = time.perf_counter()
        dask.compute(*[dask.delayed(no_op, pure=False)(number) for number in range(count)], scheduler=scheduler)
        return (time.perf_counter() - began) / count * 1e6

    def median(scheduler: str) -> float:
        return round(statistics.median(run(scheduler) for _ in range(rounds)), 1)

    return {"dask_delayed_us": median("synchronous"), "dask_delayed_threads_us": median("threads")}


def environment(folder: Path) -> str:
    """The Python of an environment with Prefect 3 in `folder`; it is made when it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PREFECT], check=True)
        (folder / "ready").touch()
    return str(python)


def prefect(python: str, count: int, runs: int) -> Figures:
    """The figures of `_tasks_prefect.py`, and seconds from nothing to the end of its first flow."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))}
        known = clean | QUIET | {"PREFECT_HOME": home}

        def run(*arguments: str) -> str:
            command = [python, *arguments]
            return subprocess.run(command, env=known, cwd=home, check=True, capture_output=True, text=True).stdout

        program = Path(__file__).with_name("_tasks_prefect.py")
        figures: Figures = json.loads(run(str(program), str(count), str(runs)).splitlines()[-1])
        figures["cold_start_s"] = round(_timed(lambda: run("-c", COLD)), 2)
        figures["version"] = run("-c", "import prefect; print(prefect.__version__)").strip()
    return figures


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

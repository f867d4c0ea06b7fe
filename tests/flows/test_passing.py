"""`TOCSIN_DATABASE_URL=memory:`: everything works, and nothing is left."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows import runner_flows as flows
from tocsin.events.errors import Invalid
from tocsin.flows import flow, task
from tocsin.flows import ledger as ledgers
from tocsin.flows.errors import UpstreamFailed
from tocsin.flows.task_runners import ProcessPoolTaskRunner


@pytest.fixture(autouse=True)
def passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary folders of this test."""
    ledgers.close()
    monkeypatch.setenv("TOCSIN_DATABASE_URL", "memory:")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    ledgers.close()
    assert list(tmp_path.glob("tocsin-*")) == []


def test_flows_run_as_always(tmp_path: Path) -> None:
    assert flows.chained() == [0, 2, 4, 6, 1, 3, 5, 7, 20]
    assert flows.trying(str(tmp_path)) == 3
    assert flows.nesting() == [8, 13, 18]
    assert flows.caching(str(tmp_path)) == [1, 2, 1, 2]
    assert (tmp_path / "costly").read_text() == "xx"
    assert flows.resuming(str(tmp_path)) == [1, 2]


def test_failures_and_states_are_told() -> None:
    @flow
    def fails() -> None:
        failed = flows.picky.submit(2)
        assert failed.exception() is not None
        assert failed.state.name == "Failed"
        flows.double.submit(failed).result()

    with pytest.raises(UpstreamFailed, match="picky-0"):
        fails()


def test_coroutines_and_processes_run_too() -> None:
    @task
    async def one() -> int:
        return 1

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    async def both() -> int:
        return await one() + await flows.double.submit(4)

    assert asyncio.run(both()) == 9


def test_what_needs_a_database_says_so() -> None:
    with pytest.raises(Invalid, match="TOCSIN_DATABASE_URL"):
        ledgers.local()

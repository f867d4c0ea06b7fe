"""Workers over HTTP and on the command line; and a staff that grows and shrinks with the work."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.flows.yard import Yard, environment, program
from tests.server.conftest import Api
from tocsin.events.clock import SystemClock
from tocsin.events.errors import Invalid
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.runs import create_run
from tocsin.flows.scaling import Bounds
from tocsin.flows.worker import Worker
from tocsin.server.cli import main
from tocsin.server.staffing import Staffing, bounds_of
from tocsin.store.engine import Store


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("text", ["", "1", "a:b", "4:1", "0:0", "-1:4"])
def test_a_scale_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="write MIN:MAX"):
        bounds_of(text, 4)


def test_a_scale_is_two_numbers() -> None:
    assert bounds_of("0:3", 4) == Bounds(0, 3, 4)


@pytest.mark.faults
async def test_there_are_workers_while_there_is_work(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    for name, value in environment(sqlite_url).items():
        monkeypatch.setenv(name, value)
    store = Store.open(sqlite_url)
    yard, stop = Yard(store, tmp_path / "marks"), asyncio.Event()
    yard.deploy("long_run", "thread")
    staff = Staffing(store, SystemClock(), "thread", Bounds(0, 2, 1, timedelta()), program("thread"))
    serving = asyncio.create_task(staff.serve(stop))
    runs = [yard.ask("long_run", "thread") for _ in range(3)]
    await yard.met(lambda: len(staff.workers) == 2)
    yard.sign("go")
    for run in runs:
        await yard.until(run, "Completed")
    await yard.met(lambda: not staff.workers)
    stop.set()
    await serving
    store.close()


async def test_workers_and_demand_are_told_over_http(api: Api, store: Store) -> None:
    with store.begin() as session:
        put_deployment(session, Deployment(name="d", entrypoint="a:b", flow_name="f", work_pool="etl"), now())
        create_run(session, "d", now=now())
    demand = (await api.get("/api/work-pools/etl/demand")).json()
    assert demand.pop("oldest_wait_s") >= 0
    assert demand == {"waiting": 1, "running": 0, "slots_free": 0, "room": None}
    assert (await api.get("/api/work-pools/none/demand")).status == 404
    stop = asyncio.Event()
    serving = asyncio.create_task(Worker(store, "quiet", name="w", limit=3, queues=["a"]).serve(stop))
    while not (found := (await api.get("/api/workers")).json()):
        await asyncio.sleep(0)
    assert [(row["name"], row["pool"], row["queues"], row["slots"], row["alive"]) for row in found] == [
        ("w", "quiet", ["a"], 3, True)
    ]
    assert (await api.get("/api/work-pools/quiet/demand")).json()["slots_free"] == 3
    stop.set()
    await serving
    assert (await api.get("/api/workers")).json() == []
    assert [row["alive"] for row in (await api.get("/api/workers?gone=true")).json()] == [False]


def test_a_pool_of_threads_is_made_and_workers_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> object:
        with pytest.raises(SystemExit):
            main(words)
        return json.loads(capfd.readouterr().out)

    assert said("work-pool", "create", "light", "--type", "thread", "-o", "json")["type"] == "thread"  # type: ignore[index]
    made = said("work-pool", "create", "etl", "--template", '{"env": {"REGION": "eu"}}', "-o", "json")
    assert made["template"] == {"env": {"REGION": "eu"}}  # type: ignore[index]
    assert said("worker", "ls", "-o", "json") == []

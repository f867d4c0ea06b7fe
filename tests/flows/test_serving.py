"""A flow that serves itself: deployed, run when asked, stopped by a signal; and the deployments that are made."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from tests.flows.sample_flows import greet
from tests.flows.yard import Yard, environment, now
from tocsin.events.errors import Invalid
from tocsin.flows.deployments import get_deployment
from tocsin.flows.pools import get_pool
from tocsin.flows.runs import create_run
from tocsin.flows.serving import deploy, serve, to_deployment
from tocsin.flows.tables import WorkerRow
from tocsin.store.engine import Store

PROGRAM = """
import sys
from tests.flows.sample_flows import greet, long_run
from tocsin.flows import serve

if __name__ == "__main__":
    serve(greet.to_deployment("greet"), long_run.to_deployment("long"), type="thread", drain=float(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({"cron": "0 6 * * *", "timezone": "Europe/Berlin"}, {"cron": "0 6 * * *", "timezone": "Europe/Berlin"}),
        ({"interval": 60}, {"interval": 60}),
        ({"interval": timedelta(minutes=1)}, {"interval": 60.0}),
        ({"rrule": "FREQ=DAILY"}, {"rrule": "FREQ=DAILY"}),
        ({"schedule": {"cron": "0 6 * * *"}}, {"cron": "0 6 * * *"}),
    ],
    ids=str,
)
def test_a_schedule_is_given_in_a_word(given: dict[str, object], schedule: dict[str, object]) -> None:
    (found,) = to_deployment(greet, "nightly", **given).schedules  # type: ignore[arg-type]
    assert found == {**schedule, "active": True, "slug": "nightly"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cron": "0 6 * * *", "interval": 60}, "give one of"),
        ({"cron": "0 6 * * *", "schedule": {"interval": 60}}, "give one of"),
        ({"timezone": "Europe/Berlin"}, "goes with"),
    ],
    ids=str,
)
def test_two_schedules_in_a_word_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        to_deployment(greet, "nightly", **given)  # type: ignore[arg-type]


def test_to_serve_nothing_is_refused() -> None:
    with pytest.raises(Invalid, match="needs a deployment"):
        serve()


def test_a_flow_is_deployed_for_a_pool(store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_DATABASE_URL", store_url)
    deploy(greet, "hourly", work_pool_name="gpu", cron="0 * * * *", parameters={"name": "you"})
    with store.read() as session:
        row = get_deployment(session, "hourly")
        assert (row.work_pool, row.parameters, get_pool(session, "gpu").type) == ("gpu", {"name": "you"}, "process")


def started(yard: Yard, folder: Path, drain: float) -> subprocess.Popen[bytes]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    url = yard.store.engine.url.render_as_string(hide_password=False)
    paths = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(program), str(drain)]
    return subprocess.Popen(command, env={**environment(url), "PYTHONPATH": paths}, stdout=subprocess.DEVNULL)


async def serves(yard: Yard) -> None:
    def look() -> bool:
        with yard.store.read() as session:
            return session.exec(select(WorkerRow)).first() is not None

    await yard.met(look)


async def test_a_program_serves_its_flows_until_it_is_told_to_stop(small_yard: Yard, tmp_path: Path) -> None:
    yard = small_yard
    program = started(yard, tmp_path, drain=0)
    await serves(yard)
    with yard.store.begin() as session:
        run = create_run(session, "greet", now=now()).id
    done = await yard.until(run, "Completed", "Failed", "Crashed")
    program.send_signal(signal.SIGTERM)
    assert program.wait(60) == 0
    assert (done.state_name, done.result) == ("Completed", {"kind": "json", "text": '"WORLD"'})


@pytest.mark.parametrize("hurry", [False, True], ids=["lets it end", "twice ends it"])
async def test_a_program_that_drains_lets_its_runs_end(small_yard: Yard, tmp_path: Path, hurry: bool) -> None:
    yard = small_yard
    program = started(yard, tmp_path, drain=60)
    await serves(yard)
    with yard.store.begin() as session:
        run = create_run(session, "long", now=now()).id
    await yard.met(yard.holds)
    program.send_signal(signal.SIGTERM)
    with yard.store.begin() as session:
        later = create_run(session, "greet", now=now()).id
    if hurry:
        program.send_signal(signal.SIGINT)
    else:
        yard.sign("go")
    assert program.wait(60) == 0
    assert yard.run(run).state_name == ("Crashed" if hurry else "Completed")
    assert yard.run(later).state_name == "Scheduled", "nothing new is taken"

"""`tocsin dev`: one command, and everything is there."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from tocsin.automations import Automation, RunDeployment
from tocsin.automations.store import apply
from tocsin.events.clock import SystemClock
from tocsin.events.emit import emit_event_async
from tocsin.server.definitions import deployments_in
from tocsin.server.run_reads import Wanted, runs
from tocsin.store.engine import Store
from tocsin.triggers import EventTrigger

FLOWS = """
from tocsin.flows import flow
from tocsin.flows.deployments import Deployment

@flow
def load(day: str = "today"):
    return day

d = Deployment(name="load", entrypoint="flows.py:load", schedules=[{"cron": "0 0 29 2 *", "slug": "rare"}])
"""


async def test_an_event_from_outside_runs_a_deployment(tmp_path: Path, home: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tocsin.server", "dev", "--port", "0"),
        cwd=tmp_path,
        env=os.environ | {"TOCSIN_LOG_FORMAT": "json"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(90):
        first = (await process.stdout.readline()).decode()
        assert first.startswith("tocsin runs at http://127.0.0.1:")
        store = Store.open()
        rule = Automation(
            name="on-arrival",
            trigger=EventTrigger(expect=["file.arrived"]),
            actions=[RunDeployment(deployment="load", parameters={"day": "{{ event.payload.day }}"})],
        )
        with store.begin() as session:
            apply(session, [rule], SystemClock().now())
        for deployment in deployments_in(str(tmp_path / "flows.py")):
            deployment.apply(store)
        await emit_event_async("file.arrived", {"tocsin.resource.id": "inbox"}, payload={"day": "monday"})
        with store.watch("runs", "log") as watch:
            while not (done := await store.look(lambda session: runs(session, Wanted(state="completed")))):
                await watch.wait(timedelta(seconds=1))
        process.send_signal(signal.SIGTERM)
        rest, errors = await process.communicate()
    assert [(run.deployment, run.parameters) for run in done] == [("load", {"day": "monday"})]
    assert process.returncode == 0, errors
    assert b"tocsin event tail" in rest
    assert b"Traceback" not in errors, errors.decode()
    store.close()

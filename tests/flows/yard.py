"""A store with a deployment for each sample flow, and what a test asks of it while workers are at it."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlmodel import select

from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.pools import create_pool
from tocsin.flows.runs import create_run, get_run
from tocsin.flows.tables import FlowRun, LogLine, TaskRun
from tocsin.flows.worker import Worker
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry

SAMPLES = Path(__file__).with_name("sample_flows.py")
PATIENCE = timedelta(seconds=60)
Serving = Callable[..., AbstractAsyncContextManager[Worker]]


def now() -> datetime:
    return datetime.now(UTC)


class Yard:
    """A store with one deployment for each sample flow, and the marks that they leave."""

    def __init__(self, store: Store, marks: Path) -> None:
        self.store, self._marks = store, marks

    def deploy(self, flow: str, kind: str = "process") -> None:
        """The flow on a pool of this type; that of processes is the pool `default`."""
        pool = "default" if kind == "process" else kind
        place = Deployment(name=flow, entrypoint=f"{SAMPLES}:{flow}", flow_name=flow, work_pool=pool)
        with self.store.begin() as session:
            create_pool(session, pool, kind=kind, now=now())
            put_deployment(session, place, now())

    def ask(self, flow: str, kind: str = "process", **also: Any) -> UUID:
        """A new run of the flow."""
        self.deploy(flow, kind)
        with self.store.begin() as session:
            return create_run(session, flow, now=now(), **also).id

    def run(self, run_id: UUID) -> FlowRun:
        with self.store.read() as session:
            return get_run(session, run_id)

    def marks(self) -> list[str]:
        return self._marks.read_text().split() if self._marks.exists() else []

    def sign(self, name: str) -> None:
        self._marks.with_name(name).touch()

    def tasks(self) -> dict[str, str]:
        with self.store.read() as session:
            return {task.name: task.state_name for task in session.exec(select(TaskRun)).all()}

    def holds(self) -> bool:
        """Whether the second task of `long_run` is under way, and has said so: it does the two in no order."""
        return "holding" in self.marks() and self.tasks().get("holds-0") == "Running"

    def untold(self) -> list[str]:
        """Runs that have another number of events than of states, which there never are."""
        with self.store.read() as session:
            told = Counter(entry.partition("-run.")[2] for entry in session.exec(select(LogEntry.key)).all())
            flows, tasks = session.exec(select(FlowRun)).all(), session.exec(select(TaskRun)).all()
            runs: list[FlowRun | TaskRun] = [*flows, *tasks]
        return [run.name for run in runs if told[str(run.id)] != run.version]

    def lines(self) -> list[str]:
        with self.store.read() as session:
            return [line.message for line in session.exec(select(LogLine)).all()]

    async def until(self, run_id: UUID, *states: str) -> FlowRun:
        """The run, as soon as it is in one of these states."""
        run: FlowRun = await self.met(lambda: (found := self.run(run_id)).state_name in states and found)
        return run

    async def met(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            with self.store.watch("runs", "log") as watch:
                while not (answer := await asyncio.to_thread(condition)):
                    await watch.wait(timedelta(milliseconds=20))
        return answer


def environment(store_url: str) -> dict[str, str]:
    """What a program needs to work on this store."""
    return {**os.environ, "TOCSIN_DATABASE_URL": store_url}


def program(pool: str = "default") -> list[str]:
    """The command of a worker of this pool."""
    return [sys.executable, "-c", _WORKER, pool]


_WORKER = """
import asyncio, sys
from tocsin.flows.worker import Worker
from tocsin.store.engine import Store
asyncio.run(Worker(Store.open(), sys.argv[1]).serve(asyncio.Event()))
"""

"""Flows under test: a store of their own that goes away, and a clock whose waits take no time.

    def test_a_flaky_shop_is_asked_again(flow_harness):      # the pytest fixture; or: with flow_harness() as harness
        assert takings() == 42
        assert flow_harness.states("fetch") == ["Running", "AwaitingRetry", "Pending", "Retrying", "Completed"]
        assert flow_harness.slept == timedelta(seconds=70)

No server, no worker: flows are called, and runs of deployments are carried out by `work`, in this process.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlmodel import Session, col, select

from tocsin.events import codec
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.flows import claims, ledger, runs
from tocsin.flows.attempt import carried_out
from tocsin.flows.changes import Columns
from tocsin.flows.tables import DeploymentRow, FlowRun, LogLine, TaskRun
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry

if TYPE_CHECKING:
    from tocsin.flows.deployments import Deployment

_HELD: Final = ("TOCSIN_DATABASE_URL", "TOCSIN_HOME", "TOCSIN_API_URL")

# Any below: parameters and results are of the flow's choice.


class VirtualClock:
    """Stands still; a wait moves it ahead instead of taking time."""

    def __init__(self, start: datetime | None = None) -> None:
        self._lock = Lock()
        self._start = (start or datetime.now(UTC)).astimezone(UTC)
        self.skipped = timedelta()
        """All that was waited for, or skipped by hand."""

    def now(self) -> datetime:
        """The present as an aware UTC datetime."""
        with self._lock:
            return self._start + self.skipped

    def skip(self, span: timedelta) -> None:
        """Let `span` be over. Raises Invalid for a negative one."""
        if span < timedelta():
            raise Invalid(f"time goes forward only, not by {span}")
        with self._lock:
            self.skipped += span


class Harness:
    """What a test asks about the runs that it caused; every list is in the order in which things began."""

    def __init__(self, book: ledger.Ledger, clock: VirtualClock) -> None:
        self._book, self.clock = book, clock

    @property
    def store(self) -> Store:
        """The database of this test."""
        return self._book.store

    @property
    def slept(self) -> timedelta:
        """How long runs have waited, and `advance` has skipped, without taking the time."""
        return self.clock.skipped

    def advance(self, span: timedelta) -> None:
        """Let time pass; nothing is carried out by it, see `work`."""
        self.clock.skip(span)

    def flow_runs(self, flow: str | None = None) -> list[FlowRun]:
        """Flow runs, or those of one flow."""
        found = self._rows(select(FlowRun).order_by(col(FlowRun.created), col(FlowRun.id)))
        return [run for run in found if flow in (None, run.flow_name)]

    def task_runs(self, task: str | None = None) -> list[TaskRun]:
        """Task runs, or those of one task."""
        found = self._rows(select(TaskRun).order_by(col(TaskRun.created), col(TaskRun.id)))
        return [run for run in found if task in (None, run.name.rpartition("-")[0])]

    def states(self, run: str) -> list[str]:
        """The names of all states of a run: by its name, or the latest one of the flow or task of that name.

        Raises NotFound naming the runs that there are.
        """
        told = [event for event in self.events() if _begins(event, "tocsin.flow-run", "tocsin.task-run")]
        named = [event for event in told if event.resource.get(RESOURCE_NAME) == run]
        named = named or [event for event in told if run in _kinds(event)]
        if not named:
            known = sorted({event.resource.get(RESOURCE_NAME, "") for event in told})
            raise NotFound(f"no run is called {run!r}; there are: {', '.join(known) or 'none'}")
        latest = named[-1].resource[RESOURCE_ID]
        return [event.event.rpartition(".")[2] for event in named if event.resource[RESOURCE_ID] == latest]

    def events(self, name: str | None = None) -> list[Event]:
        """What was told on the bus, or what of it has this name."""
        found = [codec.decode(entry.body) for entry in self._rows(select(LogEntry).order_by(col(LogEntry.seq)))]
        return [event for event in found if name in (None, event.event)]

    def logs(self, text: str = "") -> list[str]:
        """Lines that runs logged, or those with this text in them."""
        found = self._rows(select(LogLine).order_by(col(LogLine.id)))
        return [line.message for line in found if text in line.message]

    def run_deployment(self, deployment: "Deployment | str", parameters: Mapping[str, Any] | None = None) -> FlowRun:
        """Ask for a run of a deployment (stored when it is one), carry out all that is due, and give the run."""
        if not isinstance(deployment, str):
            deployment.apply(self.store, now=self.clock.now())
            deployment = deployment.name
        asked = self._asked(deployment, parameters)
        self.work()
        with self.store.read() as session:
            return runs.get_run(session, asked.id)

    def work(self) -> int:
        """Be the worker of every pool until nothing is due, waits for retries skipped; how many runs were begun."""
        begun = 0
        while (run := self._claimed()) is not None:
            begun += 1
            self._carry_out(run)
        return begun

    def _asked(self, deployment: str, parameters: Mapping[str, Any] | None) -> FlowRun:
        now = self.clock.now()
        return self._book.transact(lambda session: runs.create_run(session, deployment, parameters=parameters, now=now))

    def _claimed(self) -> Columns | None:
        while True:
            for pool in sorted({row.work_pool for row in self._rows(select(DeploymentRow))}):
                if ready := self._book.transact(partial(self._claim, pool, self._book.lease)):
                    return ready[0]
            if not self._skip_to_retry():
                return None

    def _claim(self, pool: str, lease: str, session: Session) -> list[Columns]:
        return claims.claim(session, pool, 1, lease=lease, worker="test", now=self.clock.now())

    def _skip_to_retry(self) -> bool:
        """Whether a run waited for a retry that is due now."""
        waiting = [run.scheduled for run in self.flow_runs() if run.state_name == "AwaitingRetry"]
        ahead = [at - self.clock.now() for at in waiting if at is not None]
        if not ahead or min(ahead) <= timedelta():
            return False
        self.clock.skip(min(ahead))
        return True

    def _carry_out(self, run: Columns) -> None:
        with self.store.read() as session:
            deployment = session.get_one(DeploymentRow, run["deployment"])
        code = carried_out(self._book, run, deployment.entrypoint, deployment.path)
        now = self.clock.now()
        self._book.transact(lambda session: claims.ended(session, run["id"], run["attempt"], code, now))

    def _rows(self, statement: Any) -> list[Any]:
        self._book.flush()
        with self.store.read() as session:
            return list(session.exec(statement).all())


@contextmanager
def flow_harness(start: datetime | None = None) -> Iterator[Harness]:
    """A harness on an empty database in a temporary folder; the environment and the book are as before afterwards.

    `start`: what time it is at first (default: now).
    """
    clock = VirtualClock(start)
    with tempfile.TemporaryDirectory(prefix="tocsin-test-") as folder, _environment(folder):
        book = ledger.use(Store.open(), clock)
        try:
            yield Harness(book, clock)
        finally:
            ledger.close()


@contextmanager
def _environment(folder: str) -> Iterator[None]:
    before = {name: os.environ.pop(name, None) for name in _HELD}
    os.environ["TOCSIN_HOME"] = folder
    os.environ["TOCSIN_DATABASE_URL"] = f"sqlite:///{folder}/tocsin.db"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _begins(event: Event, *kinds: str) -> bool:
    return any(event.event.startswith(f"{kind}.") for kind in kinds)


def _kinds(event: Event) -> set[str]:
    roles = ("flow",) if event.event.startswith("tocsin.flow-run") else ("task",)
    return {labels.get(RESOURCE_NAME, "") for labels in event.related if labels.get("tocsin.resource.role") in roles}

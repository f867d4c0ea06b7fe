"""Whatever is killed, and whenever: every run ends, no completed task runs twice, no slot leaks, no event is lost."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlmodel import select

from tests.flows.chaos import City
from tests.flows.killed_flows import GIVES
from tests.postgres.cluster import Cluster, NoPostgres
from tocsin.events import codec
from tocsin.events.ids import state_event_id
from tocsin.events.model import Event
from tocsin.flows.limit_tables import ConcurrencySlot
from tocsin.flows.states import FINAL
from tocsin.flows.tables import FlowRun, TaskRun
from tocsin.store.tables import LogEntry

RUNS = int(os.environ.get("TOCSIN_TEST_RUNS", "60"))
SEED = int(os.environ.get("TOCSIN_TEST_SEED", "1"))
AT_ONCE = 24
"""Runs that wait or are under way while things are killed."""
PAUSE_S = (0.1, 0.7)
"""Between two kills."""

pytestmark = [pytest.mark.faults, pytest.mark.postgres, pytest.mark.timeout(300 + 8 * RUNS)]


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    try:
        cluster = Cluster()
    except NoPostgres as missing:
        pytest.skip(str(missing))
    cluster.start()
    yield City(cluster, tmp_path, SEED)
    cluster.stop()


def test_whatever_is_killed_every_run_ends_and_nothing_is_done_twice(
    city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = 0
    with city.living():
        while asked < RUNS:
            completed, of = city.done()
            if of - completed < AT_ONCE:
                asked += len(city.ask(min(10, RUNS - asked)))
            city.stopped.wait(city.random.uniform(*PAUSE_S))
            city.harm()
        for _ in range(AT_ONCE):
            city.stopped.wait(city.random.uniform(*PAUSE_S))
            city.harm()
        ended = city.until_done(120 + 2 * AT_ONCE)
        found = Found(city)
    with capsys.disabled():
        print(f"\n{RUNS} runs, seed {SEED}, killed: {dict(city.kills)}; {found.summary()}")
    assert ended, found.unfinished() + city.log.read_text(errors="replace")[-3000:]
    assert found.wrong_results() == []
    assert found.unfinished_tasks() == []
    assert found.wrong_events() == []
    assert found.backward_attempts() == []
    assert found.done_twice() == []
    assert found.leaked_slots() == []


class Found:
    """What the database, its log and the witness say when all is over."""

    def __init__(self, city: City) -> None:
        self.store = city.store
        with self.store.read() as session:
            self.flows = {run.id: run for run in session.exec(select(FlowRun)).all()}
            self.tasks = {run.id: run for run in session.exec(select(TaskRun)).all()}
            self.slots = list(session.exec(select(ConcurrencySlot)).all())
            bodies = session.exec(select(LogEntry).order_by(LogEntry.seq)).all()  # type: ignore[arg-type]
            self.events = [codec.decode(entry.body) for entry in bodies]
        self.of_run: defaultdict[UUID, list[Event]] = defaultdict(list)
        for event in self.events:
            kind, _, identity = event.resource_id.rpartition(".")
            if kind.endswith("-run"):
                self.of_run[UUID(identity)].append(event)
        lines = city.witness.read_text().splitlines() if city.witness.exists() else []
        self.begun = [line.split() for line in lines]

    def summary(self) -> str:
        attempts = Counter(run.attempt for run in self.flows.values() if run.deployment)
        ends = Counter(event.event.rpartition(".")[2] for event in self.events if "flow-run." in event.event)
        failed = Counter(
            event.payload["error"]["type"] for event in self.events if event.event == "tocsin.flow-run.Failed"
        )
        return (
            f"{len(self.flows)} flow runs, attempts {dict(sorted(attempts.items()))}, {len(self.tasks)} task runs, "
            f"{len(self.begun)} begun, events {dict(ends)}, failed by {dict(failed)}"
        )

    def unfinished(self) -> str:
        left = [
            f"{run.name} {run.state_name} attempt {run.attempt} lease {run.lease} since {run.state_at}: "
            f"{run.state_message}"
            for run in self.flows.values()
            if run.state_type not in FINAL
        ]
        return "\n".join([*left, ""])

    def wrong_results(self) -> list[str]:
        return [
            f"{run.name} {run.state_name} {run.result}"
            for run in self.flows.values()
            if run.deployment and run.result != {"kind": "json", "text": str(GIVES[run.flow_name])}
        ]

    def unfinished_tasks(self) -> list[str]:
        mine = (task for task in self.tasks.values() if task.state_type not in FINAL)
        return [f"{task.name} {task.state_name} of {task.flow_run_id}" for task in mine]

    def wrong_events(self) -> list[str]:
        """Runs whose events are not one for each version, in order, under the ids that follow from it."""
        runs: list[FlowRun | TaskRun] = [*self.flows.values(), *self.tasks.values()]
        wrong = []
        for run in runs:
            wanted = [state_event_id(run.id, version) for version in range(1, run.version + 1)]
            got = [event.id for event in self.of_run[run.id]]
            if got != wanted:
                states = [event.event.rpartition(".")[2] for event in self.of_run[run.id]]
                wrong.append(f"{run.name} at version {run.version}: {states}")
        unknown = [run_id for run_id in self.of_run if run_id not in self.flows and run_id not in self.tasks]
        return [*wrong, *(f"event of no run: {run_id}" for run_id in unknown)]

    def backward_attempts(self) -> list[str]:
        wrong = []
        for run_id, events in self.of_run.items():
            attempts = [event.payload["attempt"] for event in events]
            if attempts != sorted(attempts):
                wrong.append(f"{run_id}: {attempts}")
        return wrong

    def done_twice(self) -> list[str]:
        """Places in flows at which something began behind the end that was recorded there, or that ended twice."""
        at: defaultdict[tuple[str, str], list[tuple[int, UUID]]] = defaultdict(list)
        for run, place, task_run, _, nanoseconds in self.begun:
            at[run, place].append((int(nanoseconds), UUID(task_run)))
        wrong = []
        for where, begun in at.items():
            ends = sorted(end for task_run in {task for _, task in begun} for end in self._completed(task_run))
            late = [moment for moment, _ in begun if ends and moment / 1e9 > ends[0]]
            if late or len(ends) != 1:
                wrong.append(f"{where}: began {[moment / 1e9 for moment, _ in sorted(begun)]}, completed {ends}")
        return wrong

    def _completed(self, task_run: UUID) -> list[float]:
        ends = (event for event in self.of_run[task_run] if event.event == "tocsin.task-run.Completed")
        return [event.occurred.timestamp() for event in ends]

    def leaked_slots(self) -> list[str]:
        return [f"{slot.limit_key} {slot.lease} {slot.holder}" for slot in self.slots]

"""What the database, its log and the witness say of runs when all is over, and what of it cannot be."""

from collections import Counter, defaultdict
from pathlib import Path
from uuid import UUID

from sqlmodel import select

from tests.flows.killed_flows import GIVES
from tocsin.events import codec
from tocsin.events.ids import state_event_id
from tocsin.events.model import Event
from tocsin.flows.limit_tables import ConcurrencySlot
from tocsin.flows.states import FINAL
from tocsin.flows.tables import FlowRun, TaskRun
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry


class Found:
    """What the database, its log and the witness say when all is over."""

    def __init__(self, store: Store, witness: Path) -> None:
        with store.read() as session:
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
        lines = witness.read_text().splitlines() if witness.exists() else []
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

"""A run lives on a real store through whatever anybody does to it, in any order; the store always tells one story."""

import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlmodel import Session, col, select

from tests.flows.oracle import CELLS, ONLY, OVER
from tocsin.events import codec
from tocsin.events.chain import Cause
from tocsin.events.ids import state_event_id, uuid7
from tocsin.events.model import Event
from tocsin.flows.changes import load, propose
from tocsin.flows.claims import claim, ended
from tocsin.flows.decide import Accept, Context
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.pause_requests import Hold
from tocsin.flows.runs import (
    Refusal,
    cancel_run,
    change_run,
    create_run,
    pause_run,
    resume_run,
    retry_run,
    suspend_run,
)
from tocsin.flows.states import Fault, State, StateType, paused, running, suspended
from tocsin.flows.watchdog import LATE_AFTER, end_pauses, mark_late, sweep
from tocsin.store import leases
from tocsin.store.engine import Store
from tocsin.store.tables import Lease, LogEntry

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TTL = timedelta(seconds=10)
BUDGET = 3
NAMES = ("Any", "Cached", "Retrying", "AwaitingRetry", "Resuming", "Late")
FAULT = Fault("ValueError", "no")


class ARunOnAStore(RuleBasedStateMachine):
    """One run of a deployment. `reports` remembers every attempt that ever was: all but the last are zombies."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "run.db"
        file.write_bytes(_mould())
        self.store = Store.open(f"sqlite:///{file}")
        self.now = NOW
        self.leases = 0
        self.asked: list[Cause] = []
        self.retries_asked = 0
        self.forced = 0
        self.last: dict[str, Any] = {}

    def teardown(self) -> None:
        self.store.close()
        self._folder.cleanup()

    @initialize(delay=st.integers(0, 30))
    def made(self, delay: int) -> None:
        with self.store.begin() as session:
            put_deployment(session, Deployment(name="d", entrypoint="m:f", flow_name="f"), NOW)
            self.run: UUID = create_run(session, "d", scheduled=NOW + timedelta(seconds=delay), now=NOW).id

    # --- time, workers, the watchdog ---

    @rule(seconds=st.integers(1, 30))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def a_worker_claims(self) -> None:
        self.leases += 1
        with self.store.begin() as session:
            leases.acquire(session, f"worker:{self.leases}", "w", self.now, TTL)
            before = load(session, self.run)
            for run in claim(session, "default", 5, lease=f"worker:{self.leases}", worker="w", now=self.now):
                assert before["state_type"] == "SCHEDULED"
                assert before["lease"] is None
                assert before["scheduled"] <= self.now
                assert run["attempt"] == before["attempt"] + 1

    @rule(ago=st.integers(0, 2), code=st.sampled_from([0, 1, -9, 143]))
    def a_process_ends(self, ago: int, code: int) -> None:
        with self.store.begin() as session:
            before = load(session, self.run)
            ended(session, self.run, before["attempt"] - ago, code, self.now)
            after = load(session, self.run)
            assert ago == 0 or after == before
            assert ago or after["lease"] is None

    @rule()
    def the_watchdog_looks(self) -> None:
        with self.store.begin() as session:
            mark_late(session, self.now)
            end_pauses(session, self.now)
            sweep(session, self.now)
            after = load(session, self.run)
            late = after["state_name"] == "Scheduled" and after["lease"] is None
            assert not (late and after["scheduled"] < self.now - LATE_AFTER)
            assert after["waits_until"] is None or after["waits_until"] > self.now
            if after["lease"] is not None:
                assert session.exec(_living(after["lease"], self.now)).first() is not None

    # --- the process of the run, and processes that should be gone ---

    @rule(
        kind=st.sampled_from(StateType), name=st.sampled_from(NAMES), ago=st.integers(0, 2), retries=st.integers(0, 2)
    )
    def a_process_reports(self, kind: StateType, name: str, ago: int, retries: int) -> None:
        with self.store.begin() as session:
            before = load(session, self.run)
            context = Context(attempt=before["attempt"] - ago, retries_left_of=retries)
            state = State(kind, name, scheduled=self._at(kind), fault=FAULT)
            verdict, after = propose(session, self.run, state, context, self.now)
            if ago:
                assert not isinstance(verdict, Accept), "a zombie was believed"
            if not isinstance(verdict, Accept):
                assert after == before

    @rule()
    def it_begins(self) -> None:
        with self.store.begin() as session:
            attempt = load(session, self.run)["attempt"]
            propose(session, self.run, running(attempt), Context(attempt=attempt), self.now)

    @rule(leaves=st.booleans(), asks=st.booleans(), seconds=st.integers(1, 60), again=st.booleans())
    def it_pauses(self, leaves: bool, asks: bool, seconds: int, again: bool) -> None:
        with self.store.begin() as session:
            before = load(session, self.run)
            hold = Hold(
                run_id=self.run,
                attempt=before["attempt"],
                transition=uuid7().hex,
                key=f"{before['version']}",
                state=suspended() if leaves else paused(),
                wants={"type": "integer"} if asks else None,
                until=self.now + timedelta(seconds=seconds),
                now=self.now,
            )
            held = hold.perform(session)
            stored = load(session, self.run)
            assert (held.refused is None) == (stored["state_type"] == "PAUSED" and stored != before)
            if again and held.refused is None:
                assert hold.perform(session) == held
                assert load(session, self.run) == stored

    # --- people and automations, who sometimes say a thing twice ---

    @rule(what=st.sampled_from([cancel_run, suspend_run, pause_run, resume_run]), given=st.none() | st.just(7))
    def somebody_steers(self, what: Any, given: int | None) -> None:
        cause = Cause(request=uuid7())
        self.asked.append(cause)
        with self.store.begin() as session:
            before = load(session, self.run)
            wants = (before["waits_for"] or {}).get("schema") is not None
            if what is resume_run and before["state_type"] == "PAUSED":
                answer = resume_run(session, self.run, run_input=7 if wants else None, cause=cause, now=self.now)
            elif what is resume_run:
                answer = resume_run(session, self.run, cause=cause, now=self.now)
            else:
                answer = what(session, self.run, cause=cause, now=self.now)
            after = load(session, self.run)
            assert isinstance(answer, Refusal) or answer.version == after["version"]
            if isinstance(answer, Refusal):
                assert after == before

    @rule()
    def somebody_cancels_twice(self) -> None:
        cause = Cause(request=uuid7())
        with self.store.begin() as session:
            cancel_run(session, self.run, cause=cause, now=self.now)
            first = load(session, self.run)
            cancel_run(session, self.run, cause=cause, now=self.now)
            assert load(session, self.run) == first

    @rule(key=st.integers(0, 5))
    def somebody_retries(self, key: int) -> None:
        with self.store.begin() as session:
            before = load(session, self.run)
            retry_run(session, self.run, scheduled=self.now, budget=BUDGET, key=f"k{key}", now=self.now)
            after = load(session, self.run)
            again = retry_run(session, self.run, scheduled=self.now, budget=BUDGET, key=f"k{key}", now=self.now)
            if after != before:
                assert before["state_type"] in ("FAILED", "CRASHED") or before["state_name"] == "AwaitingRetry"
                assert not isinstance(again, Refusal)
            assert load(session, self.run) == after

    @rule(kind=st.sampled_from([*sorted(OVER), "SCHEDULED"]))
    def somebody_forces(self, kind: str) -> None:
        with self.store.begin() as session:
            state = State(StateType(kind), "Forced", scheduled=self._at(StateType(kind)))
            self.forced += 1
            assert not isinstance(change_run(session, self.run, state, force=True, now=self.now), Refusal)

    def _at(self, kind: StateType) -> datetime | None:
        return self.now if kind is StateType.SCHEDULED else None

    # --- what always holds ---

    @invariant()
    def the_log_tells_the_same_story(self) -> None:
        with self.store.read() as session:
            run, events = load(session, self.run), self._events(session)
        assert [event.id for event in events] == [state_event_id(self.run, n + 1) for n in range(run["version"])]
        assert events[-1].resource["tocsin.state-name"] == run["state_name"]
        steps = [(event.payload["from"], event.payload["to"]) for event in events]
        assert all(step[0] == before[1] for before, step in pairwise(steps))
        for before, after in steps:
            self._is_in_the_table(before, after)
        attempts = [event.payload["attempt"] for event in events]
        assert attempts == sorted(attempts)
        assert all(later - before <= 1 for before, later in pairwise(attempts))

    @invariant()
    def columns_go_with_the_state(self) -> None:
        with self.store.read() as session:
            run = load(session, self.run)
        over = run["state_type"] in OVER
        assert (run["ended"] is not None) == over
        assert not (over and run["lease"] is not None)
        assert run["reruns"] <= BUDGET + self.forced
        assert (run["waits_until"] is None and run["waits_for"] is None) or run["state_type"] == "PAUSED"
        assert run["state_type"] not in ("PENDING", "RUNNING") or run["attempt"] >= 1

    def _is_in_the_table(self, before: dict[str, str] | None, after: dict[str, str]) -> None:
        origin = before["type"] if before else "new"
        letter = CELLS[origin, after["type"]]
        allowed = letter == "x" or ONLY.get(letter) == after["name"]
        assert allowed or after["name"] == "Forced", (before, after)

    def _events(self, session: Session) -> list[Event]:
        mine = select(LogEntry).where(col(LogEntry.key) == f"tocsin.flow-run.{self.run}").order_by(col(LogEntry.seq))
        return [codec.decode(entry.body) for entry in session.exec(mine)]


@cache
def _mould() -> bytes:
    """An SQLite file with every table."""
    with tempfile.TemporaryDirectory() as folder:
        Store.open(f"sqlite:///{folder}/mould.db").close()
        return Path(folder, "mould.db").read_bytes()


def _living(name: str, now: datetime) -> Any:
    return select(Lease.name).where(col(Lease.name) == name, col(Lease.expires) > now)


ARunOnAStore.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestARunOnAStore = ARunOnAStore.TestCase

"""Runs whose process is gone, found by the lease that is over."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session, select

from tests.flows.conftest import Book
from tocsin.events.clock import ManualClock
from tocsin.events.ids import uuid7
from tocsin.flows import beat
from tocsin.flows.changes import columns_of, propose, start
from tocsin.flows.decide import Context
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.ledger import Ledger
from tocsin.flows.runs import create_run, get_run
from tocsin.flows.states import StateType, awaiting_retry, fault_of, pending, running
from tocsin.flows.tables import FlowRun, TaskRun
from tocsin.flows.tasks import Task
from tocsin.flows.trace import Trace
from tocsin.flows.watchdog import KEPT, sweep
from tocsin.flows.writing import Change
from tocsin.store import leases
from tocsin.store.engine import Store
from tocsin.store.tables import Lease

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OVER = NOW + beat.TTL + timedelta(seconds=1)


def no_op() -> None:
    """Nothing."""


def hold(session: Session, name: str) -> None:
    leases.acquire(session, name, "somebody", NOW, beat.TTL)


def begin(session: Session, lease: str, **also: Any) -> dict[str, Any]:
    identity = uuid7()
    columns = columns_of(FlowRun, id=identity, name="n", flow_name="f", lease=lease, created=NOW, **also)
    run = start(session, columns, running(), NOW)
    assert run is not None
    return run


def test_a_run_crashes_when_its_lease_is_over_and_not_before(store: Store) -> None:
    with store.begin() as session:
        hold(session, "process:1")
        run = begin(session, "process:1")
        child = begin(session, "process:1", parent_run_id=run["id"])
        orphan = begin(session, "process:never-there")
        assert sweep(session, NOW) == [orphan["id"]]
        assert set(sweep(session, OVER)) <= {run["id"], child["id"]}
        assert sweep(session, OVER) == []
        for each in (run, child):
            after = get_run(session, each["id"])
            assert (after.state_type, after.lease) == ("CRASHED", None)
            assert after.state_message == "its process fell silent: the lease is over"


def test_a_renewed_lease_keeps_its_runs(store: Store) -> None:
    with store.begin() as session:
        hold(session, "process:1")
        begin(session, "process:1")
        leases.acquire(session, "process:1", "somebody", NOW + beat.INTERVAL, beat.TTL)
        assert sweep(session, OVER) == []


def test_a_retry_that_waited_in_a_dead_process_is_given_to_the_workers(store: Store) -> None:
    with store.begin() as session:
        put_deployment(session, Deployment(name="d", entrypoint="m:f", flow_name="f"), NOW)
        deployed = create_run(session, "d", now=NOW).id
        propose(session, deployed, pending(), Context(), NOW, lease="worker:1")
        propose(session, deployed, running(), Context(), NOW)
        script = begin(session, "worker:1")["id"]
        for run in (deployed, script):
            propose(session, run, awaiting_retry(NOW, "", fault_of(ValueError("no"))), Context(), NOW)
        assert sweep(session, OVER) == [script]
        waiting = get_run(session, deployed)
        assert (waiting.state_name, waiting.lease) == ("AwaitingRetry", None)
        assert get_run(session, script).state_name == "Failed"


def test_a_task_without_a_flow_crashes_too(book: Book) -> None:
    ledger = book.ledger
    trace = Trace.new(ledger, None, uuid7(), "t-0", Task(no_op, name="t"))
    ledger.settle(trace.step(running()))
    with book.store.begin() as session:
        assert sweep(session, ledger.clock.now()) == []
        sweep(session, ledger.clock.now() + beat.TTL * 2)
        (task,) = session.exec(select(TaskRun)).all()
        assert task.state_type == StateType.CRASHED


def test_rows_of_leases_that_are_long_over_go(store: Store) -> None:
    with store.begin() as session:
        for name in ("process:1", "worker:1", "somebody-elses"):
            hold(session, name)
        sweep(session, OVER + KEPT)
        assert [lease.name for lease in session.exec(select(Lease)).all()] == ["somebody-elses"]


def test_a_process_beats_while_it_lives(store: Store) -> None:
    clock = ManualClock(NOW)
    heart = beat.Heart(store, clock)
    heart.start()
    clock.advance(beat.INTERVAL)
    heart.beat()
    with store.read() as session:
        assert session.get_one(Lease, heart.name).expires == NOW + beat.INTERVAL + beat.TTL
    heart.stop()
    with store.read() as session:
        assert session.get(Lease, heart.name) is None


def test_a_change_of_a_task_that_was_given_up_is_refused(book: Book) -> None:
    ledger = book.ledger
    trace = Trace.new(ledger, None, uuid7(), "t-0", Task(no_op, name="t"))
    ledger.settle(trace.step(running()))
    with book.store.begin() as session:
        sweep(session, ledger.clock.now() + beat.TTL * 2)
    change = trace.step(running(2))
    assert refused(ledger, change)
    assert book.event_names() == {"task-run.Running": 1, "task-run.Crashed": 1}


def refused(ledger: Ledger, change: Change) -> bool:
    from tocsin.flows.errors import Superseded

    try:
        ledger.settle(change)
    except Superseded as error:
        return "given up" in str(error)
    return False

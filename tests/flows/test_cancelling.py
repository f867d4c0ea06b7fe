"""Runs that are asked to stop: what is inside them ends with them, and so they do when nobody is left to confirm it."""

import threading
from typing import Any

import pytest
from sqlmodel import select

from tests.flows.beside import PATIENCE_S, Beside, Deployed, get
from tests.flows.conftest import Book
from tocsin.events.ids import uuid7
from tocsin.flows import flow, task
from tocsin.flows.beat import TTL
from tocsin.flows.claims import claim, ended
from tocsin.flows.errors import Terminated
from tocsin.flows.runs import Refusal, cancel_run
from tocsin.flows.states import StateType
from tocsin.flows.tables import FlowRun, TaskRun
from tocsin.flows.watchdog import sweep


def nothing() -> None:
    """No work at all."""


class Nested:
    """A flow with a subflow in it, and a task in that, which waits for `go`."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

        @task
        def waits() -> None:
            self.begun.set()
            self.go.wait(PATIENCE_S)

        @task
        def after() -> None:
            raise AssertionError("it should have stopped before")

        @flow
        def inner() -> None:
            waits()
            after()

        @flow
        def outer() -> None:
            inner()
            after()

        self.flow = outer


def states(book: Book) -> dict[str, str]:
    return {run.flow_name: run.state_name for run in book.flow_runs()}


def test_a_cancel_reaches_the_subflow_that_is_at_work(book: Book) -> None:
    nested = Nested()
    beside = Beside(book, nested.flow)
    beside.met(nested.begun.is_set)
    [outer] = [run for run in book.flow_runs() if run.flow_name == "outer"]
    with book.store.begin() as session:
        cancel_run(session, outer.id, reason="by hand", now=book.ledger.clock.now())
    assert states(book) == {"outer": "Cancelling", "inner": "Cancelling"}
    book.beat()
    nested.go.set()
    with pytest.raises(Terminated, match="cancelled"):
        beside.end()
    assert states(book) == {"outer": "Cancelled", "inner": "Cancelled"}
    assert {run.state_message for run in book.flow_runs()} == {"by hand"}
    assert book.task_states()["waits-0"] == "Completed"
    assert not [run for run in book.task_runs() if run.state_type in ("RUNNING", "PENDING")]


def test_a_run_that_ends_before_it_is_stopped_has_won_the_race(book: Book) -> None:
    begun, go = threading.Event(), threading.Event()

    @flow
    def works() -> int:
        begun.set()
        go.wait(PATIENCE_S)
        return 1

    beside = Beside(book, works)
    beside.met(begun.is_set)
    [run] = book.flow_runs()
    with book.store.begin() as session:
        cancel_run(session, run.id, now=book.ledger.clock.now())
    go.set()
    assert beside.end() == 1
    assert states(book) == {"works": "Completed"}


@pytest.mark.parametrize(
    ("seen_by", "outer", "inner"),
    [("worker", "Cancelled", "Cancelled"), ("watchdog", "Crashed", "Cancelled")],
)
def test_a_cancel_that_nobody_confirms_ends_with_all_that_is_inside(
    book: Book, seen_by: str, outer: str, inner: str
) -> None:
    run = Deployed(book, flow(nothing, name="outer"))
    now = run.now()
    with book.store.begin() as session:
        claim(session, "default", 1, lease="worker:1", worker="w", now=now)
        child = FlowRun(**(inner_run(now) | {"parent_run_id": run.id}))
        session.add(child)
        session.flush()
        session.add(task_of(child, now))
        session.flush()
        assert not isinstance(cancel_run(session, run.id, reason="by hand", now=now), Refusal)
        assert child.id is not None
    assert get(book, child.id).state_name == "Cancelling"
    with book.store.begin() as session:
        if seen_by == "worker":
            ended(session, run.id, 1, -15, now)
        else:
            sweep(session, now + 2 * TTL)
    assert (run.row().state_name, get(book, child.id).state_name) == (outer, inner)
    with book.store.read() as session:
        [row] = session.exec(select(TaskRun)).all()
    assert (row.state_name, row.lease) == ("Crashed", None)


def inner_run(now: Any) -> dict[str, Any]:
    return {
        "id": uuid7(), "name": "inner-0", "flow_name": "inner", "state_type": StateType.RUNNING.value,
        "state_name": "Running", "state_at": now, "attempt": 1, "version": 1, "lease": "worker:1", "created": now,
    }  # fmt: skip


def task_of(run: FlowRun, now: Any) -> TaskRun:
    known: dict[str, Any] = {
        "name": "waits-0",
        "task_name": "waits",
        "task_key": "waits",
        "state_name": "Running",
        "attempt": 1,
    }
    return TaskRun(
        id=uuid7(), flow_run_id=run.id, state_type="RUNNING", state_at=now, version=1, created=now, **known
    )  # fmt: skip

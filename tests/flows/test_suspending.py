"""Deployed flows that wait: with a process, and without one."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from tests.flows.beside import PATIENCE_S, Approval, Beside, Deployed, flow_events, nothing
from tests.flows.conftest import Book
from tocsin.events.errors import Invalid
from tocsin.flows import flow, resume_flow_run, suspend_flow_run, task
from tocsin.flows.changes import being_stopped
from tocsin.flows.claims import claim, ended
from tocsin.flows.errors import Parked
from tocsin.flows.pause_requests import LookAtPause
from tocsin.flows.runs import pause_run, resume_run
from tocsin.flows.watchdog import end_pauses, sweep


def test_a_suspended_flow_leaves_its_process_and_is_run_again_with_the_answer(book: Book) -> None:
    calls: list[str] = []

    @task
    def step(name: str) -> str:
        calls.append(name)
        return name

    @flow
    def asks() -> list[Any]:
        first = step("a"), step.submit("b")
        answer = suspend_flow_run(wait_for_input=Approval)
        return [first[0], first[1].result(), answer.by, step("c")]

    run = Deployed(book, asks)
    with pytest.raises(Parked):
        run.work()
    row = run.row()
    assert (row.state_name, row.lease, row.worker, row.attempt) == ("Suspended", None, None, 1)
    assert sorted(calls) == ["a", "b"]
    with pytest.raises(Invalid, match="'ok': Field required"):
        resume_flow_run(run.id, {})
    resume_flow_run(run.id, {"ok": True, "by": "Ada"})
    assert run.work() == ["a", "b", "Ada", "c"]
    assert sorted(calls) == ["a", "b", "c"]
    assert flow_events(book)[-6:] == ["Running", "Suspended", "Resuming", "Pending", "Retrying", "Completed"]


def test_what_was_answered_is_not_asked_again_after_a_crash(book: Book) -> None:
    @flow
    def asks() -> list[int]:
        return [suspend_flow_run(wait_for_input=int), suspend_flow_run(wait_for_input=int, key="two")]

    run = Deployed(book, asks)
    for answer in (1, 2):
        with pytest.raises(Parked):
            run.work()
        resume_flow_run(run.id, answer)
    assert run.work() == [1, 2]


def test_a_run_that_is_paused_from_outside_begins_nothing_until_it_is_resumed(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.flows.context.LOOK_S", 0)
    begun, go = threading.Event(), threading.Event()

    @task
    def one() -> None:
        begun.set()
        go.wait(PATIENCE_S)

    @task
    def two() -> int:
        return 2

    @flow
    def works() -> int:
        one()
        return two()

    run = Deployed(book, works)
    beside = Beside(book, run.work)
    beside.met(begun.is_set)
    with book.store.begin() as session:
        pause_run(session, run.id, reason="by hand", now=run.now())
        assert being_stopped(session, "worker:1") == []
    go.set()
    beside.met(lambda: book.task_states().get("one-0") == "Completed")
    assert "two-0" not in book.task_states()
    with book.store.begin() as session:
        resume_run(session, run.id, now=run.now())
    assert beside.end() == 2
    assert (run.row().state_name, run.row().attempt) == ("Completed", 1)


def test_a_run_that_is_paused_behind_its_last_task_ends_when_it_is_resumed(book: Book) -> None:
    begun, go = threading.Event(), threading.Event()

    @flow
    def works() -> int:
        begun.set()
        go.wait(PATIENCE_S)
        return 3

    run = Deployed(book, works)
    beside = Beside(book, run.work)
    beside.met(begun.is_set)
    with book.store.begin() as session:
        pause_run(session, run.id, now=run.now())
    go.set()
    assert run.row().state_name == "Paused"
    with book.store.begin() as session:
        resume_run(session, run.id, now=run.now())
    assert beside.end() == 3
    assert run.row().state_name == "Completed"


@pytest.mark.parametrize("seen_by", ["worker", "watchdog"])
def test_a_paused_run_whose_process_dies_goes_on_in_another_one(book: Book, seen_by: str) -> None:
    run = Deployed(book, flow(nothing, name="f"))
    with book.store.begin() as session:
        claim(session, "default", 1, lease="worker:1", worker="w", now=run.now())
        pause_run(session, run.id, now=run.now())
        if seen_by == "worker":
            ended(session, run.id, 1, -9, run.now())
        else:
            assert sweep(session, run.now()) == []
    assert (run.row().state_name, run.row().lease) == ("Paused", None)
    resume_flow_run(run.id)
    assert run.work() is None
    assert (run.row().state_name, run.row().attempt) == ("Completed", 2)


def test_the_watchdog_ends_pauses_of_which_no_process_is_left(book: Book) -> None:
    @flow
    def asks() -> None:
        suspend_flow_run(timeout=3600)

    run = Deployed(book, asks)
    with pytest.raises(Parked):
        run.work()
    with book.store.begin() as session:
        assert end_pauses(session, run.now() + timedelta(minutes=59)) == []
        assert end_pauses(session, run.now() + timedelta(minutes=61)) == [run.id]
        assert end_pauses(session, run.now() + timedelta(minutes=61)) == []
    row = run.row()
    assert (row.state_type, row.state_name, row.waits_until) == ("FAILED", "TimedOut", None)


def test_looking_at_a_run_tells_what_it_was_told(book: Book) -> None:
    @flow
    def asks() -> Any:
        return suspend_flow_run(wait_for_input=int, timeout=None)

    run = Deployed(book, asks)
    with pytest.raises(Parked):
        run.work()
    assert run.row().waits_until is None
    assert not book.ledger.ask(LookAtPause(run_id=run.id, key="pause-0")).held.answered
    resume_flow_run(run.id, 4)
    assert book.ledger.ask(LookAtPause(run_id=run.id, key="pause-0")).held.input == 4

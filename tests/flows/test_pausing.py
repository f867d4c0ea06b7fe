"""Flows that wait for a person: in their process, or without one; with input, or without."""

import asyncio
import threading
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from tests.flows.beside import PATIENCE_S, Approval, Beside, flow_events, get
from tests.flows.conftest import Book
from tocsin.events.errors import Conflict, Invalid, NotFound
from tocsin.events.ids import uuid7
from tocsin.flows import flow, pause_flow_run, resume_flow_run, suspend_flow_run, task
from tocsin.flows.errors import PauseTimedOut, Superseded
from tocsin.flows.runs import cancel_run


@task
def double(number: int) -> int:
    return 2 * number


def test_a_paused_flow_stands_still_and_goes_on_with_what_it_is_told(book: Book) -> None:
    @flow
    def asks() -> tuple[int, Approval]:
        first = double(1)
        answer = pause_flow_run(wait_for_input=Approval, key="approve")
        return double(first), answer

    run = Beside(book, asks)
    paused = run.in_state("Paused")
    assert (paused.state_type, paused.lease, paused.attempt) == ("PAUSED", book.ledger.lease, 1)
    resume_flow_run(paused.id, {"ok": True, "until": "2026-03-02"})
    assert run.end() == (4, Approval(ok=True, until=date(2026, 3, 2)))
    assert flow_events(book) == ["Running", "Paused", "Resuming", "Pending", "Running", "Completed"]
    [row] = book.flow_runs()
    assert (row.attempt, row.waits_for, row.waits_until, row.version) == (1, None, None, 6)
    [event] = [event for event in book.events() if event.event.endswith(".Paused")]
    assert event.payload["waits_for"]["key"] == "approve"
    assert set(event.payload["waits_for"]["schema"]["properties"]) == {"ok", "by", "until"}
    assert event.payload["waits_until"]


def test_an_async_flow_awaits_the_answer(book: Book) -> None:
    @flow
    async def asks() -> int:
        answer: int = await pause_flow_run(wait_for_input=int)
        await pause_flow_run()
        return answer

    run = Beside(book, lambda: asyncio.run(asks()))
    resume_flow_run(str(run.in_state("Paused").id), 7)
    run.met(lambda: flow_events(book).count("Paused") == 2)
    resume_flow_run(run.in_state("Paused").id)
    assert run.end() == 7


def test_tasks_that_were_submitted_go_on_while_their_flow_stands_still(book: Book) -> None:
    go = threading.Event()

    @task
    def slow() -> int:
        go.wait(PATIENCE_S)
        return 5

    @flow(retries=1)
    def asks() -> int:
        future = slow.submit()
        pause_flow_run()
        return future.result()

    run = Beside(book, asks)
    paused = run.in_state("Paused")
    go.set()
    run.met(lambda: book.task_states() == {"slow-0": "Completed"})
    assert get(book, paused.id).state_name == "Paused"
    resume_flow_run(paused.id)
    assert run.end() == 5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"by": "me"}, "input 'ok': Field required"),
        ({"ok": "perhaps"}, "input 'ok': Input should be a valid boolean"),
        ({"ok": True, "until": "soon"}, "input 'until"),
        (None, "input: Input should be"),
        ("yes", "input: Input should be"),
    ],
    ids=str,
)
def test_an_input_that_does_not_fit_is_refused_and_changes_nothing(book: Book, given: Any, said: str) -> None:
    @flow
    def asks() -> Any:
        return pause_flow_run(wait_for_input=Approval)

    run = Beside(book, asks)
    paused = run.in_state("Paused")
    with pytest.raises(Invalid, match=said):
        resume_flow_run(paused.id, given)
    assert get(book, paused.id).version == paused.version
    resume_flow_run(paused.id, Approval(ok=False))
    assert run.end() == Approval(ok=False)


class Picky(BaseModel):
    """What only its author can tell."""

    number: int

    @field_validator("number")
    @classmethod
    def odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("not odd")
        return value


def test_an_input_that_only_the_flow_can_refuse_is_asked_for_again(book: Book) -> None:
    @flow
    def asks() -> int:
        picked: Picky = pause_flow_run(wait_for_input=Picky)
        return picked.number

    run = Beside(book, asks)
    resume_flow_run(run.in_state("Paused").id, {"number": 2})
    again = run.met(lambda: next((r for r in book.flow_runs() if "not odd" in r.state_message), None))
    assert again.state_name == "Paused"
    resume_flow_run(again.id, {"number": 3})
    assert run.end() == 3


def test_nobody_came_in_time(book: Book) -> None:
    @flow
    def asks() -> None:
        pause_flow_run(timeout=0.01)

    with pytest.raises(PauseTimedOut, match="nobody resumed it until"):
        asks()
    [run] = book.flow_runs()
    assert (run.state_type, run.state_name, run.lease) == ("FAILED", "TimedOut", None)
    with pytest.raises(Conflict, match="it is TimedOut, not paused"):
        resume_flow_run(run.id)


def test_a_flow_that_goes_on_after_its_time_was_over_is_not_believed(book: Book) -> None:
    @flow
    def asks() -> int:
        try:
            pause_flow_run(timeout=0.01)
        except PauseTimedOut:
            return 1
        return 2

    with pytest.raises(Superseded):
        asks()
    assert [run.state_name for run in book.flow_runs()] == ["TimedOut"]


def test_a_paused_script_that_is_interrupted_has_failed(book: Book) -> None:
    @flow
    def asks() -> None:
        pause_flow_run()

    def interrupt(step: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tocsin.flows.steps.Sleep.block", interrupt)
        with pytest.raises(KeyboardInterrupt):
            asks()
    [run] = book.flow_runs()
    assert (run.state_name, run.state_message) == ("Failed", "interrupted by KeyboardInterrupt while it was paused")


def test_a_paused_run_that_is_cancelled_ends(book: Book) -> None:
    @flow
    def asks() -> None:
        pause_flow_run()

    run = Beside(book, asks)
    paused = run.in_state("Paused")
    with book.store.begin() as session:
        cancel_run(session, paused.id, reason="by hand", now=book.ledger.clock.now())
    with pytest.raises(BaseException, match="cancelled"):
        run.end()
    assert (get(book, paused.id).state_name, get(book, paused.id).state_message) == ("Cancelled", "by hand")


REFUSED = [
    pytest.param(lambda: pause_flow_run(), "outside of a flow", id="outside"),
    pytest.param(lambda: flow(task(pause_flow_run))(), "in a task", id="in a task"),
    pytest.param(lambda: flow(lambda: suspend_flow_run(), name="s")(), "a program started it", id="suspend a script"),
    pytest.param(lambda: flow(lambda: pause_flow_run(Beside), name="s")(), "pydantic", id="no type of pydantic's"),
]


@pytest.mark.parametrize(("call", "said"), REFUSED)
def test_where_a_flow_cannot_pause_it_says_so(quick: Book, call: Callable[[], Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        call()


def test_a_run_that_asks_for_nothing_takes_no_input(book: Book) -> None:
    @flow
    def asks() -> None:
        pause_flow_run()

    run = Beside(book, asks)
    paused = run.in_state("Paused")
    with pytest.raises(Invalid, match="waits for no input"):
        resume_flow_run(paused.id, 1)
    with pytest.raises(NotFound):
        resume_flow_run(uuid7())
    resume_flow_run(paused.id)
    run.end()

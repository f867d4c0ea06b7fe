"""Flows that wait for a person: in their process, or without one; with input, or without."""

import asyncio
import threading
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, field_validator

from tests.flows.conftest import Book
from tocsin.events.errors import Conflict, Invalid, NotFound
from tocsin.events.ids import uuid7
from tocsin.flows import flow, pause_flow_run, resume_flow_run, suspend_flow_run, task
from tocsin.flows.changes import being_stopped
from tocsin.flows.claims import claim, ended
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.errors import Parked, PauseTimedOut, Superseded
from tocsin.flows.flows import Flow
from tocsin.flows.pause_requests import LookAtPause
from tocsin.flows.runs import cancel_run, create_run, get_run, pause_run, resume_run
from tocsin.flows.tables import FlowRun
from tocsin.flows.watchdog import end_pauses, sweep

PATIENCE_S = 30


class Approval(BaseModel):
    """What a person is asked."""

    ok: bool
    by: str = "nobody"
    until: date | None = None


def nothing() -> None:
    """No work at all."""


class Beside:
    """A flow that runs in a thread of its own, until it has ended."""

    def __init__(self, book: Book, call: Callable[[], Any]) -> None:
        self.book = book
        self.value: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self.value = call()
        except BaseException as error:
            self.error = error

    def met(self, condition: Callable[[], Any]) -> Any:
        for _ in range(PATIENCE_S * 200):
            alive = self._thread.is_alive()
            if answer := condition():
                return answer
            if not alive:
                break
            self._thread.join(0.005)
        raise AssertionError(f"not met; the runs are {[run.state_name for run in self.book.flow_runs()]}, {self.error}")

    def in_state(self, *names: str) -> FlowRun:
        found: FlowRun = self.met(lambda: next((r for r in self.book.flow_runs() if r.state_name in names), None))
        return found

    def end(self) -> Any:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.value


@task
def double(number: int) -> int:
    return 2 * number


def flow_events(book: Book) -> list[str]:
    names = [event.event for event in book.events()]
    return [name.removeprefix("tocsin.flow-run.") for name in names if name.startswith("tocsin.flow-run.")]


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


def get(book: Book, run_id: UUID) -> FlowRun:
    with book.store.read() as session:
        return get_run(session, run_id)


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


# --- deployments: with a process, and without one ---


class Deployed:
    """A flow of this file as a deployment, and a worker that runs it here."""

    def __init__(self, book: Book, what: Flow[..., Any]) -> None:
        self.book, self.flow = book, what
        with book.store.begin() as session:
            put_deployment(session, Deployment(name="d", entrypoint="m:f", flow_name="f"), self.now())
            self.id = create_run(session, "d", now=self.now()).id

    def now(self) -> Any:
        return self.book.ledger.clock.now()

    def work(self) -> Any:
        """Claim it and run it to its end here."""
        with self.book.store.begin() as session:
            (taken,) = claim(session, "default", 1, lease="worker:1", worker="w", now=self.now())
        return self.flow.resume(taken)

    def row(self) -> FlowRun:
        return get(self.book, self.id)


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

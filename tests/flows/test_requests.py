"""What an engine asks of the book goes through JSON and back, and leaves the same when it is asked twice."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.flows.conftest import Book
from tocsin.events.errors import NotFound
from tocsin.events.ids import uuid7
from tocsin.flows.decide import Context
from tocsin.flows.flow_requests import (
    FindCode,
    FindRun,
    FindSubflow,
    Recall,
    Report,
    Reported,
    RestartSubflow,
    StartRun,
    TryAgain,
)
from tocsin.flows.request import Request
from tocsin.flows.states import COMPLETED, RUNNING, awaiting_retry, completed, crashed, failed, running
from tocsin.flows.tables import FlowRun, TaskRun
from tocsin.flows.trace import Trace
from tocsin.flows.writing import Change, Write
from tocsin.store.tables import LogEntry

NOW = datetime(2026, 3, 2, 9, 0, 0, 120, tzinfo=UTC)
RUN, TASK = uuid7(), uuid7()
STARTS = StartRun(
    run={
        "id": RUN,
        "name": "nightly-1",
        "flow_name": "nightly",
        "parameters": {"day": "2026-03-02", "n": [1, None]},
        "tags": ["ü"],
        "idempotency_key": "k",
        "lease": "process:1",
        "created": NOW,
    },
    state=RUNNING,
    now=NOW,
)
Asked = Callable[[Request], Any]


def sent(request: Request) -> Request:
    """The request as it comes out of JSON at the other end."""
    return msgspec.json.decode(msgspec.json.encode(request), type=type(request))


def report(state: Any, **context: Any) -> Report:
    context = {"attempt": 1, "transition": "t-1", **context}
    return Report(run_id=RUN, state=state, context=Context(**context), now=NOW, also={"result": {"kind": "none"}})


TELLING: dict[str, tuple[list[Request], Request]] = {
    "a run begins": ([], STARTS),
    "a run ends": ([STARTS], report(completed("it is done"))),
    "a run fails": ([STARTS], report(failed(ValueError('said "no"')))),
    "a run that fails waits": (
        [STARTS],
        report(failed(ValueError()), retries_left_of=2, retry_delay=timedelta(seconds=1.5)),
    ),
    "a run is tried again": (
        [STARTS, report(awaiting_retry(NOW))],
        TryAgain(run_id=RUN, attempt=1, transition="t-2", now=NOW),
    ),
    "a subflow begins again": (
        [STARTS, report(crashed("gone"))],
        RestartSubflow(run_id=RUN, lease="process:2", transition="t-2", now=NOW),
    ),
}


@pytest.mark.parametrize(("before", "request_"), TELLING.values(), ids=TELLING)
def test_a_request_that_is_sent_again_leaves_the_same(book: Book, before: list[Request], request_: Request) -> None:
    for each in before:
        book.ledger.ask(each)
    answer = book.ledger.ask(sent(request_))
    rows, events = book.rows(FlowRun), len(book.rows(LogEntry))
    assert book.ledger.ask(sent(request_)) == answer
    assert book.rows(FlowRun) == rows
    assert len(book.rows(LogEntry)) == events
    assert msgspec.json.decode(msgspec.json.encode(answer), type=request_.answer) == answer


ASKING: dict[str, Request] = {
    "a run": FindRun(run_id=RUN),
    "a subflow's run": FindSubflow(key="k"),
    "no subflow's run": FindSubflow(key="other"),
    "what was done": Recall(run_id=RUN),
}


@pytest.mark.parametrize("request_", ASKING.values(), ids=ASKING)
def test_an_answer_comes_back_from_json_as_it_was(book: Book, request_: Request) -> None:
    book.ledger.ask(STARTS)
    book.ledger.ask(Write(changes=[change(1, RUNNING), change(2, COMPLETED)]))
    answer = book.ledger.ask(sent(request_))
    assert msgspec.json.decode(msgspec.json.encode(answer), type=request_.answer) == answer


def change(version: int, state: Any, at: datetime = NOW) -> Change:
    book_row = {
        "id": TASK,
        "name": "load-0",
        "task_name": "load",
        "task_key": "m.load",
        "flow_run_id": RUN,
        "resume_key": "r",
    }
    trace = Trace(_Clocked(at), None, {**BLANK, **book_row, "created": NOW})  # type: ignore[arg-type]
    changes = [trace.step(running())]
    while len(changes) < version:
        changes.append(trace.step(state))
    return msgspec.structs.replace(changes[-1], fence=(RUN, 1))


class _Clocked:
    """As much of a ledger as a trace asks for the time."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self.clock = self

    def now(self) -> datetime:
        return self.at


BLANK = dict.fromkeys(TaskRun.model_fields) | {"version": 0, "tags": [], "attempt": 0, "retries": 0}
FIRST, LAST = change(1, RUNNING), change(2, COMPLETED)

WRITES: dict[str, tuple[list[Write], dict[int, str]]] = {
    "new, from beginning to end": ([Write(changes=[FIRST, LAST])], {}),
    "new, and later its end": ([Write(changes=[FIRST]), Write(changes=[LAST])], {}),
    "with lines": (
        [Write(changes=[FIRST], lines=[{"flow_run_id": RUN, "at": NOW, "level": 20, "logger": "a", "message": "m"}])],
        {},
    ),
}


@pytest.mark.parametrize(("writes", "refused"), WRITES.values(), ids=WRITES)
def test_changes_that_are_sent_again_are_stored_once(book: Book, writes: list[Write], refused: dict[int, str]) -> None:
    book.ledger.ask(STARTS)
    for write in writes:
        assert book.ledger.ask(sent(write)) == refused
    rows, events = book.rows(TaskRun), len(book.rows(LogEntry))
    assert book.ledger.ask(sent(writes[-1])) == refused
    assert book.rows(TaskRun) == rows
    assert len(book.rows(LogEntry)) == events
    assert rows[0].state_name == writes[-1].changes[-1].row["state_name"]


def test_a_change_is_refused_when_somebody_else_has_changed_the_run(book: Book) -> None:
    book.ledger.ask(STARTS)
    book.ledger.ask(Write(changes=[FIRST]))
    theirs = change(2, crashed("its lease is over"), NOW + timedelta(seconds=1))
    book.ledger.ask(Write(changes=[theirs]))
    assert book.ledger.ask(Write(changes=[LAST])) == {0: "it was given up by somebody else"}
    assert book.task_states() == {"load-0": "Crashed"}


def test_a_change_is_refused_when_its_flow_run_is_at_another_attempt(book: Book) -> None:
    book.ledger.ask(STARTS)
    book.ledger.ask(report(awaiting_retry(NOW)))
    refused = book.ledger.ask(Write(changes=[FIRST, LAST]))
    assert set(refused) == {0, 1}
    assert "SCHEDULED at attempt 1" in refused[0]
    assert book.task_runs() == []


def test_a_run_that_is_somebody_elses_by_now_is_told_why(book: Book) -> None:
    book.ledger.ask(STARTS)
    answer: Reported = book.ledger.ask(report(COMPLETED, attempt=7))
    assert (answer.state, answer.run["state_name"]) == (None, "Running")
    assert "attempt 7 is over" in (answer.refused or "")


@pytest.mark.parametrize("request_", [FindRun(run_id=uuid7()), FindCode(deployment="none")], ids=["run", "code"])
def test_what_is_not_there_is_named(book: Book, request_: Request) -> None:
    with pytest.raises(NotFound, match="there is none"):
        book.ledger.ask(request_)


def test_a_taken_key_starts_nothing(book: Book) -> None:
    book.ledger.ask(STARTS)
    other = msgspec.structs.replace(STARTS, run={**STARTS.run, "id": uuid7()})
    assert book.ledger.ask(other) is None

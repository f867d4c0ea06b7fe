"""A database that goes away in the middle: what was reported is stored once, whatever became of the transaction."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select

from tests.flows.conftest import Book
from tests.flows.yard import Yard
from tocsin.events.clock import SystemClock
from tocsin.events.errors import Invalid
from tocsin.events.ids import state_event_id, uuid7
from tocsin.flows import flow, ledger, task
from tocsin.flows.decide import Context
from tocsin.flows.states import failed, pending, running
from tocsin.flows.tables import FlowRun, TaskRun
from tocsin.flows.trace import Trace
from tocsin.flows.worker import Worker
from tocsin.flows.writing import Write
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry


class Shaky(Store):
    """A store whose connection is lost: `before` the commit or behind it, so that nobody knows what became of it."""

    breaks: list[str]

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """As a store's, until it is to break."""
        how = self.breaks.pop(0) if getattr(self, "breaks", None) else ""
        with super().begin() as session:
            yield session
            if how == "before":
                raise lost()
        if how == "behind":
            raise lost()


def lost() -> OperationalError:
    return OperationalError("COMMIT", {}, ConnectionError("server closed the connection unexpectedly"))


@pytest.fixture
def shaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    monkeypatch.setattr(ledger, "SOONEST_S", 0.001)
    store = Shaky.open(f"sqlite:///{tmp_path / 'shaky.db'}")
    yield Book(ledger.use(store, SystemClock()))
    ledger.close()


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("at", range(8))
def test_a_connection_that_is_lost_fails_no_run_and_nothing_is_stored_twice(shaky: Book, at: int, when: str) -> None:
    calls: list[int] = []

    @task
    def step(number: int) -> int:
        calls.append(number)
        return number

    @flow(retries=1)
    def works() -> int:
        return step(1) + step(2)

    store = shaky.store
    assert isinstance(store, Shaky)
    store.breaks = [*[""] * at, when, when]  # the first is the lease
    assert works() == 3
    store.breaks = []
    shaky.ledger.flush()
    assert calls == [1, 2]
    told_once(shaky)


def told_once(book: Book) -> None:
    runs: list[FlowRun | TaskRun] = [*book.flow_runs(), *book.task_runs()]
    assert {run.state_name for run in runs} == {"Completed"}
    wanted = {state_event_id(run.id, version) for run in runs for version in range(1, run.version + 1)}
    events = [event.id for event in book.events() if "-run." in event.event]
    assert len(events) == len(wanted)
    assert set(events) == wanted


@pytest.mark.parametrize("stored", [1, 2, 3], ids=["the first", "two", "all"])
def test_changes_that_were_stored_go_on_from_there_with_those_behind_them(quick: Book, stored: int) -> None:
    """The answer was lost and nobody sent it again: the next transaction brings old and new ones."""

    @task
    def nothing() -> None:
        """No work at all."""

    trace = Trace.new(quick.ledger, None, uuid7(), "nothing-0", nothing)
    retry = Context(retries_left_of=1)
    changes = [trace.step(running()), trace.step(failed(ValueError("no")), retry), trace.step(pending())]
    for brought in (changes[:stored], changes):
        with quick.store.begin() as session:
            assert Write(changes=brought).perform(session) == {}
    [row] = quick.task_runs()
    assert (row.version, row.state_name) == (3, changes[-1].row["state_name"])
    assert [event.id for event in quick.events()] == [change.event.id for change in changes]


def test_what_is_wrong_with_the_work_itself_is_not_tried_again(shaky: Book) -> None:
    def work(session: Session) -> None:
        raise Invalid("no")

    with pytest.raises(Invalid):
        shaky.ledger.transact(work)


class Claims(Store):
    """A store that loses the connection behind the first commit in which a run was taken."""

    lost = False

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """As a store's, but once."""
        with super().begin() as session:
            yield session
            taken = select(FlowRun.id).where(FlowRun.state_type == "PENDING")
            loses = not self.lost and session.exec(taken).first() is not None
        if loses:
            self.lost = True
            raise lost()


async def test_a_claim_whose_answer_was_lost_is_given_back_and_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    """Nobody knows of this run: its worker lives, so no watchdog would find it."""
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    monkeypatch.setenv("TOCSIN_DATABASE_URL", sqlite_url)
    store = Claims.open(sqlite_url)
    yard, stop = Yard(store, tmp_path / "marks"), asyncio.Event()
    run = yard.ask("greet", "thread")
    serving = asyncio.create_task(Worker(store, "thread").serve(stop))
    done = await yard.until(run, "Completed", "Failed", "Crashed")
    stop.set()
    await serving
    with store.read() as session:
        names = session.exec(select(LogEntry.event).order_by(col(LogEntry.seq))).all()
    told = [name for name in names if name.startswith("tocsin.flow-run.")]
    store.close()
    assert store.lost
    assert [name.rpartition(".")[2] for name in told][:4] == ["Scheduled", "Pending", "Scheduled", "Pending"]
    assert (done.state_name, done.attempt) == ("Completed", 2)

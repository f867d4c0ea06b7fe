"""What tests of runs need: a ledger on each database, and questions to it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from tests.flows.yard import Serving, Yard
from tocsin.events import codec
from tocsin.events.model import Event
from tocsin.flows import ledger as ledgers
from tocsin.flows.ledger import Ledger
from tocsin.flows.tables import FlowRun, LogLine, TaskRun
from tocsin.flows.worker import Worker
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry


class Book:
    """What the database says about runs."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.store = ledger.store

    def beat(self) -> None:
        """Renew the lease now instead of some seconds later."""
        heart = self.ledger._heart
        assert heart is not None
        heart.beat()

    def rows(self, table: Any) -> list[Any]:
        self.ledger.flush()
        with self.store.read() as session:
            return list(session.exec(select(table)).all())

    def flow_runs(self) -> list[FlowRun]:
        return sorted(self.rows(FlowRun), key=lambda run: run.created)

    def task_runs(self) -> list[TaskRun]:
        return sorted(self.rows(TaskRun), key=lambda run: (run.created, run.name))

    def task_states(self) -> dict[str, str]:
        return {run.name: run.state_name for run in self.task_runs()}

    def lines(self) -> list[str]:
        return [line.message for line in self.rows(LogLine)]

    def events(self) -> list[Event]:
        entries = sorted(self.rows(LogEntry), key=lambda entry: entry.seq)
        return [codec.decode(entry.body) for entry in entries]

    def event_names(self) -> Counter[str]:
        return Counter(event.event.removeprefix("tocsin.") for event in self.events())


@pytest.fixture
def book(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    """The book that this process's runs are written into, once on SQLite and once on PostgreSQL."""
    monkeypatch.setenv("TOCSIN_DATABASE_URL", store_url)
    yield Book(ledgers.local())
    ledgers.close()


@pytest.fixture
def quick(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    """The same on SQLite only, for what does not depend on the database."""
    monkeypatch.setenv("TOCSIN_DATABASE_URL", sqlite_url)
    yield Book(ledgers.local())
    ledgers.close()


@pytest.fixture
def yard(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    return Yard(store, tmp_path / "marks")


@pytest.fixture
def small_yard(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """A yard on SQLite, for what does not depend on the database: processes are slow to start."""
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    store = Store.open(sqlite_url)
    yield Yard(store, tmp_path / "marks")
    store.close()


@pytest.fixture
def serving() -> Serving:
    @asynccontextmanager
    async def serve(yard: Yard, **options: Any) -> AsyncIterator[Worker]:
        worker, stop = Worker(yard.store, **options), asyncio.Event()
        task = asyncio.create_task(worker.serve(stop))
        try:
            yield worker
        finally:
            stop.set()
            await task

    return serve

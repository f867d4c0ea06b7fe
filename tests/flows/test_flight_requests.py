"""What the book answers to who wants to compute a result, or waits for it."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.flows.conftest import Book
from tocsin.events.clock import ManualClock
from tocsin.flows import flow
from tocsin.flows.cache_requests import EndFlight, FindCached, Found, TakeFlight
from tocsin.flows.cache_tables import CacheFlight
from tocsin.flows.changes import columns_of
from tocsin.flows.states import StateType
from tocsin.flows.tables import CacheEntry, TaskRun
from tocsin.store import leases
from tocsin.store.engine import insert_new


def flights(book: Book) -> int:
    return len(book.rows(CacheFlight))


class Desk:
    """Asks as several task runs would, at times of its choice."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.clock = ManualClock(book.ledger.clock.now())

    def lease(self, name: str, seconds: float = 10) -> str:
        with self.book.store.begin() as session:
            leases.acquire(session, name, "somebody", self.clock.now(), timedelta(seconds=seconds))
        return name

    def take(self, run: UUID, lease: str, **more: Any) -> Found:
        request = TakeFlight(
            key="k", task_run_id=run, lease=lease, flow_run_id=None, attempt=None, now=self.clock.now(), **more
        )
        first, again = (self.book.ledger.ask(request) for _ in range(2))
        assert first == again, "asked twice, it answers the same"
        found: Found = first
        return found

    def end(self, run: UUID, result: str | None = None) -> None:
        reference = {"kind": "json", "text": result} if result else None
        request = EndFlight(key="k", task_run_id=run, task_key="t", result=reference, now=self.clock.now())
        for _ in range(2):
            self.book.ledger.ask(request)

    def look(self, **more: Any) -> Found:
        found: Found = self.book.ledger.ask(FindCached(key="k", now=self.clock.now(), **more))
        return found


@pytest.fixture
def desk(book: Book) -> Desk:
    return Desk(book)


ONE, OTHER = uuid4(), uuid4()


def test_a_flight_is_one_run_s_until_it_ends(desk: Desk) -> None:
    assert desk.look() == Found()
    assert desk.take(ONE, desk.lease("one")).yours
    assert desk.look().taken
    assert desk.take(OTHER, desk.lease("other")).taken
    desk.end(OTHER)
    assert desk.look().taken, "nobody ends another one's flight"
    desk.end(ONE, "1")
    assert desk.look() == desk.take(OTHER, "other") == Found(result={"kind": "json", "text": "1"}, task_run_id=ONE)
    assert flights(desk.book) == 0


def test_a_flight_is_over_with_its_lease_and_a_late_report_is_no_harm(desk: Desk) -> None:
    desk.take(ONE, desk.lease("one"))
    desk.clock.advance(timedelta(seconds=11))
    assert not desk.look().taken
    assert desk.take(OTHER, desk.lease("other")).yours
    desk.end(ONE, "1")
    assert desk.look().result == {"kind": "json", "text": "1"}
    assert flights(desk.book) == 1
    desk.end(OTHER, "2")
    assert [row.result["text"] for row in desk.book.rows(CacheEntry)] == ["2"]


def test_a_flight_is_over_with_its_flow_run(desk: Desk) -> None:
    @flow
    def ended() -> None: ...

    ended()
    (run,) = desk.book.flow_runs()
    desk.lease("one")
    with desk.book.store.begin() as session:
        flight = CacheFlight(key="k", task_run_id=ONE, lease="one", since=desk.clock.now())
        flight.flow_run_id, flight.attempt = run.id, run.attempt
        session.add(flight)
    assert not desk.look().taken


@pytest.mark.parametrize("state", list(StateType))
def test_a_flight_is_over_with_its_task_run(desk: Desk, state: StateType) -> None:
    desk.take(ONE, desk.lease("one"))
    now = desk.clock.now()
    run = columns_of(TaskRun, id=ONE, name="n", task_key="t", task_name="t", state_at=now, created=now)
    with desk.book.store.begin() as session:
        insert_new(session, TaskRun, [run | {"state_type": state, "state_name": "x"}])
    assert desk.look().taken is (state not in (StateType.FAILED, StateType.CRASHED, StateType.CANCELLED))


def test_an_expired_or_lost_result_is_none(desk: Desk) -> None:
    desk.end(ONE, "1")
    assert desk.look(lost=ONE) == Found()
    assert desk.take(OTHER, desk.lease("other"), lost=ONE).yours
    assert desk.look(lost=ONE).taken

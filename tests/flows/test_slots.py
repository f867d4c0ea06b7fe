"""Limits around tasks and code in one process, on both databases: never too many, woken at once, nothing leaked."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event

from tests.flows.conftest import Book
from tests.flows.limits_seen import PATIENCE_S, Meter, met, now, status
from tocsin.flows import flow, task
from tocsin.flows.errors import Terminated
from tocsin.flows.limit_tables import ConcurrencySlot
from tocsin.flows.limits import key_of, places, set_limits
from tocsin.flows.slot_requests import Answer, Give, KnownLimits, LookForSlots, Take, Wanted, free_dead
from tocsin.flows.slot_rules import Ticket
from tocsin.store import leases


@pytest.mark.parametrize("limit", ["fetch", "tag:db"])
def test_tasks_of_a_name_or_a_tag_are_bounded(book: Book, limit: str) -> None:
    meter = Meter()

    @task(tags=["db"])
    def fetch(number: int) -> int:
        with meter.count():
            assert meter.gate.wait(PATIENCE_S)
        return number

    @flow
    def every() -> list[int]:
        return [future.result() for future in fetch.map(list(range(8)))]

    set_limits({limit: 2})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(every)
        meter.wait_for(2)
        met(lambda: status(book, *key_of(limit, "task")).waiting)
        meter.gate.set()
        assert running.result(PATIENCE_S) == list(range(8))
    assert meter.most == 2
    names = book.event_names()
    assert names["task-run.Running"] == names["task-run.Completed"] == 8
    waited = status(book, *key_of(limit, "task"))
    assert (waited.taken, waited.waiting) == (0, 0), "nothing is left behind"
    assert waited.waits == names["task-run.AwaitingSlot"] >= 1
    assert waited.waited_s > 0


def test_a_task_that_waits_says_so_and_goes_on(book: Book) -> None:
    meter = Meter()

    @task
    def fetch() -> None:
        with meter.count():
            assert meter.gate.wait(PATIENCE_S)

    @flow
    def two() -> None:
        for future in [fetch.submit(), fetch.submit()]:
            future.result()

    set_limits({"fetch": 1})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(two)
        met(lambda: sorted(book.task_states().values()) == ["AwaitingSlot", "Running"])
        with book.store.read() as session:
            holder, waiter = places(session, "task", "fetch", now())
        meter.gate.set()
        running.result(PATIENCE_S)
    assert (holder.holder, holder.taken is None) != (waiter.holder, waiter.taken is None)
    second = next(run for run in book.task_runs() if f"task run {run.name}" == waiter.holder)
    told = [event.event.removeprefix("tocsin.task-run.") for event in book.events() if second.name in str(event)]
    assert told == ["AwaitingSlot", "Running", "Completed"]
    assert (second.attempt, second.version) == (1, 3)


def test_a_task_that_fails_gives_its_slot_back_while_it_waits_for_its_retry(book: Book) -> None:
    tries: list[int] = []

    @task(retries=1, retry_delay_seconds=0.05)
    def fetch() -> int:
        assert status(book, "task", "fetch").taken == 1
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")
        return len(tries)

    @flow
    def once() -> int:
        return fetch()

    set_limits({"fetch": 1})
    assert once() == 2
    assert status(book, "task", "fetch").taken == 0
    (run,) = book.task_runs()
    assert (run.attempt, run.retries, run.state_name) == (2, 1, "Completed")


async def test_coroutines_are_bounded_too(book: Book) -> None:
    meter = Meter()

    @task
    async def fetch(number: int) -> int:
        with meter.count():
            await asyncio.sleep(0)
        return number

    @flow
    async def every() -> list[int]:
        return await asyncio.gather(*(fetch(number) for number in range(5)))

    set_limits({"fetch": 1})
    assert await every() == list(range(5))
    assert meter.most == 1


def test_a_task_without_a_limit_asks_for_limits_once_a_second_at_most(quick: Book) -> None:
    asked: list[str] = []
    event.listen(quick.store.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))

    @task
    def plain() -> None:
        return None

    @flow
    def many() -> None:
        for _ in range(20):
            plain()

    set_limits({"another": 1})
    many()
    began = now()
    looked = len([text for text in asked if "concurrency" in text])
    many()
    looked = len([text for text in asked if "concurrency" in text]) - looked
    assert looked <= 1 + (now() - began).total_seconds()


def test_a_waiting_task_is_cancelled_with_its_flow_run(book: Book) -> None:
    meter = Meter()

    @task
    def fetch() -> None:
        raise AssertionError("it must not begin")

    @flow
    def one() -> None:
        fetch()

    set_limits({"fetch": 1})
    other = _ticket(book, "task:fetch")
    assert _take(book, other)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(one)
        met(lambda: "AwaitingSlot" in book.task_states().values())
        (run,) = book.flow_runs()
        book.ledger.cancelling = frozenset({run.id})
        with pytest.raises(Terminated):
            running.result(PATIENCE_S)
    assert list(book.task_states().values()) == ["Cancelled"]
    assert meter.most == 0
    assert status(book, "task", "fetch").waiting == 0
    book.ledger.ask(Give(tickets=(other.ticket.id,), now=now()))


def test_slots_of_the_dead_are_free(book: Book) -> None:
    set_limits({"global:db": 2})
    dead, living = _ticket(book, "global:db", lease="process:dead"), _ticket(book, "global:db")
    _renew(book, "process:dead", 60)
    assert _take(book, dead)
    assert _take(book, living)
    third = _ticket(book, "global:db")
    assert not _take(book, third)
    _renew(book, "process:dead", -1)
    assert status(book, "global", "db").taken == 1
    assert _take(book, third)
    _renew(book, "process:dead", 60)
    assert status(book, "global", "db").taken == 2, "one that was dead and wakes up has lost its slots"


def test_the_watchdog_frees_the_slots_of_the_dead(book: Book) -> None:
    set_limits({"global:db": 2})
    _renew(book, "process:dead", 60)
    assert _take(book, _ticket(book, "global:db", lease="process:dead"))
    _renew(book, "process:dead", -1)
    with book.store.begin() as session:
        assert free_dead(session, now()) == 1
        assert free_dead(session, now()) == 0
    assert not book.rows(ConcurrencySlot)


def _renew(book: Book, lease: str, seconds: int) -> None:
    with book.store.begin() as session:
        leases.acquire(session, lease, "x", now(), timedelta(seconds=seconds))


def test_who_waits_and_falls_silent_loses_his_turn(book: Book) -> None:
    set_limits({"global:db": 1})
    holder, silent, later = (_ticket(book, "global:db") for _ in range(3))
    assert _take(book, holder)
    assert not _take(book, silent)
    assert book.ledger.ask(Give(tickets=(holder.ticket.id,), now=now())) == 1
    assert not _take(book, later), "it is kept for the one before"
    assert book.ledger.ask(LookForSlots(wanted=(later,), now=now() + timedelta(seconds=4)))[0].taken


def test_a_request_carried_out_twice_takes_once(book: Book) -> None:
    set_limits({"global:db": 2, "global:api": 2})
    wanted = _ticket(book, "global:db", "global:api", "global:none")
    first, second = ([answer] for answer in (_answer(book, wanted), _answer(book, wanted)))
    assert first == second == [Answer(wanted.ticket.id, taken=True, limits=("global:api", "global:db"))]
    assert [slot.slots for slot in book.rows(ConcurrencySlot)] == [1, 1]
    assert [book.ledger.ask(Give(tickets=(wanted.ticket.id,), now=now())) for _ in range(2)] == [2, 0]


def test_what_a_request_asks_and_answers_survives_json(quick: Book) -> None:
    import msgspec

    set_limits({"global:db": 2})
    wanted = _ticket(quick, "global:db")
    for request in (Take(wanted=(wanted,), now=now()), LookForSlots(wanted=(wanted,), now=now()), KnownLimits()):
        read = msgspec.json.decode(msgspec.json.encode(request), type=type(request))
        assert read == request
        answer = quick.ledger.ask(read)
        assert msgspec.json.decode(msgspec.json.encode(answer), type=request.answer) == answer


def _ticket(book: Book, *keys: str, lease: str | None = None) -> Wanted:
    identity: UUID = uuid4()
    return Wanted(Ticket(identity, dict.fromkeys(keys, 1), now()), lease or book.ledger.lease, None, {"name": "test"})


def _answer(book: Book, wanted: Wanted) -> Answer:
    answer: Answer = book.ledger.ask(Take(wanted=(wanted,), now=now()))[0]
    return answer


def _take(book: Book, wanted: Wanted) -> bool:
    return _answer(book, wanted).taken

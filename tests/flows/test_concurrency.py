"""Limits around blocks of code, and rates: on both databases, in one process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.flows.conftest import Book
from tests.flows.limits_seen import PATIENCE_S, met, now, status
from tocsin.events.errors import Invalid, NotFound
from tocsin.flows.concurrency import concurrency, rate_limit, rate_limit_async
from tocsin.flows.limits import LimitChange, put_limit, set_limits
from tocsin.flows.slots import forget


def test_a_block_holds_what_it_occupies(book: Book) -> None:
    set_limits({"global:db": 3})
    with concurrency("db", occupy=2):
        assert status(book, "global", "db").taken == 2
        with (
            pytest.raises(TimeoutError, match="limit global:db: 1 of 3 slots are free"),
            concurrency("db", occupy=2, timeout_seconds=0),
        ):
            pass
        with (
            pytest.raises(TimeoutError, match="no slot of global:db came free"),
            concurrency("db", occupy=2, timeout_seconds=0.05),
        ):
            pass
        with concurrency("db"):
            assert status(book, "global", "db").taken == 3
    assert (status(book, "global", "db").taken, status(book, "global", "db").waiting) == (0, 0)


async def test_an_async_block_holds_what_it_occupies(book: Book) -> None:
    set_limits({"global:db": 1})
    async with concurrency("db"):
        assert status(book, "global", "db").taken == 1
        with pytest.raises(TimeoutError):
            async with concurrency("db", timeout_seconds=0.02):
                pass
    assert status(book, "global", "db").taken == 0


def test_a_block_that_fails_gives_back(book: Book) -> None:
    set_limits({"global:db": 1})
    with pytest.raises(ValueError, match="broken"), concurrency("db"):
        raise ValueError("broken")
    assert status(book, "global", "db").taken == 0


def test_a_missing_limit_is_none_unless_strict(quick: Book) -> None:
    set_limits({"global:db": 1})
    with concurrency(["nothing"], occupy=7):
        rate_limit("nothing")
    with pytest.raises(NotFound, match="limit global:nothing: there is none of this name; known: global:db"):
        concurrency(["db", "nothing"], strict=True).__enter__()
    with pytest.raises(NotFound):
        rate_limit("nothing", strict=True)


def test_what_can_never_be_is_refused(quick: Book) -> None:
    set_limits({"global:db": 2})
    with pytest.raises(Invalid, match="limit global:db has 2 slots, 3 are wanted at once"):
        concurrency("db", occupy=3).__enter__()
    with pytest.raises(Invalid, match="limit task:load: slots are a whole number, not '3'"):
        set_limits({"load": "3"})  # type: ignore[dict-item]  # a text is what is wrong with it
    with pytest.raises(Invalid, match="has no decay"):
        rate_limit("db")
    with pytest.raises(Invalid, match="occupy is 1 or more"):
        concurrency("db", occupy=0)
    with pytest.raises(Invalid, match="'host' is no kind of limit"):
        set_limits({"host:db": 1})
    with pytest.raises(Invalid, match="to let nobody through, pause it"):
        set_limits({"db": 0})


async def test_a_rate_is_kept(book: Book) -> None:
    with book.store.begin() as session:
        put_limit(session, "global", "api", LimitChange(slots=2, decay=50.0), now())
    forget()
    began = now()
    for _ in range(4):
        rate_limit("api")
    await rate_limit_async("api", occupy=2)
    assert (now() - began).total_seconds() >= (6 - 2) / 50 - 0.001
    shown = status(book, "global", "api")
    assert (shown.taken, shown.waiting) == (None, 0)


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (LimitChange(slots=1), LimitChange(slots=2)),
        (LimitChange(slots=5, paused=True), LimitChange(paused=False)),
        (LimitChange(slots=1), None),
    ],
    ids=["raised", "resumed", "removed"],
)
def test_who_waits_hears_of_a_change(book: Book, before: LimitChange, change: LimitChange | None) -> None:
    with book.store.begin() as session:
        put_limit(session, "global", "db", LimitChange(slots=before.slots), now())
    forget()
    entered = threading.Event()

    def second() -> None:
        with concurrency("db"):
            entered.set()

    with ThreadPoolExecutor(1) as pool, concurrency("db"):
        if before.paused:
            with book.store.begin() as session:
                put_limit(session, "global", "db", before, now())
        waiting = pool.submit(second)
        met(lambda: status(book, "global", "db").waiting == 1)
        assert not entered.is_set()
        if change is None:
            set_limits({"global:db": None})
        else:
            with book.store.begin() as session:
                put_limit(session, "global", "db", change, now())
        waiting.result(PATIENCE_S)


def test_who_holds_slots_and_wants_more_goes_first(book: Book) -> None:
    """Or the two would wait for each other: the one in line for both, and the one that holds the other half."""
    set_limits({"global:a": 1, "global:b": 1})
    line: list[str] = []

    def both() -> None:
        with concurrency(["a", "b"]):
            line.append("both")

    with ThreadPoolExecutor(1) as pool, concurrency("a"):
        waiting = pool.submit(both)
        met(lambda: status(book, "global", "b").waiting == 1)
        with concurrency("b", timeout_seconds=PATIENCE_S):
            line.append("nested")
    waiting.result(PATIENCE_S)
    assert line == ["nested", "both"]

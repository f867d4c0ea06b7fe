"""Results that other runs use again."""

from datetime import timedelta
from typing import Any

import pytest

from tests.flows.conftest import Book
from tocsin.events.clock import ManualClock
from tocsin.events.errors import Invalid
from tocsin.flows import flow, task
from tocsin.flows.cache_policies import INPUTS, NO_CACHE
from tocsin.flows.tasks import task_input_hash

HASHED = {"cache_key_fn": task_input_hash}
POLICY = {"cache_policy": INPUTS}


@pytest.mark.parametrize("options", [HASHED, POLICY], ids=["task_input_hash", "INPUTS"])
def test_equal_inputs_are_computed_once_over_all_runs(book: Book, options: dict[str, Any]) -> None:
    seen: list[int] = []

    @task(**options)
    def square(number: int) -> tuple[int, int]:
        seen.append(number)
        return number, number**2

    @flow
    def squares() -> list[tuple[int, int]]:
        return [square(2), square(number=2), square(3)]

    assert squares() == squares() == [(2, 4), (2, 4), (3, 9)]
    assert seen == [2, 3]
    assert [run.state_name for run in book.task_runs()].count("Cached") == 4
    assert book.event_names()["task-run.Cached"] == 4


def test_a_cached_result_expires(book: Book) -> None:
    clock = ManualClock(book.ledger.clock.now())
    book.ledger.clock = clock
    seen: list[int] = []

    @task(cache_policy=INPUTS, cache_expiration=timedelta(hours=1))
    def square(number: int) -> int:
        seen.append(number)
        return number**2

    for minutes in (0, 59, 2):
        clock.advance(timedelta(minutes=minutes))
        assert square(2) == 4
    assert seen == [2, 2]


def test_a_key_function_may_choose_not_to_cache(quick: Book) -> None:
    seen: list[int] = []

    @task(
        cache_key_fn=lambda context, arguments: f"even {arguments['number']}" if arguments["number"] % 2 == 0 else None
    )
    def square(number: int) -> int:
        seen.append(number)
        return number**2

    assert [square(number) for number in (2, 2, 3, 3)] == [4, 4, 9, 9]
    assert seen == [2, 3, 3]


def test_nothing_is_cached_by_default_or_by_no_cache(quick: Book) -> None:
    seen: list[int] = []

    @task(cache_policy=NO_CACHE)
    def square(number: int) -> int:
        seen.append(number)
        return number**2

    square(2), square(2), square.with_options(cache_policy=None)(2)
    assert seen == [2, 2, 2]


def test_failures_are_not_cached(quick: Book) -> None:
    seen: list[int] = []

    @task(cache_policy=INPUTS)
    def flaky(number: int) -> int:
        seen.append(number)
        if len(seen) == 1:
            raise ValueError("no")
        return number

    with pytest.raises(ValueError, match="no"):
        flaky(1)
    assert flaky(1) == flaky(1) == 1
    assert seen == [1, 1]


def test_an_input_without_a_hash_is_an_error_not_a_miss(quick: Book) -> None:
    @task(cache_policy=INPUTS)
    def uses(connection: object) -> None: ...

    with pytest.raises(Invalid, match="argument 'connection'"):
        uses(lambda: None)
    with pytest.raises(Invalid, match="gave int; it gives text"):
        uses.with_options(cache_policy=None, cache_key_fn=lambda context, arguments: 1)(1)

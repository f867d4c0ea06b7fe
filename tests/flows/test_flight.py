"""Of all that want the result of one key, one computes it: in threads, in loops, in processes."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.flows.conftest import Book
from tocsin.flows import flow, results, task
from tocsin.flows.cache import CacheContext
from tocsin.flows.cache_policies import INPUTS
from tocsin.flows.cache_requests import FindCached, Found
from tocsin.flows.cache_tables import CacheFlight
from tocsin.flows.flight import PATIENCE, may_wait
from tocsin.flows.tables import CacheEntry

ROOT = Path(__file__).parents[2]


def both(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls give, made at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(60) for future in [pool.submit(call) for call in calls]]


def flights(book: Book) -> int:
    return len(book.rows(CacheFlight))


def test_of_many_at_once_one_computes(book: Book) -> None:
    seen: list[int] = []
    others = threading.Event()

    @task(cache_policy=INPUTS)
    def slow(number: int) -> tuple[int, int]:
        seen.append(number)
        assert others.wait(60)
        return number, len(seen)

    @flow
    def many() -> list[tuple[int, int]]:
        futures = [slow.submit(1) for _ in range(5)]
        until(lambda: names(book).count("Pending") == 4)
        others.set()
        return [future.result() for future in futures]

    assert many() == [(1, 1)] * 5
    assert sorted(names(book)) == ["Cached"] * 4 + ["Completed"]
    assert flights(book) == 0


def test_a_loop_is_free_while_its_task_waits(quick: Book) -> None:
    seen: list[int] = []

    @task(cache_policy=INPUTS)
    async def slow() -> int:
        seen.append(1)
        await asyncio.sleep(0)
        while names(quick).count("Pending") < 2:
            await asyncio.sleep(0.005)
        return len(seen)

    @flow
    async def many() -> list[int]:
        return list(await asyncio.gather(slow(), slow(), slow()))

    assert asyncio.run(many()) == [1, 1, 1]
    assert flights(quick) == 0


def test_a_task_that_is_no_coroutine_never_stops_the_loop_that_it_is_called_in(quick: Book) -> None:
    key: dict[str, Any] = {"cache_key_fn": lambda context, arguments: "the one key"}
    called = asyncio.Event()

    @task(**key)
    async def slow() -> str:
        await called.wait()
        return "slow"

    @task(**key)
    def plain() -> str:
        return "plain"

    @flow
    async def mixed() -> list[str]:
        first = asyncio.ensure_future(slow())
        while not flights(quick):
            await asyncio.sleep(0)
        second = plain()
        called.set()
        return [await first, second]

    assert asyncio.run(mixed()) == ["slow", "plain"]


def test_a_cancelled_coroutine_holds_up_nobody(quick: Book) -> None:
    begun = asyncio.Event()

    @task(cache_policy=INPUTS)
    async def slow(number: int) -> int:
        begun.set()
        await asyncio.sleep(3600 if number else 0)
        return number

    async def cancelled() -> None:
        for wait in (begun.wait(), asyncio.sleep(0), asyncio.sleep(0.001)):
            run = asyncio.ensure_future(slow(1))
            await wait
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        until(lambda: set(names(quick)) <= {"Crashed"})

    asyncio.run(cancelled())
    found: Found = quick.ledger.ask(FindCached(key=quick_key(slow, 1), now=quick.ledger.clock.now()))
    assert found == Found()


def quick_key(of: Any, number: int) -> str:
    context = CacheContext(of, of.key, uuid4(), None)
    return str(of.caching.key(context, {"number": number}))


def test_when_the_one_fails_another_takes_over(quick: Book) -> None:
    seen: list[int] = []
    others = threading.Event()

    @task(cache_policy=INPUTS)
    def flaky() -> int:
        seen.append(1)
        if len(seen) == 1:
            assert others.wait(60)
            raise ValueError("the first fails")
        return len(seen)

    @flow
    def many() -> list[Any]:
        futures = [flaky.submit() for _ in range(3)]
        until(lambda: names(quick).count("Pending") == 2)
        others.set()
        for future in futures:
            future.wait()
        return sorted(str(future.exception() or future.result()) for future in futures)

    assert many() == ["2", "2", "the first fails"]
    assert flights(quick) == 0


def test_a_task_that_wants_its_own_key_computes_it(quick: Book) -> None:
    @task(cache_key_fn=lambda context, arguments: "the one key")
    def down(number: int) -> int:
        return down(number - 1) + 1 if number else 0

    assert down(3) == 3
    assert flights(quick) == 0


def test_two_that_want_each_other_s_key_do_not_wait_for_ever(book: Book) -> None:
    meet = threading.Barrier(2)

    @task(cache_key_fn=lambda context, arguments: arguments["name"])
    def crossing(name: str, other: str | None) -> str:
        if other is None:
            return name
        meet.wait(60)
        return name + crossing(other, None)

    assert both(lambda: crossing("a", "b"), lambda: crossing("b", "a")) in (["ab", "ba"], ["aba", "ba"], ["ab", "bab"])
    assert flights(book) == 0


@pytest.mark.parametrize(
    ("key", "own", "waited_s", "waits"),
    [
        ("b", set(), 0, True),
        ("b", {"a"}, 0, True),
        ("b", {"b"}, 0, False),
        ("b", {"c"}, 0, False),
        ("b", {"a", "c"}, 0, False),
        ("b", set(), PATIENCE.total_seconds(), False),
    ],
    ids=["holds nothing", "holds one before", "its own", "holds one behind", "one of several", "out of patience"],
)
def test_whoever_holds_keys_waits_only_for_later_ones(key: str, own: set[str], waited_s: float, waits: bool) -> None:
    assert may_wait(key, frozenset(own), waited_s) is waits


def test_along_any_chain_of_waiters_the_keys_grow() -> None:
    """So there is no circle, whatever is held: each waits for a key behind all of his own."""
    keys = ["a", "b", "c", "d"]
    waits = {(own, wanted) for own in keys for wanted in keys if may_wait(wanted, frozenset([own]), 0)}
    reached = waits
    for _ in keys:
        reached = reached | {(a, d) for a, b in reached for c, d in waits if b == c}
    assert not {pair for pair in reached if pair[0] == pair[1]}


# --- processes ---


PROGRAM = """
import sys, time
from pathlib import Path
from tocsin.flows import task

folder = Path(sys.argv[1])

@task(cache_key_fn=lambda context, arguments: "shared")
def slow():
    (folder / f"ran-{sys.argv[2]}").touch()
    while not (folder / "go").exists():
        time.sleep(0.005)
    return ("from", sys.argv[2])

print(slow())
"""


def started(tmp_path: Path, name: str) -> "subprocess.Popen[str]":
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ran(tmp_path: Path) -> set[str]:
    return {file.name.removeprefix("ran-") for file in tmp_path.glob("ran-*")}


def test_another_process_waits_for_the_one_that_computes(book: Book, tmp_path: Path) -> None:
    waits = threading.Event()

    @task(cache_key_fn=lambda context, arguments: "shared")
    def slow() -> tuple[str, str]:
        assert waits.wait(60)
        return "from", "here"

    future = slow.submit()
    until(lambda: flights(book) == 1)
    process = started(tmp_path, "there")
    until(lambda: names(book).count("Pending") == 1 or process.poll() is not None or bool(ran(tmp_path)))
    waits.set()
    (tmp_path / "go").touch()
    out, error = process.communicate(timeout=60)
    assert out.strip() == str(future.result()) == "('from', 'here')", error
    assert (ran(tmp_path), flights(book)) == (set(), 0)


@pytest.mark.faults
def test_another_process_takes_over_from_one_that_was_killed(book: Book, tmp_path: Path) -> None:
    holder = started(tmp_path, "holder")
    until(lambda: ran(tmp_path) == {"holder"} or holder.poll() is not None)
    waiter = started(tmp_path, "waiter")
    until(lambda: names(book).count("Pending") == 1 or waiter.poll() is not None)
    holder.kill()
    holder.communicate()
    (tmp_path / "go").touch()
    out, error = waiter.communicate(timeout=60)
    assert out.strip() == "('from', 'waiter')", error
    assert ran(tmp_path) == {"holder", "waiter"}
    assert flights(book) == 0


WRITER = """
import sys
from tocsin.flows import task
from tocsin.flows.cache import CacheContext
from tocsin.flows.cache_policies import INPUTS

@task(cache_policy=INPUTS)
def big(number):
    return bytes([number]) * 3_000_000

print("ready", flush=True)
for number in range(200):
    big(number)
"""


@pytest.mark.faults
def test_a_process_that_is_killed_while_it_writes_leaves_no_half(quick: Book, tmp_path: Path, home: Path) -> None:
    script = tmp_path / "writer.py"
    script.write_text(WRITER)
    for least in (1, 3, 6):
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
        until(lambda: len(whole(home)) >= least)  # noqa: B023 - called at once
        process.kill()
        process.communicate()
        assert [file.name for file in whole(home) if sha256(file.read_bytes()).hexdigest() != file.name] == []
    for entry in quick.rows(CacheEntry):
        assert len(results.fetch(entry.result)) == 3_000_000


def whole(home: Path) -> list[Path]:
    return [file for file in (home / "results").glob("*") if not file.name.startswith(".")]


def names(book: Book) -> list[str]:
    return [run.state_name for run in book.task_runs()]


def until(condition: Callable[[], bool]) -> None:
    """Return when it is so; the test's time limit is the limit."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)

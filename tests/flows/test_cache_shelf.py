"""The cache from outside: how much it saves, what is in it, what goes."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session

from tests.flows.conftest import Book
from tocsin.events.clock import ManualClock
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import uuid7
from tocsin.flows import cache_shelf, flow, results, task
from tocsin.flows.cache_figures import Effect, effects, first_id, saved_executions
from tocsin.flows.cache_policies import INPUTS
from tocsin.flows.cache_sweep import orphans, sweep_files
from tocsin.flows.cache_tables import CacheFlight
from tocsin.flows.changes import FLOW_RUN, columns_of
from tocsin.flows.forget import delete_run
from tocsin.flows.storage import storage_at
from tocsin.flows.tables import CacheEntry, TaskRun
from tocsin.server.cli import main
from tocsin.server.tidying import ENTRIES, FIRST, Tidying
from tocsin.store.engine import insert_new

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


# --- how much it saves ---


def test_the_lesson_s_flow_saves_240_executions_a_day(book: Book) -> None:
    """10 tasks, 3 of them cached, 100 runs a day, a hit rate of 80 %."""
    names = ["Cached"] * 80 + ["Completed"] * 20
    with book.store.begin() as session:
        for number in range(10):
            cached = number < 3
            insert_new(session, TaskRun, [ended(f"t{number}", name if cached else "Completed") for name in names])
        found = effects(session, datetime.now(UTC) - HOUR)
        everything = effects(session, datetime.now(UTC) - HOUR, only_cached=False)
    assert [(effect.task_key, effect.ratio) for effect in found] == [("t0", 0.8), ("t1", 0.8), ("t2", 0.8)]
    assert sum(effect.skipped for effect in found) == saved_executions(3, 100, 0.8) == 240
    assert sum(effect.skipped for effect in everything) / sum(effect.total for effect in everything) == 0.24


def ended(task_key: str, state: str, kind: str = "COMPLETED") -> dict[str, Any]:
    now = datetime.now(UTC)
    values = {"id": uuid7(), "name": "n", "task_key": task_key, "task_name": task_key, "state_at": now, "created": now}
    return columns_of(TaskRun, **values, state_type=kind, state_name=state)


def test_only_runs_that_are_over_and_recent_count(quick: Book) -> None:
    with quick.store.begin() as session:
        rows = [ended("t", "Cached"), ended("t", "Failed", "FAILED"), ended("t", "Running", "RUNNING")]
        rows.append(ended("t", "Cached") | {"id": UUID(int=(int(datetime.now(UTC).timestamp()) - 7200) * 1000 << 80)})
        insert_new(session, TaskRun, rows)
        (found,) = effects(session, datetime.now(UTC) - HOUR)
        (longer,) = effects(session, datetime.now(UTC) - 3 * HOUR)
    assert (found, longer) == (Effect("t", "t", 2, 1), Effect("t", "t", 3, 2))


@given(st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001 - made aware below
def test_ids_begin_with_their_time(at: datetime) -> None:
    instant = at.replace(tzinfo=UTC)
    assert first_id(instant) <= first_id(instant + timedelta(milliseconds=1)) < first_id(instant + HOUR)


def test_a_new_id_is_behind_the_first_of_its_time() -> None:
    before = datetime.now(UTC)
    assert first_id(before) <= uuid7() < first_id(datetime.now(UTC) + HOUR)


# --- what is in it, what goes ---


@pytest.fixture
def shelf(book: Book) -> Book:
    """Four entries: two of each of two tasks, one of each expired."""
    with book.store.begin() as session:
        for number, name in enumerate(["a", "b"]):
            session.add(entry(f"{name}:fresh", name, NOW - number * HOUR, None))
            session.add(entry(f"{name}:old", name, NOW - 2 * HOUR, NOW - HOUR))
    return book


def entry(key: str, task_key: str, created: datetime, expires: datetime | None) -> CacheEntry:
    result = results.keep((key, "x"))
    return CacheEntry(key=key, task_key=task_key, result=result, task_run_id=uuid4(), created=created, expires=expires)


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ({"key": "a:fresh"}, {"a:old", "b:fresh", "b:old"}),
        ({"key": "b:o"}, {"a:fresh", "a:old", "b:fresh"}),
        ({"task": "a"}, {"b:fresh", "b:old"}),
        ({"expired": True}, {"a:fresh", "b:fresh"}),
        ({"task": "a", "expired": True}, {"a:fresh", "b:fresh", "b:old"}),
        ({"everything": True}, set()),
    ],
    ids=["key", "the beginning of a key", "task", "expired", "expired of a task", "all"],
)
def test_what_is_chosen_is_cleared(shelf: Book, chosen: dict[str, Any], left: set[str]) -> None:
    with shelf.store.begin() as session:
        assert cache_shelf.clear(session, NOW, **chosen) == 4 - len(left)
        assert {found.key for found in cache_shelf.list_entries(session, NOW)} == left


@pytest.mark.parametrize(
    ("chosen", "error", "why"),
    [
        ({}, Invalid, "Give a key, a task, expired, or all"),
        ({"key": "a:"}, Invalid, "several keys begin with 'a:'"),
        ({"key": "c"}, NotFound, "tocsin cache ls"),
        ({"key": "%"}, NotFound, "nothing is cached"),
    ],
)
def test_what_cannot_be_cleared_is_told(shelf: Book, chosen: dict[str, Any], error: type[Exception], why: str) -> None:
    with shelf.store.begin() as session, pytest.raises(error, match=why):
        cache_shelf.clear(session, NOW, **chosen)


@pytest.mark.parametrize(
    ("expired", "keys"),
    [
        (None, ["a:fresh", "b:fresh", "a:old", "b:old"]),
        (True, ["a:old", "b:old"]),
        (False, ["a:fresh", "b:fresh"]),
    ],
)
def test_entries_are_listed_newest_first(shelf: Book, expired: bool | None, keys: list[str]) -> None:
    with shelf.store.read() as session:
        found = [entry.key for entry in cache_shelf.list_entries(session, NOW, expired=expired)]
    assert sorted(found) == sorted(keys)
    assert [key for key in found if "fresh" in key] == [key for key in keys if "fresh" in key]


# --- files ---


@pytest.mark.parametrize(
    ("name", "age_s", "may_go"),
    [
        ("a" * 64, 3600, True),
        ("a" * 64, 3599, False),
        ("a" * 64, None, False),
        (f".{'a' * 64}.123.1f", 3600, True),
        ("orders-2024.json", 99999, False),
        ("a" * 63, 99999, False),
    ],
    ids=["old", "young", "of unknown age", "a draft that was left", "a name of the user's", "nearly a hash"],
)
def test_only_old_files_of_our_own_may_go(name: str, age_s: float | None, may_go: bool) -> None:
    assert (name in orphans({name: (1, age_s)}, HOUR)) is may_go


def test_a_file_goes_when_no_run_and_no_entry_refers_to_it(book: Book, home: Path) -> None:
    @task(cache_policy=INPUTS)
    def pair(number: int) -> tuple[int, int]:
        return number, number

    @flow
    def pairs() -> None:
        pair(1)

    pairs()
    pair(2)
    (home / "results" / "mine.json").write_text("{}")
    results.keep((7, 7))
    grow_old(home)
    sizes = {file.name: file.size for file in storage_at("").files()}
    assert len(sizes) == 4
    assert sweep_files(book.store).files == 1
    with book.store.begin() as session:
        assert cache_shelf.clear(session, NOW, everything=True) == 2
    assert sweep_files(book.store).files == 0, "the runs refer to them"
    forget_the_flow_run(book)
    assert sweep_files(book.store).files == 1
    assert sweep_files(book.store) == (0, 0)
    assert len(list(storage_at("").files())) == 2
    assert (home / "results" / "mine.json").exists()


def grow_old(home: Path) -> None:
    for file in (home / "results").iterdir():
        os.utime(file, (0, 0))


def forget_the_flow_run(book: Book) -> None:
    (run,) = book.flow_runs()

    def forget(session: Session) -> None:
        session.connection().execute(FLOW_RUN.update().values(lease=None))
        assert delete_run(session, run.id, now=NOW) is None

    book.ledger.transact(forget)


async def test_expired_entries_and_orphans_go_by_themselves(quick: Book, home: Path) -> None:
    clock = ManualClock(NOW)
    tidying = Tidying(quick.store, clock)
    with quick.store.begin() as session:
        session.add(entry("a", "t", NOW, NOW + timedelta(minutes=1)))
    grow_old(home)
    await tidying.look()
    assert len(quick.rows(CacheEntry)) == 1
    clock.advance(ENTRIES)
    await tidying.look()
    assert (quick.rows(CacheEntry), len(list(storage_at("").files()))) == ([], 1)
    clock.advance(FIRST)
    await tidying.look()
    assert list(storage_at("").files()) == []


# --- the command line ---


def told(capsys: pytest.CaptureFixture[str], *tokens: str) -> Any:
    with pytest.raises(SystemExit) as end:
        main([*tokens, "-o", "json"])
    captured = capsys.readouterr()
    assert end.value.code == 0, captured.err
    return json.loads(captured.out)


def test_the_command_line_lists_shows_counts_and_clears(
    quick: Book, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @task(cache_policy=INPUTS)
    def pair(number: int) -> tuple[int, int]:
        return number, number

    for _ in range(4):
        pair(1)
    (listed,) = told(capsys, "cache", "ls")
    assert (listed["task"], listed["serializer"], listed["storage"]) == (pair.key, "pickle", "results folder")
    assert told(capsys, "cache", "show", listed["key"][:-3]) == listed
    (effect,) = told(capsys, "cache", "stats", "--last", "1h")
    assert effect == {"task": pair.key, "name": "pair", "total": 4, "skipped": 3, "effectiveness": 75.0}
    assert told(capsys, "cache", "flights") == []
    assert told(capsys, "cache", "clear", "--expired")["entries"] == 0
    assert told(capsys, "cache", "clear", "--key", listed["key"])["entries"] == 1
    assert told(capsys, "cache", "ls") == []


def test_flights_are_shown(quick: Book, capsys: pytest.CaptureFixture[str]) -> None:
    with quick.store.begin() as session:
        session.add(CacheFlight(key="k", task_run_id=uuid4(), lease="l", since=NOW))
    (flight,) = told(capsys, "cache", "flights")
    assert flight["key"] == "k"

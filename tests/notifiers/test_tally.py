"""What is counted of telling people: added up, in the transaction in which it happens, by many at once."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import func, select

from tocsin.notifiers.tables import Attempt
from tocsin.notifiers.tally import add, totals
from tocsin.notifiers.tally_figures import BUCKETS, Figure, attempted, bucket, moved, summed, told
from tocsin.notifiers.tally_tables import TallyRow
from tocsin.store.engine import Store

ROOT = Path(__file__).parents[2]
LATER = Figure("attempts", "slack", "later")


@pytest.mark.parametrize(
    ("took_ms", "label"),
    [
        (0, "0.1"),
        (100, "0.1"),
        (101, "0.25"),
        (1_000, "1"),
        (59_999, "60"),
        (14_400_000, "14400"),
        (14_400_001, "+Inf"),
    ],
)
def test_a_span_belongs_to_the_narrowest_bucket_that_it_fits_in(took_ms: int, label: str) -> None:
    assert bucket(took_ms) == label
    assert label in BUCKETS


def test_a_clock_that_is_ahead_takes_nothing_off() -> None:
    assert told("slack", -500) == Figure("told", "slack", "0.1", 1, 0)
    assert attempted("slack", "later", -1)[1].total_ms == 0


@pytest.mark.parametrize(
    ("facts", "reason", "storming", "figures"),
    [
        (["opened"], None, 0, []),
        (["opened", "suppressed"], "silence", 0, [Figure("suppressed", "", "silence")]),
        (["resolved"], "silence", 0, []),
        (["escalated", "escalated", "flapping"], None, 0, [Figure("flapping", "", ""), Figure("escalated", "", "", 2)]),
        (["opened"], None, 3, [Figure("suppressed", "", "storm", 3)]),
    ],
    ids=["nothing", "silenced", "silenced already", "twice in a move", "a storm speaks for it"],
)
def test_what_is_counted_of_a_move(
    facts: list[str], reason: Literal["silence"] | None, storming: int, figures: list[Figure]
) -> None:
    assert moved(facts, reason, storming) == figures


KEYS = st.builds(
    Figure,
    st.sampled_from(["attempts", "waited"]),
    st.sampled_from(["slack", "pager"]),
    st.sampled_from(["a", "b"]),
    st.integers(1, 5),
    st.integers(0, 9),
)


@given(st.lists(KEYS))
def test_adding_up_loses_nothing_and_leaves_one_of_a_key(figures: list[Figure]) -> None:
    rows = summed(figures)
    assert len({row[:3] for row in rows}) == len(rows)
    assert rows == sorted(rows, key=lambda row: row[:3])
    assert sum(row.times for row in rows) == sum(one.times for one in figures)
    assert sum(row.total_ms for row in rows) == sum(one.total_ms for one in figures)


def test_what_is_rolled_back_was_not_counted(store: Store) -> None:
    with pytest.raises(RuntimeError, match="undone"):
        _undone(store)
    with store.read() as session:
        assert totals(session) == []


def _undone(store: Store) -> None:
    with store.begin() as session:
        add(session, [LATER])
        raise RuntimeError("undone")


def test_many_who_count_at_once_lose_nothing_and_need_few_shards(store: Store) -> None:
    def count() -> None:
        for _ in range(25):
            with store.begin() as session:
                add(session, [LATER, Figure("waited", "slack", "0.1", 1, 7)])
                add(session, [LATER])

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        assert totals(session) == [LATER._replace(times=200), Figure("waited", "slack", "0.1", 100, 700)]
        assert session.exec(select(func.count(func.distinct(TallyRow.shard)))).one() <= 8


@pytest.mark.postgres
def test_one_who_counts_waits_for_nobody_who_has_not_committed(postgres_store_url: str) -> None:
    store, other = Store.open(postgres_store_url), Store.open(postgres_store_url)
    with store.begin() as session:
        add(session, [LATER])
        thread = threading.Thread(target=lambda: _count(other))
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
        assert totals(session) == [LATER._replace(times=2)]
    with store.read() as session:
        shards = session.exec(select(TallyRow.shard).order_by("shard")).all()
    assert list(shards) == [0, 1]
    store.close()
    other.close()


def _count(store: Store) -> None:
    with store.begin() as session:
        add(session, [LATER])


PROGRAM = """
import sys
from datetime import UTC, datetime, timedelta
from tocsin.notifiers.endings import Tried, attempt_values
from tocsin.notifiers.outcomes import Later
from tocsin.notifiers.tables import Attempt
from tocsin.notifiers.tally import Counted, count_attempts
from tocsin.store.engine import Store

store = Store.open(sys.argv[1])
while True:
    with store.begin() as session:
        tried = Tried(Later(None, "busy"), datetime.now(UTC), timedelta(0), 1)
        session.add(Attempt(**attempt_values("slack", "trigger", tried, None)))
        session.flush()
        count_attempts(session, [Counted("slack", "later", 0)], {})
    print("one", flush=True)
"""


@pytest.mark.faults
def test_whoever_is_killed_has_counted_exactly_what_is_on_record(store_url: str) -> None:
    store = Store.open(store_url, create=True)
    for _ in range(5):
        command = [sys.executable, "-c", PROGRAM, store_url]
        with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True) as victim:
            assert victim.stdout is not None
            for _ in range(20):
                assert victim.stdout.readline() == "one\n"
            victim.kill()
            assert victim.wait(60) == -signal.SIGKILL
    with store.read() as session:
        attempts = session.exec(select(func.count()).select_from(Attempt)).one()
        counted = {figure.kind: figure.times for figure in totals(session)}
    store.close()
    assert attempts >= 100
    assert counted == {"attempts": attempts, "waited": attempts}

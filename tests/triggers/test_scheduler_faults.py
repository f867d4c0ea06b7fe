"""Schedulers that are killed in the middle, again and again: every due second once, under one id."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import col, select

from tests.triggers import scheduler_process
from tocsin.events.codec import decode
from tocsin.events.ids import tick_id
from tocsin.events.model import Event
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers import ticks
from tocsin.triggers.schedules import Interval
from tocsin.triggers.store import put_schedule

ROOT = Path(__file__).parents[2]
SECOND = timedelta(seconds=1)
SLUGS = [f"s{number}" for number in range(8)]
PROCESSES = 3
TROUBLE_S = 8.0

Process = subprocess.Popen[str]


@contextmanager
def processes(url: str) -> Iterator[list[Process]]:
    """Three schedulers on one database; none of them lives on afterwards."""
    running = [_start(url) for _ in range(PROCESSES)]
    try:
        yield running
    finally:
        for process in running:
            _end(process)


def _start(url: str) -> Process:
    return subprocess.Popen(
        [sys.executable, "-m", scheduler_process.__name__, url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def _end(process: Process) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def _up(process: Process) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"


def _logged(store: Store) -> list[Event]:
    with store.read() as session:
        return [decode(entry.body) for entry in session.exec(select(LogEntry).order_by(col(LogEntry.seq)))]


def _catch_up(store: Store, now: datetime) -> None:
    """What the next scheduler would do first; rows of a process just killed are free when the server notices."""
    while _is_due(store, now):
        with store.begin() as session:
            ticks.claim(session, now)


def _is_due(store: Store, now: datetime) -> bool:
    with store.read() as session:
        at = ticks.earliest(session)
    return at is not None and at <= now


@pytest.mark.faults
@pytest.mark.timeout(180)
def test_schedulers_killed_in_the_middle_lose_and_double_nothing(store_url: str) -> None:
    store = Store.open(store_url, create=True)
    dice = random.Random(20261122)
    kills = stops = 0
    with processes(store_url) as running:
        for process in running:
            _up(process)
        begin = datetime.now(UTC)
        with store.begin() as session:
            for slug in SLUGS:
                put_schedule(session, slug, Interval(SECOND), catchup="all", now=begin)
        end = time.monotonic() + TROUBLE_S
        while time.monotonic() < end:
            time.sleep(_until_shortly_around_a_second(dice))
            victim = dice.randrange(PROCESSES)
            if dice.random() < 0.25:
                _stop_and_go_on(running[victim], dice)
                stops += 1
                continue
            _end(running[victim])
            running[victim] = _start(store_url)
            kills += 1
    now = datetime.now(UTC)
    _catch_up(store, now)
    _check(_logged(store), begin, now)
    assert kills >= 5
    store.close()


def _until_shortly_around_a_second(dice: random.Random) -> float:
    """A pause that ends when ticks are being written: from 5 ms before a second to 30 ms after it."""
    ahead = 1 - datetime.now(UTC).microsecond / 1e6
    return max(0.0, ahead + dice.uniform(-0.005, 0.03))


def _stop_and_go_on(process: Process, dice: random.Random) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(dice.uniform(0.1, 0.4))
    process.send_signal(signal.SIGCONT)


def _check(events: list[Event], begin: datetime, now: datetime) -> None:
    due = list(Interval(SECOND).occurrences(begin, now))
    assert {event.event for event in events} == {"tocsin.schedule.tick"}
    told = Counter((event.resource_id, event.occurred) for event in events)
    expected = {(f"tocsin.schedule.{slug}", at) for slug in SLUGS for at in due}
    assert set(told) == expected, "every due second is present, and nothing else"
    assert set(told.values()) == {1}, "none is there twice"
    slug_of = {f"tocsin.schedule.{slug}": slug for slug in SLUGS}
    assert all(event.id == tick_id(slug_of[event.resource_id], event.occurred) for event in events)

"""Schedulers in trouble: processes that are killed and stopped, and what they must have sent all the same.

TOCSIN_TEST_TROUBLE_S lets the trouble last longer than the few seconds of a usual run; TOCSIN_TEST_SEED makes another.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlmodel import col, select

from tests.triggers import scheduler_process
from tocsin.events.codec import decode
from tocsin.events.ids import tick_id
from tocsin.events.model import Event
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers import ticks
from tocsin.triggers.due import GRACE, CatchUp, at_once, due
from tocsin.triggers.jitter import sending
from tocsin.triggers.schedules import Interval
from tocsin.triggers.store import put_schedule

ROOT = Path(__file__).parents[2]
SECOND = timedelta(seconds=1)
LATE = timedelta(minutes=10)
EVERY_SECOND, SPREAD = Interval(SECOND), Interval(SECOND, jitter=SECOND)
SCHEDULES = {
    "all": (EVERY_SECOND, CatchUp("all")),
    "all-spread": (SPREAD, CatchUp("all")),
    "all-window": (EVERY_SECOND, CatchUp("all", timedelta(minutes=5))),
    "latest": (EVERY_SECOND, CatchUp("latest")),
    "latest-spread": (SPREAD, CatchUp("latest")),
    "none": (EVERY_SECOND, CatchUp("none")),
    "few-none": (Interval(7 * SECOND), CatchUp("none")),
    "few-latest": (Interval(7 * SECOND), CatchUp("latest", timedelta(minutes=5))),
}
PROCESSES = 3
TROUBLE_S = float(os.environ.get("TOCSIN_TEST_TROUBLE_S", "8"))
SEED = int(os.environ.get("TOCSIN_TEST_SEED", "20261122"))

Process = subprocess.Popen[str]


class Trouble:
    """Three schedulers on one database, and what is done to them."""

    def __init__(self, url: str) -> None:
        self.url, self.dice = url, random.Random(SEED)
        self.running = [self._start() for _ in range(PROCESSES)]
        self.kills = self.stops = 0

    def wait(self) -> None:
        """Until all of them are up."""
        for process in self.running:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"

    def step(self) -> None:
        """Kill or stop one of them when ticks are being written; one that is killed is started again."""
        time.sleep(self._until_shortly_around_a_second())
        victim = self.dice.randrange(PROCESSES)
        if self.dice.random() < 0.25:
            self.running[victim].send_signal(signal.SIGSTOP)
            time.sleep(self.dice.uniform(0.1, 0.4))
            self.running[victim].send_signal(signal.SIGCONT)
            self.stops += 1
            return
        self._end(self.running[victim])
        self.running[victim] = self._start()
        self.kills += 1

    def end(self) -> None:
        """None of them lives on."""
        for process in self.running:
            self._end(process)

    def _start(self) -> Process:
        command = [sys.executable, "-m", scheduler_process.__name__, self.url]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def _end(self, process: Process) -> None:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()

    def _until_shortly_around_a_second(self) -> float:
        """A pause that ends when ticks are being written: from 5 ms before a second to 30 ms after it."""
        ahead = 1 - datetime.now(UTC).microsecond / 1e6
        return max(0.0, ahead + self.dice.uniform(-0.005, 0.03))


@contextmanager
def trouble(url: str) -> Iterator[Trouble]:
    """Schedulers in trouble; none of them lives on afterwards."""
    made = Trouble(url)
    try:
        made.wait()
        yield made
    finally:
        made.end()


def put(store: Store) -> datetime:
    """A schedule for each policy, all of them ten minutes behind."""
    begin = datetime.now(UTC) - LATE
    with store.begin() as session:
        for slug, (schedule, policy) in SCHEDULES.items():
            put_schedule(session, slug, schedule, catchup=policy, now=begin)
    return begin


def logged(store: Store) -> list[Event]:
    with store.read() as session:
        return [decode(entry.body) for entry in session.exec(select(LogEntry).order_by(col(LogEntry.seq)))]


def caught_up(store: Store) -> datetime:
    """When the next scheduler had done what it does first; rows of one just killed are free when that is noticed."""
    now = datetime.now(UTC)
    while True:
        with store.read() as session:
            at = ticks.earliest(session)
        if at is None or at > now:
            return now
        with store.begin() as session:
            claimed = ticks.claim(session, now)
        if not claimed:  # whoever holds the rows is given the time to be noticed dead
            time.sleep(0.05)


def check(events: Sequence[Event], begin: datetime, now: datetime) -> None:
    """Every due instant was sent once under its id, or skipped once, and as its policy says."""
    assert len({event.id for event in events}) == len(events), "none is there twice"
    for slug, (schedule, policy) in SCHEDULES.items():
        own = [event for event in events if event.resource_id == f"tocsin.schedule.{slug}"]
        send = sending(schedule, slug)
        expected = [at for at in schedule.occurrences(begin, now) if send(at) <= now]
        sent = [event for event in own if event.event == ticks.TICK]
        assert all(event.id == tick_id(slug, event.occurred) for event in sent), slug
        told = Counter(event.occurred for event in sent)
        told.update(at for event in own if event.event == ticks.SKIPPED for at in _skipped(event, expected))
        assert told == Counter(expected), f"{slug}: every due instant once, and nothing else"
        _check_policy(slug, policy, len(expected) - len(sent))


def _skipped(event: Event, expected: Sequence[datetime]) -> list[datetime]:
    first, last = (datetime.fromisoformat(event.payload[name]) for name in ("first", "last"))
    found = [at for at in expected if first <= at <= last]
    assert event.payload["count"] == len(found)
    return found


def _check_policy(slug: str, policy: CatchUp, skipped: int) -> None:
    schedule, _ = SCHEDULES[slug]
    now = datetime(2026, 3, 2, tzinfo=UTC)
    owed = sum(skip.count for skip in due(schedule, now - LATE, now, policy, None, at_once).skipped)
    if policy == CatchUp("all"):
        assert skipped == 0
    else:  # the first claim came a moment later than the ten minutes
        assert owed - 2 <= skipped <= owed + GRACE.total_seconds(), slug

"""The scheduler: on time, woken by what changes, and never stopped by a database that is away."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlmodel import Session, col, select

from tocsin.events.clock import ManualClock
from tocsin.events.codec import decode
from tocsin.events.model import Event
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers import ticks
from tocsin.triggers.alarm import Alarm
from tocsin.triggers.scheduler import WHILE_OTHERS_WORK, ClockPutBack, Scheduler
from tocsin.triggers.schedules import Cron, Interval, RRule, Timetable
from tocsin.triggers.store import put_schedule
from tocsin.triggers.tables import Schedule

HOUR = timedelta(hours=1)
LONG = timedelta(minutes=10)


@asynccontextmanager
async def serving(store: Store, sweep: timedelta = LONG) -> AsyncIterator[Scheduler]:
    """A scheduler at work, which has looked once; its sweep is too rare to help."""
    stop, scheduler = asyncio.Event(), Scheduler(store, sweep=sweep)
    task = asyncio.create_task(scheduler.serve(stop))
    try:
        await asyncio.sleep(0)
        yield scheduler
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await task


async def put(store: Store, slug: str, schedule: Timetable, now: datetime | None = None) -> datetime:
    now = now or datetime.now(UTC)
    await store.run(lambda session: put_schedule(session, slug, schedule, catchup="all", now=now))
    return now


async def events(store: Store, enough: Callable[[list[Event]], bool]) -> list[Event]:
    """What is in the log, as soon as it is enough."""
    with store.watch("log") as watch:
        async with asyncio.timeout(60):
            while not enough(found := await store.look(_logged)):
                await watch.wait(timedelta(seconds=1))
    return found


def _logged(session: Session) -> list[Event]:
    return [decode(entry.body) for entry in session.exec(select(LogEntry).order_by(col(LogEntry.seq)))]


async def test_every_kind_ticks_on_the_second_and_once(store: Store) -> None:
    now = await put(store, "i", Interval(timedelta(seconds=1)))
    await put(store, "c", Cron("* * * * * *", timezone="Europe/Berlin"), now)
    await put(store, "r", RRule("DTSTART:20260101T000000Z\nRRULE:FREQ=SECONDLY"), now)
    async with serving(store):
        await events(store, _each_ticked_on_time)
    found = await store.look(_logged)
    assert len({event.id for event in found}) == len(found)
    first = min(event.occurred for event in found)
    assert now < first <= now + timedelta(seconds=1)
    for slug in ("i", "c", "r"):
        ticks_of = [event.occurred for event in found if event.resource_id == f"tocsin.schedule.{slug}"]
        assert ticks_of == [first + timedelta(seconds=index) for index in range(len(ticks_of))]


def _each_ticked_on_time(found: list[Event]) -> bool:
    """All three have ticked twice, and one tick was hardly late: some moment the machine is free."""
    counts = Counter(event.resource_id for event in found).values()
    return (len(counts), min(counts, default=0)) >= (3, 2) and min(one.payload["lateness_s"] for one in found) < 0.2


async def test_a_new_schedule_is_heard_of_at_once_though_the_sweep_is_far(store: Store) -> None:
    async with serving(store):
        now = await put(store, "later", Cron("0 0 1 1 *"))
        await put(store, "soon", RRule("FREQ=YEARLY;COUNT=1", start=now + timedelta(seconds=1)), now)
        (event,) = await events(store, lambda found: len(found) == 1)
    assert event.resource_id == "tocsin.schedule.soon"


async def test_another_process_s_schedule_is_heard_of(store_url: str, store: Store) -> None:
    async with serving(store):
        other = Store.open(store_url)
        await put(other, "soon", Interval(timedelta(seconds=1)))
        assert await events(store, bool)
        other.close()


async def test_the_sweep_finds_what_no_one_told_of(store: Store) -> None:
    async with serving(store, sweep=timedelta(milliseconds=200)):
        await put(store, "h", Cron("0 * * * *"))
        await store.run(lambda session: _make_due(session, datetime.now(UTC) - 2 * HOUR))
        found = await events(store, bool)
    assert found[0].event == "tocsin.schedule.tick"


def _make_due(session: Session, at: datetime) -> None:
    row = session.get_one(Schedule, "h")
    row.cursor, row.next_at = at, at + timedelta(minutes=1)
    session.add(row)


async def test_a_turn_logs_what_is_due_and_says_how_long_to_wait(store: Store, clock: ManualClock) -> None:
    scheduler = Scheduler(store, clock)
    assert await scheduler.turn() is None
    await put(store, "h", Cron("0 * * * *"), clock.now())
    assert await scheduler.turn() == HOUR
    clock.advance(2 * HOUR + timedelta(minutes=15))
    assert await scheduler.turn() == timedelta(0)
    assert await scheduler.turn() == timedelta(minutes=45)
    assert len(await store.look(_logged)) == 2


@pytest.mark.postgres
async def test_what_others_are_at_is_looked_at_again_soon(postgres_store_url: str, clock: ManualClock) -> None:
    one, other = Store.open(postgres_store_url), Store.open(postgres_store_url)
    await put(one, "h", Cron("0 * * * *"), clock.now())
    now = clock.advance(HOUR)
    with other.begin() as session:
        assert len(ticks.claim(session, now)) == 1
        assert await Scheduler(one, clock).turn() == WHILE_OTHERS_WORK
    assert await Scheduler(one, clock).turn() == HOUR
    one.close()
    other.close()


class ClockAtADoor:
    """Says that it was asked, and answers when the test lets it."""

    def __init__(self, at: datetime) -> None:
        self._at, self.asked, self.let_go = at, threading.Event(), threading.Event()

    def now(self) -> datetime:
        """The time, once the door is open."""
        self.asked.set()
        assert self.let_go.wait(60)
        return self._at


@pytest.mark.postgres
async def test_what_is_made_ready_ahead_is_nowhere_before_its_time(postgres_store_url: str, clock: ManualClock) -> None:
    store, other = Store.open(postgres_store_url), Store.open(postgres_store_url)
    at = await put(store, "h", Cron("0 * * * *"), clock.now()) + HOUR
    door = ClockAtADoor(at + timedelta(milliseconds=20))
    scheduler = Scheduler(store, door)
    ahead = asyncio.create_task(scheduler.turn_ahead(at))
    assert await asyncio.to_thread(door.asked.wait, 60)
    assert await other.look(_logged) == []
    assert await Scheduler(other, clock).turn_ahead(at) is False, "somebody is at it"
    door.let_go.set()
    assert await ahead
    (event,) = await other.look(_logged)
    assert (event.occurred, event.payload["lateness_s"]) == (at, 0.02)
    assert await scheduler.turn() == HOUR - timedelta(milliseconds=20)
    store.close()
    other.close()


@pytest.mark.postgres
async def test_a_clock_put_back_undoes_what_was_made_ready(postgres_store_url: str, clock: ManualClock) -> None:
    store = Store.open(postgres_store_url)
    at = await put(store, "h", Cron("0 * * * *"), clock.now()) + HOUR
    scheduler = Scheduler(store, clock)
    with pytest.raises(ClockPutBack):
        await scheduler.turn_ahead(at)
    assert await store.look(_logged) == []
    assert await scheduler.turn() == HOUR
    store.close()


class StallingClock:
    """Answers the first time a moment before `at`, and later than anybody's patience; from then on `at` has come."""

    def __init__(self, at: datetime) -> None:
        self._at, self._asked = at, False

    def now(self) -> datetime:
        """The time, a tenth of a second after the question."""
        first, self._asked = not self._asked, True
        threading.Event().wait(0.1)
        return self._at - timedelta(milliseconds=1) if first else self._at


@pytest.mark.postgres
async def test_a_machine_that_stalls_has_put_back_no_clock(
    postgres_store_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(postgres_store_url)
    at = await put(store, "h", Cron("0 * * * *"), clock.now()) + HOUR
    scheduler = Scheduler(store, StallingClock(at))
    monkeypatch.setattr("tocsin.triggers.scheduler.AHEAD", timedelta(milliseconds=20))
    assert await scheduler.turn_ahead(at)
    assert len(await store.look(_logged)) == 1
    store.close()


async def test_new_rules_of_zones_are_reckoned_in_at_the_start(store: Store) -> None:
    await put(store, "h", Cron("0 * * * *"))
    await store.run(lambda session: _make_due(session, datetime.now(UTC) + 9 * HOUR))
    async with serving(store):
        await put(store, "i", Interval(timedelta(seconds=1)))
        await events(store, bool)
    row = await store.look(lambda session: session.get_one(Schedule, "h"))
    assert row.next_at is not None
    assert row.next_at > row.cursor


async def test_a_database_that_fails_is_asked_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    await put(store, "i", Interval(timedelta(seconds=1)))
    await store.run(_rename("schedule", "away"))
    with caplog.at_level(logging.WARNING, "tocsin"):
        async with serving(store, sweep=timedelta(milliseconds=50)):
            async with asyncio.timeout(60):
                while "the database failed, next try at the next sweep" not in caplog.text:
                    await asyncio.sleep(0)
            await store.run(_rename("away", "schedule"))
            assert await events(store, bool)


def _rename(old: str, new: str) -> Callable[[Session], object]:
    return lambda session: session.connection().execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


async def test_an_alarm_rings_after_its_span_and_many_rings_are_one() -> None:
    loop = asyncio.get_running_loop()
    with Alarm(LONG) as alarm:
        alarm.ring()
        alarm.ring()
        await alarm.wait()
        begin = loop.time()
        alarm.set(timedelta(seconds=60))
        alarm.set(timedelta(milliseconds=150))
        async with asyncio.timeout(30):  # before the minute that was asked for first
            await alarm.wait()
        assert loop.time() - begin > 0.14
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(alarm.wait(), 0.05)

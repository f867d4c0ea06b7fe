"""Backfill: what the dry run says is what is made, a second time makes nothing, and ids are those of the live ticks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import col, select

from tocsin.events.clock import ManualClock
from tocsin.events.codec import decode
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import tick_id
from tocsin.events.model import Event
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers import backfill as afterwards
from tocsin.triggers import ticks
from tocsin.triggers.due import Mode, Tick
from tocsin.triggers.schedules import Cron, Interval, Timetable
from tocsin.triggers.store import pause_schedule, put_schedule, resume_schedule

HOUR = timedelta(hours=1)
HOURLY = Cron("0 * * * *")
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def logged(store: Store, name: str = ticks.TICK) -> list[Event]:
    with store.read() as session:
        entries = session.exec(select(LogEntry).where(LogEntry.event == name).order_by(col(LogEntry.seq)))
        return [decode(entry.body) for entry in entries]


def put(store: Store, now: datetime, schedule: Timetable = HOURLY, catchup: Mode = "none") -> None:
    with store.begin() as session:
        put_schedule(session, "h", schedule, deployment="etl", parameters={"a": 1}, catchup=catchup, now=now)


def claim(store: Store, now: datetime) -> None:
    with store.begin() as session:
        while ticks.claim(session, now):
            pass


def dry(store: Store, begin: datetime, end: datetime, now: datetime, reverse: bool = False) -> list[Tick]:
    with store.read() as session:
        return afterwards.missing(session, "h", begin, end, reverse=reverse, now=now)


def make(store: Store, begin: datetime, end: datetime, now: datetime, reverse: bool = False) -> list[Tick]:
    with store.begin() as session:
        return afterwards.backfill(session, "h", begin, end, max_active=3, reverse=reverse, now=now)


def test_the_time_before_the_schedule_was_there_is_told_as_if_it_had_been(store: Store, clock: ManualClock) -> None:
    put(store, clock.now())
    now = clock.now()
    asked = dry(store, now - 3 * HOUR, now, now)
    assert logged(store) == []
    assert make(store, now - 3 * HOUR, now, now) == asked
    events = logged(store)
    assert [event.occurred for event in events] == [tick.at for tick in asked] == [now - n * HOUR for n in (3, 2, 1, 0)]
    assert [event.id for event in events] == [tick_id("h", tick.at) for tick in asked]
    assert events[0].payload == {
        "scheduled_time": "2026-03-02T06:00:00Z",
        "data_interval_start": "2026-03-02T05:00:00Z",
        "data_interval_end": "2026-03-02T06:00:00Z",
        "lateness_s": 0.0,
        "attempt": 1,
        "parameters": {"a": 1},
        "backfill": {"max_active": 3, "reverse": False},
    }
    assert events[0].related[0]["tocsin.resource.id"] == "tocsin.deployment.etl"
    assert make(store, now - 3 * HOUR, now, now) == dry(store, now - 3 * HOUR, now, now) == []
    assert len(logged(store)) == 4


def test_what_was_skipped_is_made_and_what_was_sent_is_not(store: Store, clock: ManualClock) -> None:
    put(store, clock.now())
    now = clock.advance(4 * HOUR)
    claim(store, now)
    assert [event.occurred for event in logged(store)] == [now]
    assert [tick.at for tick in make(store, START, now + 9 * HOUR, now)] == [START + n * HOUR for n in range(4)]
    claim(store, clock.advance(HOUR))
    assert len(logged(store)) == 6


def test_the_latest_comes_first_in_reverse(store: Store, clock: ManualClock) -> None:
    put(store, clock.now())
    made = make(store, START - 2 * HOUR, START, clock.now(), reverse=True)
    assert [tick.at for tick in made] == [START, START - HOUR, START - 2 * HOUR]
    assert [event.occurred for event in logged(store)] == [tick.at for tick in made]
    assert [tick.at - tick.previous for tick in made] == [HOUR] * 3


def test_a_pause_can_be_made_up_for_while_it_lasts(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), catchup="all")
    with store.begin() as session:
        pause_schedule(session, "h", clock.now())
    now = clock.advance(3 * HOUR + timedelta(minutes=30))
    assert len(make(store, START + HOUR, now, now)) == 3
    with store.begin() as session:
        resume_schedule(session, "h", now)
    claim(store, now)
    assert len(logged(store)) == 3


def test_what_the_scheduler_still_owes_is_left_to_it(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), catchup="all")
    now = clock.advance(3 * HOUR)
    assert make(store, START + HOUR, now, now) == []
    claim(store, now)
    assert [event.payload.get("backfill") for event in logged(store)] == [None] * 3


@pytest.mark.parametrize(
    ("slug", "begin", "end", "said"),
    [
        ("h", START, START - HOUR, "is before 2026-03-02 09:00Z"),
        ("h", START - timedelta(days=500), START, "more than 10,000 ticks"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    store: Store, clock: ManualClock, slug: str, begin: datetime, end: datetime, said: str
) -> None:
    put(store, clock.now())
    with pytest.raises(Invalid, match=said):
        make(store, begin, end, clock.now())
    with pytest.raises(NotFound, match="'other'"), store.begin() as session:
        afterwards.backfill(session, "other", begin, end, now=clock.now())
    with pytest.raises(Invalid, match="max_active: 0"), store.begin() as session:
        afterwards.backfill(session, "h", START - HOUR, START, max_active=0, now=clock.now())


SPANS = st.integers(-200, 200).map(lambda minutes: timedelta(minutes=minutes))


@given(
    st.lists(st.tuples(SPANS, SPANS, st.booleans()), min_size=1, max_size=4),
    st.sampled_from([HOURLY, Interval(timedelta(minutes=17))]),
)
@settings(max_examples=25, deadline=None)
def test_any_backfills_make_what_they_say_once(
    asked: list[tuple[timedelta, timedelta, bool]], schedule: Timetable
) -> None:
    store, now = Store.open(), START + 2 * HOUR
    put(store, START, schedule, "none")
    claim(store, now)
    sent = {event.occurred for event in logged(store)}
    for begin, end, reverse in asked:
        first, last = sorted((START + begin, START + end))
        said = dry(store, first, last, now, reverse)
        assert make(store, first, last, now, reverse) == said
        assert make(store, first, last, now) == []
        wanted = set(schedule.occurrences(first, min(last, now), inclusive=True))
        assert {tick.at for tick in said} == wanted - sent
        sent |= wanted
    told = logged(store)
    assert len(told) == len({event.id for event in told}) == len(sent)
    store.close()

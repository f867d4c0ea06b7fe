"""Jitter: only the moment of sending moves; ids, scheduled times and order stay, in every process the same."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import col, select

from tocsin.events.clock import ManualClock
from tocsin.events.codec import decode
from tocsin.events.errors import Invalid
from tocsin.events.ids import tick_id
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers import ticks
from tocsin.triggers.due import CatchUp, due
from tocsin.triggers.jitter import sending
from tocsin.triggers.preview import preview, upcoming
from tocsin.triggers.schedules import Cron, Interval, from_dict
from tocsin.triggers.store import get_schedule, pause_schedule, put_schedule
from tocsin.triggers.timetable import Timetable

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SPREAD = Cron("0 * * * *", jitter=10 * MINUTE)


def test_slugs_and_ticks_are_spread_over_the_whole_jitter() -> None:
    by_slug = [sending(SPREAD, f"s{number}")(START) - START for number in range(200)]
    by_tick = [sending(SPREAD, "s")(START + n * HOUR) - (START + n * HOUR) for n in range(200)]
    for offsets in (by_slug, by_tick):
        assert all(timedelta(0) <= one < 10 * MINUTE for one in offsets)
        assert min(offsets) < MINUTE < 9 * MINUTE < max(offsets)


def test_a_tick_is_sent_before_the_next_one_is_due() -> None:
    dense = Interval(MINUTE, jitter=10 * MINUTE)
    moments = [sending(dense, "s")(START + n * MINUTE) for n in range(100)]
    assert moments == sorted(moments)
    assert all(START + n * MINUTE <= at < START + (n + 1) * MINUTE for n, at in enumerate(moments))


def test_a_tick_comes_late_but_under_its_own_time_and_id(store: Store, clock: ManualClock) -> None:
    due_at = START + HOUR
    sent = sending(SPREAD, "h")(due_at)
    assert sent > due_at
    with store.begin() as session:
        assert put_schedule(session, "h", SPREAD, now=START).next_at == sent
        assert ticks.claim(session, sent - timedelta(microseconds=1)) == []
        assert ticks.earliest(session) == sent
        (event,) = ticks.claim(session, sent + timedelta(seconds=1))
        assert (event.id, event.occurred) == (tick_id("h", due_at), due_at)
        assert event.payload["scheduled_time"] == "2026-03-02T10:00:00Z"
        assert event.payload["lateness_s"] == 1.0
        assert event.payload["jitter_s"] == pytest.approx((sent - due_at).total_seconds())
        assert get_schedule(session, "h").next_at == sending(SPREAD, "h")(due_at + HOUR)


def test_a_tick_on_its_way_is_sent_before_its_schedule_is_paused(store: Store) -> None:
    with store.begin() as session:
        put_schedule(session, "h", SPREAD, now=START)
        pause_schedule(session, "h", START + HOUR)
        events = [decode(entry.body).event for entry in session.exec(select(LogEntry).order_by(col(LogEntry.seq)))]
    assert events == ["tocsin.schedule.tick", "tocsin.schedule.paused"]


def test_jitter_is_part_of_the_definition() -> None:
    assert SPREAD.to_dict() == {"cron": "0 * * * *", "timezone": "UTC", "jitter": 600.0}
    assert from_dict(SPREAD.to_dict()) == SPREAD
    for wrong in (-1, "soon", 86_401, True):
        with pytest.raises(Invalid, match="jitter"):
            from_dict({"cron": "0 * * * *", "jitter": wrong})


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(SPREAD, id="spread over ten minutes"),
        pytest.param(Interval(MINUTE, jitter=10 * MINUTE), id="spread over more than the next one"),
        pytest.param(Cron("30 2 * * *", timezone="Europe/Berlin", jitter=HOUR), id="on the wall clock"),
        pytest.param(Interval(HOUR), id="not spread"),
    ],
)
def test_a_preview_tells_to_the_microsecond_when_the_scheduler_sends(schedule: Timetable, store: Store) -> None:
    told, now = START, START
    live: list[tuple[datetime, datetime]] = []
    with store.begin() as session:
        row = put_schedule(session, "h", schedule, now=START)
        first = upcoming(schedule, "h", row.cursor, now, 9)
        while len(live) < 8:
            now = row.next_at or now
            assert ticks.claim(session, now - timedelta.resolution) == []
            assert upcoming(schedule, "h", row.cursor, now, 9 - len(live)) == first[len(live) :]
            live += [(event.occurred, now) for event in ticks.claim(session, now)]
            row = get_schedule(session, "h")
            assert row.cursor > told
            told = row.cursor
    assert live == [(one.instant, one.sent_at) for one in first[:8]]


def test_when_a_tick_of_a_definition_without_a_slug_is_sent_is_not_known() -> None:
    (spread,), (plain,) = preview(SPREAD, START, 1), preview(Interval(HOUR), START, 1)
    assert (spread.sent_at, plain.sent_at) == (None, START + HOUR)


@given(
    st.sampled_from([SPREAD, Cron("*/5 8 * * *", jitter=MINUTE), Interval(timedelta(seconds=47), jitter=HOUR)]),
    st.lists(st.timedeltas(timedelta(0), timedelta(hours=12)), min_size=1, max_size=4),
    st.builds(CatchUp, st.sampled_from(["all", "latest", "none"]), st.none() | st.just(timedelta(hours=5))),
)
@settings(max_examples=100, deadline=None)
def test_every_occurrence_is_sent_once_or_skipped_once(
    schedule: Cron | Interval, turns: list[timedelta], policy: CatchUp
) -> None:
    send = sending(schedule, "s")
    cursor, previous, now = START, None, START
    sent, skipped = [], 0
    for turn in turns:
        now += turn
        while True:
            found = due(schedule, cursor, now, policy, previous, send)
            assert all(send(tick.at) <= now for tick in found.ticks)
            sent += [tick.at for tick in found.ticks]
            skipped += sum(skip.count for skip in found.skipped)
            cursor, previous = found.cursor, found.previous
            if found.next_at is None or found.next_at > now:
                break
    expected = [at for at in schedule.occurrences(START, now) if send(at) <= now]
    assert sent == sorted(set(sent))
    assert len(sent) + skipped == len(expected)
    assert set(sent) <= set(expected)
    if policy == CatchUp("all"):
        assert sent == expected

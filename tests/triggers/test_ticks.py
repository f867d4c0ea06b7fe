"""Ticks in the log: one for each due time, under one id, whoever claims them; rows that are edited, paused, broken."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import col, select

from tocsin.events.clock import ManualClock
from tocsin.events.codec import decode
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import tick_id
from tocsin.events.model import Event
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry
from tocsin.triggers import ticks
from tocsin.triggers.due import CatchUp, Mode
from tocsin.triggers.schedules import Cron, Interval, RRule
from tocsin.triggers.store import (
    get_schedule,
    list_schedules,
    pause_schedule,
    put_schedule,
    remove_schedule,
    resume_schedule,
)
from tocsin.triggers.tables import Schedule

HOURLY = Cron("0 * * * *")
HOUR = timedelta(hours=1)


def logged(store: Store) -> list[Event]:
    with store.read() as session:
        return [decode(entry.body) for entry in session.exec(select(LogEntry).order_by(col(LogEntry.seq)))]


def claim(store: Store, now: datetime, limit: int = 500) -> list[Event]:
    with store.begin() as session:
        return ticks.claim(session, now, limit)


def put(
    store: Store, now: datetime, *slugs: str, schedule: Cron | Interval | RRule = HOURLY, catchup: Mode = "latest"
) -> None:
    with store.begin() as session:
        for slug in slugs:
            put_schedule(session, slug, schedule, catchup=catchup, now=now)


def test_a_tick_is_an_event_that_automations_match(store: Store, clock: ManualClock) -> None:
    with store.begin() as session:
        put_schedule(session, "nightly", HOURLY, deployment="daily-order-etl", parameters={"day": [1]}, now=clock.now())
    assert claim(store, clock.now()) == []
    now = clock.advance(HOUR + timedelta(seconds=3))
    claim(store, now)
    (event,) = logged(store)
    due = datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert (event.event, event.occurred, event.id) == ("tocsin.schedule.tick", due, tick_id("nightly", due))
    assert event.resource == {"tocsin.resource.id": "tocsin.schedule.nightly", "tocsin.resource.name": "nightly"}
    assert event.related == [
        {
            "tocsin.resource.id": "tocsin.deployment.daily-order-etl",
            "tocsin.resource.role": "deployment",
            "tocsin.resource.name": "daily-order-etl",
        }
    ]
    assert event.payload == {
        "scheduled_time": "2026-03-02T10:00:00Z",
        "data_interval_start": "2026-03-02T09:00:00Z",
        "data_interval_end": "2026-03-02T10:00:00Z",
        "lateness_s": 3.0,
        "attempt": 1,
        "parameters": {"day": [1]},
    }
    assert claim(store, now) == []
    with store.read() as session:
        row = get_schedule(session, "nightly")
        assert (row.cursor, row.previous_at, row.next_at) == (now, due, due + HOUR)


@pytest.mark.parametrize(("mode", "sent", "skipped"), [("all", 5, 0), ("latest", 1, 4), ("none", 1, 4)])
def test_late_ticks_follow_the_policy_and_skipped_ones_say_why(
    store: Store, clock: ManualClock, mode: Mode, sent: int, skipped: int
) -> None:
    put(store, clock.now(), "h", catchup=mode)
    claim(store, clock.advance(5 * HOUR))
    events = logged(store)
    names = [event.event for event in events]
    assert (names.count("tocsin.schedule.tick"), names.count("tocsin.schedule.skipped")) == (sent, skipped)
    assert [event.occurred for event in events] == sorted(event.occurred for event in events)
    assert all(event.payload["reason"] for event in events if event.event == "tocsin.schedule.skipped")


def test_the_window_of_a_policy_is_kept_in_the_row(store: Store, clock: ManualClock) -> None:
    with store.begin() as session:
        put_schedule(session, "h", HOURLY, catchup=CatchUp("all", timedelta(hours=2)), now=clock.now())
    claim(store, clock.advance(5 * HOUR))
    assert [event.event.rpartition(".")[2] for event in logged(store)] == ["skipped"] * 2 + ["tick"] * 3


def test_a_turn_takes_so_many_rows_and_so_many_ticks(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), "a", "b", "c")
    put(store, clock.now(), "x", "y", schedule=Interval(timedelta(seconds=1)), catchup="all")
    now = clock.advance(timedelta(seconds=1_200))
    turns = []
    while events := claim(store, now):
        turns.append(len(events))
    assert turns == [1_000, 1_000, 400]
    now = clock.advance(HOUR)
    assert len(claim(store, now, limit=1)) == 1_000


def test_two_schedulers_at_once_never_double_a_tick(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), *(f"s{number}" for number in range(40)), catchup="all")
    now = clock.advance(3 * HOUR)
    barrier = threading.Barrier(4)
    claimed: list[Event] = []

    def work() -> None:
        barrier.wait()
        while events := claim(store, now, limit=3):
            claimed.extend(events)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed.extend(claim(store, now))
    ids = [event.id for event in logged(store)]
    assert len(ids) == len(set(ids)) == len(claimed) == 120


def test_nothing_has_happened_before_the_commit(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), "h")
    now = clock.advance(HOUR)
    with pytest.raises(RuntimeError, match="after 1"), store.begin() as session:
        _die_after(ticks.claim(session, now))
    assert logged(store) == []
    assert len(claim(store, now)) == 1


@pytest.mark.postgres
def test_rows_that_another_process_is_at_are_left_to_it(postgres_store_url: str, clock: ManualClock) -> None:
    one, other = Store.open(postgres_store_url), Store.open(postgres_store_url)
    put(one, clock.now(), "a", "b")
    now = clock.advance(HOUR)
    with one.begin() as session:
        assert len(ticks.claim(session, now, limit=1)) == 1
        assert [event.resource_id for event in claim(other, now)] == ["tocsin.schedule.b"]
        assert claim(other, now) == []
    assert len(logged(other)) == 2
    one.close()
    other.close()


def test_the_same_definition_again_changes_nothing(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), "h", catchup="all")
    now = clock.advance(2 * HOUR)
    put(store, now, "h", catchup="all")
    with store.read() as session:
        row = get_schedule(session, "h")
        assert (row.version, row.cursor) == (1, now - 2 * HOUR)
    assert len(claim(store, now)) == 2


def test_putting_again_leaves_a_paused_schedule_paused(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), "h")
    with store.begin() as session:
        pause_schedule(session, "h", clock.now())
    put(store, clock.now(), "h")
    put(store, clock.now(), "h", schedule=Cron("30 * * * *"))
    assert claim(store, clock.advance(3 * HOUR)) == []
    with store.begin() as session:
        row = put_schedule(session, "h", Cron("30 * * * *"), active=True, now=clock.now())
        assert (row.active, row.cursor) == (True, clock.now())


def test_what_falls_into_a_pause_was_not_due(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), "h", catchup="all")
    now = clock.advance(HOUR)
    with store.begin() as session:
        assert pause_schedule(session, "h", now).active is False
    names = [event.event for event in logged(store)]
    assert names == [ticks.TICK, "tocsin.schedule.paused"], "what was due before the pause is sent"
    now = clock.advance(5 * HOUR)
    with store.begin() as session:
        assert resume_schedule(session, "h", now).next_at == now + HOUR
    assert claim(store, now) == []
    events = claim(store, clock.advance(HOUR))
    assert [event.payload["data_interval_start"] for event in events] == ["2026-03-02T15:00:00Z"]


def test_an_edit_settles_the_old_definition_and_begins_now(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), "h", catchup="all")
    now = clock.advance(2 * HOUR + timedelta(minutes=10))
    put(store, now, "h", schedule=Cron("*/15 * * * *"), catchup="all")
    assert [f"{event.occurred:%H:%M}" for event in logged(store)] == ["10:00", "11:00"]
    claim(store, clock.advance(timedelta(minutes=20)))
    assert [f"{event.occurred:%H:%M}" for event in logged(store)][2:] == ["11:15", "11:30"]
    with store.read() as session:
        assert get_schedule(session, "h").version == 2


def test_other_parameters_are_an_edit_that_moves_no_cursor(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), "h")
    with store.begin() as session:
        put_schedule(session, "h", HOURLY, parameters={"n": 2}, now=clock.advance(HOUR))
    (event,) = claim(store, clock.now())
    assert event.payload["parameters"] == {"n": 2}


def test_schedules_are_listed_and_removed(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), "b", "a")
    with store.begin() as session:
        put_schedule(session, "c", {"cron": "@daily"}, deployment="etl", active=False, now=clock.now())
    with store.read() as session:
        assert [row.slug for row in list_schedules(session)] == ["a", "b", "c"]
        assert [row.slug for row in list_schedules(session, deployment="etl")] == ["c"]
        assert [row.slug for row in list_schedules(session, active=True, after="a", limit=1)] == ["b"]
        assert ticks.earliest(session) == clock.now() + HOUR
    with store.begin() as session:
        remove_schedule(session, "a")
        with pytest.raises(NotFound, match="schedule 'a' is not known; `tocsin schedule ls`"):
            get_schedule(session, "a")


@pytest.mark.parametrize(
    ("slug", "spec", "said"),
    [
        ("h", {"cron": "0 * * * *", "timezone": "Europe/Belrin"}, "schedule 'h': timezone: there is no"),
        ("h", {"cron": "61 * * * *"}, "schedule 'h': cron '61 \\* \\* \\* \\*': minute: 61 is outside"),
        ("h", {"cron": "0 0 * * *", "end": "2020-01-01T00:00:00"}, "schedule 'h': would never fire: cron"),
        ("a b", {"cron": "0 0 * * *"}, "schedule 'a b': a slug is"),
        ("", {"cron": "0 0 * * *"}, "a slug is"),
    ],
)
def test_a_bad_schedule_is_refused_and_named(
    store: Store, clock: ManualClock, slug: str, spec: dict[str, object], said: str
) -> None:
    with pytest.raises(Invalid, match=said), store.begin() as session:
        put_schedule(session, slug, spec, now=clock.now())
    with store.read() as session:
        assert list_schedules(session) == []


@pytest.mark.parametrize("catchup", ["some", CatchUp("all", timedelta(0))])
def test_a_bad_policy_is_refused(store: Store, clock: ManualClock, catchup: Mode) -> None:
    with pytest.raises(Invalid, match="schedule 'h': catchup:"), store.begin() as session:
        put_schedule(session, "h", HOURLY, catchup=catchup, now=clock.now())


def test_parameters_that_are_no_json_are_refused(store: Store, clock: ManualClock) -> None:
    with pytest.raises(Invalid, match="schedule 'h': parameters"), store.begin() as session:
        put_schedule(session, "h", HOURLY, parameters={"x": object()}, now=clock.now())


def test_a_row_that_cannot_be_read_harms_only_itself(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), "bad", "good")
    with store.begin() as session:
        row = session.get_one(Schedule, "bad")
        row.spec = {"lunar": "full moon"}
        session.add(row)
    events = claim(store, clock.advance(HOUR))
    assert sorted((event.resource_id, event.event.rpartition(".")[2]) for event in events) == [
        ("tocsin.schedule.bad", "skipped"),
        ("tocsin.schedule.good", "tick"),
    ]
    with store.read() as session:
        assert get_schedule(session, "bad").active is False
    assert len(claim(store, clock.advance(HOUR))) == 1


def test_new_rules_of_a_zone_move_the_next_time_and_not_the_cursor(store: Store, clock: ManualClock) -> None:
    put(store, clock.now(), "a", "b", "c")
    with store.begin() as session:
        row = session.get_one(Schedule, "b")
        row.next_at = clock.now() + timedelta(days=9)
        session.add(row)
    ticks.forget_zones()
    assert _refresh(store, "") == "b"
    assert _refresh(store, "b") == "c"
    assert _refresh(store, "c") is None
    with store.read() as session:
        assert [row.next_at for row in list_schedules(session)] == [clock.now() + HOUR] * 3


def _die_after(events: list[Event]) -> None:
    raise RuntimeError(f"killed after {len(events)}")


def _refresh(store: Store, after: str) -> str | None:
    with store.begin() as session:
        return ticks.refresh(session, after, limit=2)

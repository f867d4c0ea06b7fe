"""Overlap: what becomes of a tick's run while an earlier run of the same schedule is not finished."""

from datetime import timedelta

import pytest
from sqlmodel import Session, col, select

from tests.automations.parts import START, decided, told
from tocsin.automations.perform import Performer
from tocsin.events.clock import ManualClock
from tocsin.events.model import Event
from tocsin.flows import claims
from tocsin.flows.changes import propose
from tocsin.flows.decide import Accept, Context
from tocsin.flows.deployments import Deployment
from tocsin.flows.runs import retry_run
from tocsin.flows.states import cancelled, completed, failed, running
from tocsin.flows.tables import FlowRun
from tocsin.store.engine import Store
from tocsin.triggers import ticks
from tocsin.triggers.backfill import backfill
from tocsin.triggers.due import CatchUp
from tocsin.triggers.schedules import Cron
from tocsin.triggers.store import Overlap, put_schedule

HOUR = timedelta(hours=1)


def deploy(store: Store, overlap: Overlap, *slugs: str) -> None:
    Deployment(name="etl", entrypoint="a:b", flow_name="etl").apply(store, now=START)
    with store.begin() as session:
        for slug in slugs or ("hourly",):
            put_schedule(
                session,
                slug,
                Cron("0 * * * *"),
                deployment="etl",
                overlap=overlap,
                parameters={"until": "{{ data_interval_end }}"},
                catchup=CatchUp("all"),
                now=START,
            )


async def ticked(store: Store, clock: ManualClock, hours: int = 1) -> None:
    """Let so many hours go by, and what they bring be done."""
    now = clock.advance(hours * HOUR)
    with store.begin() as session:
        ticks.claim(session, now)
    await settled(store, clock)


async def settled(store: Store, clock: ManualClock) -> None:
    await decided(store, clock)
    await Performer(store, clock).settle()


def runs(store: Store) -> list[FlowRun]:
    with store.read() as session:
        return list(session.exec(select(FlowRun).order_by(col(FlowRun.turn), col(FlowRun.id))))


def hours(store: Store) -> list[str]:
    return [run.parameters["until"][11:13] for run in runs(store)]


def states(store: Store) -> list[str]:
    return [run.state_name for run in runs(store)]


def taken(store: Store, clock: ManualClock, limit: int = 9) -> list[str]:
    """For which hours a worker gets runs now; they are RUNNING afterwards."""
    with store.begin() as session:
        found = claims.claim(session, "default", limit, lease="l", worker="w", now=clock.now())
        for run in found:
            _bring(session, run["id"], run["attempt"], clock, running(run["attempt"]))
    return [run["parameters"]["until"][11:13] for run in found]


def end(store: Store, clock: ManualClock, hour: str, *, well: bool = True) -> None:
    (run,) = (run for run in runs(store) if run.parameters["until"][11:13] == hour)
    state = completed() if well else failed(ValueError("no"))
    if run.state_name == "Cancelling":
        state = cancelled("asked to")
    with store.begin() as session:
        _bring(session, run.id, run.attempt, clock, state)


def _bring(session: Session, run: object, attempt: int, clock: ManualClock, state: object) -> None:
    verdict, _ = propose(session, run, state, Context(attempt=attempt), clock.now())  # type: ignore[arg-type]
    assert isinstance(verdict, Accept)


def skips(store: Store) -> list[Event]:
    return told(store, "tocsin.schedule.skipped")


async def test_allowed_runs_are_under_way_together(store: Store, clock: ManualClock) -> None:
    deploy(store, "allow")
    await ticked(store, clock, hours=3)
    assert taken(store, clock) == ["10", "11", "12"]
    assert skips(store) == []


async def test_a_run_that_would_overlap_is_skipped_and_told_with_the_reason(store: Store, clock: ManualClock) -> None:
    deploy(store, "skip")
    await ticked(store, clock)
    assert taken(store, clock) == ["10"]
    await ticked(store, clock)
    assert hours(store) == ["10"]
    (skip,) = skips(store)
    assert skip.payload["scheduled_time"] == "2026-03-02T11:00:00Z"
    assert skip.payload["reason"] == (
        f"an earlier run of its schedule, {runs(store)[0].name}, is still Running: overlap is skip"
    )
    (tick,) = (tick for tick in told(store, ticks.TICK) if tick.occurred == skip.occurred)
    assert skip.follows == tick.id
    assert skip.related == tick.related
    end(store, clock, "10")
    await ticked(store, clock)
    assert hours(store) == ["10", "12"]


async def test_a_queued_run_waits_until_those_before_it_have_ended(store: Store, clock: ManualClock) -> None:
    deploy(store, "queue")
    await ticked(store, clock, hours=3)
    assert taken(store, clock) == ["10"]
    assert taken(store, clock) == []
    with store.begin() as session:
        assert claims.due(session, "default", clock.now()) == (False, None)
    end(store, clock, "10", well=False)
    assert taken(store, clock) == ["11"]
    with store.begin() as session:
        retry_run(session, runs(store)[0].id, scheduled=clock.now(), key="again", now=clock.now())
    assert taken(store, clock) == [], "the one tried again waits for the one under way"
    end(store, clock, "11")
    assert taken(store, clock) == ["10"], "and goes before those that have not begun"
    end(store, clock, "10")
    assert taken(store, clock) == ["12"]


async def test_the_earlier_run_is_cancelled_and_the_next_waits_until_it_has_stopped(
    store: Store, clock: ManualClock
) -> None:
    deploy(store, "cancel_running")
    await ticked(store, clock)
    assert taken(store, clock) == ["10"]
    await ticked(store, clock)
    assert states(store) == ["Cancelling", "Scheduled"]
    assert taken(store, clock) == []
    await ticked(store, clock)
    assert states(store) == ["Cancelling", "Cancelled", "Scheduled"]
    end(store, clock, "10")
    assert taken(store, clock) == ["12"]
    assert skips(store) == []


async def test_schedules_of_one_deployment_do_not_hinder_each_other(store: Store, clock: ManualClock) -> None:
    deploy(store, "skip", "eu", "us")
    await ticked(store, clock)
    assert taken(store, clock) == ["10", "10"]
    assert skips(store) == []


@pytest.mark.parametrize(("reverse", "order"), [(False, ["06", "07", "08", "09"]), (True, ["09", "08", "07", "06"])])
async def test_a_backfill_runs_so_many_at_once_beside_the_schedule_s_own(
    store: Store, clock: ManualClock, reverse: bool, order: list[str]
) -> None:
    deploy(store, "skip")
    with store.begin() as session:
        backfill(session, "hourly", START - 3 * HOUR, START, max_active=2, reverse=reverse, now=START)
    await settled(store, clock)
    assert all(run.scheduled == START for run in runs(store)), "nobody is late"
    assert sorted(taken(store, clock)) == sorted(order[:2])
    await ticked(store, clock)
    assert taken(store, clock) == ["10"]
    end(store, clock, order[1])
    assert taken(store, clock) == [order[2]]
    assert skips(store) == []


@pytest.mark.postgres
async def test_two_workers_at_once_leave_a_series_in_order(postgres_store_url: str, clock: ManualClock) -> None:
    store, other = Store.open(postgres_store_url), Store.open(postgres_store_url)
    deploy(store, "queue")
    await ticked(store, clock, hours=2)
    with store.begin() as session:
        assert len(claims.claim(session, "default", 9, lease="l", worker="w", now=clock.now())) == 1
        assert taken(other, clock) == []
    store.close()
    other.close()

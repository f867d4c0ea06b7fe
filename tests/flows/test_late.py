"""Runs that nobody takes in time: told once, and taken all the same."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlmodel import Session

from tests.flows.test_deployed_runs import deploy, names, take
from tests.flows.test_interventions import told
from tocsin.flows.changes import propose
from tocsin.flows.claims import due
from tocsin.flows.decide import Context
from tocsin.flows.runs import cancel_run, create_run, get_run, resume_run, retry_run, suspend_run
from tocsin.flows.series import Series, create_run_of
from tocsin.flows.states import running
from tocsin.flows.tables import FlowRun
from tocsin.flows.watchdog import LATE_AFTER, LATE_BATCH, mark_late
from tocsin.store.engine import Store

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SOON = timedelta(milliseconds=1)
LATE = NOW + LATE_AFTER + SOON


def waiting(session: Session, at: datetime = NOW) -> UUID:
    deploy(session)
    return create_run(session, "greet", scheduled=at, now=NOW).id


def test_a_run_that_nobody_took_is_late_once_and_only_after_the_grace(store: Store) -> None:
    with store.begin() as session:
        run = waiting(session)
        assert mark_late(session, NOW + LATE_AFTER) == []
        assert mark_late(session, LATE) == [run]
        assert mark_late(session, LATE + LATE_AFTER) == []
        after = get_run(session, run)
        assert (after.state_type, after.state_name, after.scheduled) == ("SCHEDULED", "Late", NOW)
        assert names(session).count("tocsin.flow-run.Late") == 1
    [event] = told(store, "tocsin.flow-run.Late")
    assert event.payload["lateness_s"] == pytest.approx(15.001)
    assert event.payload["scheduled"] == NOW.isoformat()


def test_a_late_run_is_taken_as_any_other_and_says_how_late_it_began(store: Store) -> None:
    with store.begin() as session:
        run = waiting(session)
        mark_late(session, LATE)
        assert due(session, "default", LATE) == (True, NOW)
        (taken,) = take(session, now=LATE)
        assert taken["id"] == run
        propose(session, run, running(), Context(attempt=1), LATE)
    [event] = told(store, "tocsin.flow-run.Running")
    assert event.payload["lateness_s"] == pytest.approx(15.001)


def test_the_grace_is_a_setting(store: Store) -> None:
    with store.begin() as session:
        run = waiting(session)
        assert mark_late(session, NOW + SOON, timedelta()) == [run]


def test_only_runs_that_wait_for_their_first_start_are_late(store: Store) -> None:
    with store.begin() as session:
        early, taken, suspended, resumed = (waiting(session) for _ in range(4))
        waiting(session, NOW + timedelta(hours=1))
        for run in (suspended, resumed):
            suspend_run(session, run, now=NOW)
        resume_run(session, resumed, now=NOW)
        assert [run["id"] for run in take(session, 2)] == [early, taken]
        assert mark_late(session, LATE) == []


def test_a_late_run_keeps_its_turn_in_its_series(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        runs = [
            create_run_of(session, "greet", Series("s", turn, "queue"), parameters={}, scheduled=NOW, key=key, now=NOW)
            for turn, key in ((1, "a"), (2, "b"))
        ]
        mark_late(session, LATE)
        assert [run.id for run in runs if isinstance(run, FlowRun)][:1] == [run["id"] for run in take(session)]


def test_a_late_run_can_be_cancelled_and_suspended_and_is_not_retried(store: Store) -> None:
    with store.begin() as session:
        first, second = waiting(session), waiting(session)
        mark_late(session, LATE)
        suspend_run(session, first, now=LATE)
        assert "only a failed or crashed run" in str(retry_run(session, second, scheduled=LATE, key="k", now=LATE))
        cancel_run(session, second, now=LATE)
        assert [get_run(session, run).state_name for run in (first, second)] == ["Suspended", "Cancelled"]


def test_many_late_runs_are_told_in_portions(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        for _ in range(LATE_BATCH + 1):
            create_run(session, "greet", now=NOW)
        assert [len(mark_late(session, LATE)) for _ in range(3)] == [LATE_BATCH, 1, 0]

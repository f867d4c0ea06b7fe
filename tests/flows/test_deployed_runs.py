"""Deployments, and what is asked of their runs: once for each key, within a budget."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import Session, select

from tocsin.events import codec
from tocsin.events.chain import Cause
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import derive, state_event_id
from tocsin.events.model import Event
from tocsin.flows import ledger
from tocsin.flows.changes import propose
from tocsin.flows.claims import claim, due, ended
from tocsin.flows.decide import Accept, Context
from tocsin.flows.deployments import (
    Deployment,
    get_deployment,
    list_deployments,
    pause_deployment,
    put_deployment,
)
from tocsin.flows.entrypoint import load
from tocsin.flows.flows import flow
from tocsin.flows.runs import Refusal, cancel_run, create_run, get_run, list_runs, retry_run
from tocsin.flows.states import StateType, completed, failed, running
from tocsin.flows.tables import FlowRun, TaskRun
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.tables import LogEntry

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SPANS = ("lateness_s", "duration_s")
SAMPLES = Path(__file__).with_name("sample_flows.py")


def deploy(session: Session, name: str = "greet", **also: Any) -> None:
    put_deployment(session, Deployment(name=name, entrypoint=f"{SAMPLES}:greet", flow_name="greet", **also), NOW)


def take(session: Session, limit: int = 10, now: datetime = NOW, lease: str = "worker:1") -> list[dict[str, Any]]:
    return claim(session, "default", limit, lease=lease, worker="w", now=now)


def bring(session: Session, run: FlowRun, outcome: StateType, now: datetime = NOW) -> FlowRun:
    """Claim the run and end it."""
    (taken,) = take(session, now=now)
    assert taken["id"] == run.id
    at = Context(attempt=taken["attempt"])
    end = completed() if outcome is StateType.COMPLETED else failed(ValueError("no"))
    for state in (running(taken["attempt"]), end):
        verdict, _ = propose(session, run.id, state, at, now)
        assert isinstance(verdict, Accept)
    return get_run(session, run.id)


def names(session: Session) -> list[str]:
    return list(session.exec(select(LogEntry.event).order_by(LogEntry.seq)).all())  # type: ignore[arg-type]


def test_an_unchanged_deployment_is_left_alone_and_a_changed_one_stays_paused(store: Store) -> None:
    with store.begin() as session:
        deploy(session, schedules=[{"cron": "0 6 * * *"}, {"interval": timedelta(hours=1), "timezone": "UTC"}])
        pause_deployment(session, "greet", now=NOW)
        deploy(session, schedules=[{"cron": "0 6 * * *"}, {"interval": 3600, "timezone": "UTC"}])
        deploy(session, parameters={"name": "you"})
        row = get_deployment(session, "greet")
        assert (row.paused, row.version, row.parameters, row.schedules) == (True, 2, {"name": "you"}, [])
        assert names(session) == [
            "tocsin.work-pool.created",
            "tocsin.deployment.created",
            "tocsin.deployment.paused",
            "tocsin.deployment.updated",
        ]
        assert [found.name for found in list_deployments(session)] == ["greet"]


def test_schedules_get_slugs_and_keep_what_they_say() -> None:
    made = Deployment(
        name="d", entrypoint="m:f", schedules=[{"rrule": "FREQ=DAILY", "parameters": {"a": 1}}, {"cron": "* * * * *"}]
    )
    assert made.schedules == [
        {"active": True, "rrule": "FREQ=DAILY", "parameters": {"a": 1}, "slug": "d"},
        {"active": True, "cron": "* * * * *", "slug": "d-2"},
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedules": [{"cron": "x", "interval": 1}]}, "one of cron, interval, rrule"),
        ({"schedules": [{"timezone": "UTC"}]}, "one of cron, interval, rrule"),
        ({"parameters": {"a": (1, 2)}}, "must be JSON"),
        (
            {"parameters": {"until": ["{{ data_interval_end"]}},
            "'d': parameters: template .*, line 1",
        ),
        (
            {"schedules": [{"cron": "@daily", "parameters": {"until": "{% if %}"}}]},
            "'d', schedule 'd': parameters: template",
        ),
        ({"paramters": {}}, "paramters"),
        ({"name": ""}, "name"),
    ],
    ids=["two kinds", "no kind", "parameters", "a template", "a template of a schedule", "unknown field", "no name"],
)
def test_a_bad_deployment_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        Deployment(**({"name": "d", "entrypoint": "m:f"} | given))


def test_apply_finds_the_flow_behind_an_entrypoint(store: Store) -> None:
    row = Deployment(name="d", entrypoint="sample_flows.py:greet", path=str(SAMPLES.parent)).apply(store)
    assert (row.flow_name, row.description) == ("greet", "The simplest of flows.")


@pytest.mark.parametrize(
    ("entrypoint", "message"),
    [
        ("sample_flows.py:nothing", "is no flow; flows there: greet"),
        ("sample_flows.py:not_a_flow", "is no flow"),
        ("nowhere.py:greet", "is not there"),
        ("no_such_module:greet", "module no_such_module was not found"),
        ("greet", "write module:flow or path.py:flow"),
    ],
)
def test_an_entrypoint_that_leads_nowhere_is_refused(store: Store, entrypoint: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        Deployment(name="d", entrypoint=entrypoint, path=str(SAMPLES.parent)).apply(store)


def test_a_flow_of_a_package_is_deployed_by_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "shipping"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nightly.py").write_text("from tocsin.flows import flow\n@flow\ndef ship(): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from shipping.nightly import ship  # type: ignore[import-not-found]  # written a moment ago

    made = Deployment.build_from_flow(ship, "d", schedule={"cron": "0 6 * * *", "timezone": "UTC"})
    assert (made.entrypoint, made.path, made.flow_name) == ("shipping.nightly:ship", str(tmp_path), "ship")
    assert load(made.entrypoint, made.path) is ship
    for name in ("shipping", "shipping.nightly"):
        del sys.modules[name]


def test_a_flow_that_no_import_reaches_is_not_deployed() -> None:
    @flow
    def local() -> None: ...

    with pytest.raises(Invalid, match="no worker could load it"):
        Deployment.build_from_flow(local, "d")


def test_a_run_is_asked_for_once_for_each_key(store: Store) -> None:
    cause = uuid4()
    creator = {"tocsin.resource.id": "tocsin.automation.a"}
    with store.begin() as session:
        deploy(session, parameters={"name": "you", "count": 2})
        run = create_run(
            session,
            "greet",
            parameters={"count": 3},
            key="k",
            cause=Cause(cause, 2, ("b", "a")),
            creator=creator,
            now=NOW,
        )
        again = create_run(session, "greet", key="k", now=NOW + SECOND)
        other = create_run(session, "greet", key="l", now=NOW)
        assert again.id == run.id != other.id
        assert run.parameters == {"name": "you", "count": 3}
        assert (run.state_name, run.scheduled, run.work_pool) == ("Scheduled", NOW, "default")
    with store.read() as session:
        entry = session.exec(select(LogEntry).where(LogEntry.id == state_event_id(run.id, 1))).one()
    event = codec.decode(entry.body)
    assert (event.follows, event.depth, event.chain) == (cause, 2, ("b", "a"))
    assert list(event.related_as("creator")) == [{"tocsin.resource.role": "creator"} | creator]


def at_once(store: Store, work: Callable[[Session], Any], threads: int = 4) -> list[Any]:
    """What `work` gives in as many transactions at the same time."""
    start = threading.Barrier(threads)

    def one(_: int) -> Any:
        start.wait(30)
        with store.begin() as session:
            return work(session)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


def test_of_many_that_ask_under_one_key_at_once_all_get_the_same_run(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
    runs = at_once(store, lambda session: create_run(session, "greet", key="k", now=NOW).id)
    assert len(set(runs)) == 1
    with store.read() as session:
        assert len(list_runs(session)) == names(session).count("tocsin.flow-run.Scheduled") == 1


def test_of_many_reports_at_once_one_counts(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        run = create_run(session, "greet", now=NOW).id
        take(session)
        propose(session, run, running(), Context(attempt=1), NOW)
    verdicts = at_once(store, lambda s: propose(s, run, completed(), Context(attempt=1), NOW)[0])
    assert sum(isinstance(verdict, Accept) for verdict in verdicts) == 1
    with store.read() as session:
        assert get_run(session, run).version == 4
        assert names(session).count("tocsin.flow-run.Completed") == 1


def test_of_many_that_ask_for_one_retry_at_once_one_is_heard(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        run = bring(session, create_run(session, "greet", now=NOW), StateType.FAILED).id
    at_once(store, lambda s: retry_run(s, run, scheduled=NOW, key="e", now=NOW))
    with store.read() as session:
        assert get_run(session, run).reruns == 1
        assert names(session).count("tocsin.flow-run.AwaitingRetry") == 1


def test_templates_in_parameters_are_filled_in_from_the_tick(store: Store) -> None:
    tick = Event(
        event="tocsin.schedule.tick",
        resource={"tocsin.resource.id": "tocsin.schedule.s"},
        payload={"scheduled_time": "2026-03-02T06:00:00+00:00", "data_interval_end": "2026-03-02T06:00:00+00:00"},
    )
    with store.begin() as session:
        deploy(
            session, parameters={"day": "{{ data_interval_end }}", "of": "{{ event.resource['tocsin.resource.id'] }}"}
        )
        append(session, [tick])
        by_tick = create_run(session, "greet", cause=Cause(tick.id), now=NOW)
        by_hand = create_run(session, "greet", scheduled=NOW + SECOND, parameters={"of": "{{ raw }}"}, now=NOW)
    assert by_tick.parameters == {"day": "2026-03-02T06:00:00+00:00", "of": "tocsin.schedule.s"}
    assert by_hand.parameters == {"day": (NOW + SECOND).isoformat(), "of": "{{ raw }}"}


def test_an_unknown_deployment_is_named_with_those_that_there_are(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        with pytest.raises(NotFound, match="known: greet"):
            create_run(session, "great", now=NOW)
        with pytest.raises(Invalid, match="must be JSON"):
            create_run(session, "greet", parameters={"a": object()}, now=NOW)


def test_a_retry_is_asked_for_once_for_each_key_and_within_the_budget(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        run = bring(session, create_run(session, "greet", now=NOW), StateType.FAILED)
        first = retry_run(session, run.id, scheduled=NOW + SECOND, budget=2, key="e1", now=NOW)
        assert isinstance(first, FlowRun)
        assert (first.state_name, first.scheduled, first.reruns) == ("AwaitingRetry", NOW + SECOND, 1)
        again = retry_run(session, run.id, scheduled=NOW + 9 * SECOND, budget=2, key="e1", now=NOW)
        assert isinstance(again, FlowRun)
        assert (again.version, again.scheduled) == (first.version, first.scheduled)

        bring(session, run, StateType.FAILED, NOW + SECOND)
        late = retry_run(session, run.id, scheduled=NOW, budget=2, key="e1", now=NOW + SECOND)
        assert isinstance(late, FlowRun)
        assert late.state_name == "Failed", "the same event asks only once, however late it comes again"
        assert isinstance(retry_run(session, run.id, scheduled=NOW, budget=2, key="e2", now=NOW), FlowRun)
        bring(session, run, StateType.FAILED, NOW + SECOND)
        refused = retry_run(session, run.id, scheduled=NOW, budget=2, key="e3", now=NOW)
        assert refused == Refusal("the budget of 2 retries is used up")
        assert get_run(session, run.id).attempt == 3


def test_a_waiting_retry_is_brought_forward_but_never_put_off(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        run = bring(session, create_run(session, "greet", now=NOW), StateType.FAILED)
        retry_run(session, run.id, scheduled=NOW + 60 * SECOND, key="e1", now=NOW)
        later = retry_run(session, run.id, scheduled=NOW + 90 * SECOND, key="e2", now=NOW)
        assert later == Refusal("it is tried again sooner already")
        sooner = retry_run(session, run.id, scheduled=NOW + SECOND, budget=1, key="e3", now=NOW)
        assert isinstance(sooner, FlowRun)
        assert (sooner.scheduled, sooner.reruns) == (NOW + SECOND, 1)


def test_only_what_failed_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.begin() as session:
        deploy(session)
        run = create_run(session, "greet", now=NOW)
        assert isinstance(retry_run(session, run.id, scheduled=NOW, key="a", now=NOW), Refusal)
        bring(session, run, StateType.COMPLETED)
        assert isinstance(retry_run(session, run.id, scheduled=NOW, key="b", now=NOW), Refusal)
        with pytest.raises(NotFound):
            retry_run(session, derive("no", "run"), scheduled=NOW, key="c", now=NOW)


def test_a_run_is_cancelled_at_once_or_asked_to_stop(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        waiting, busy = create_run(session, "greet", now=NOW + SECOND), create_run(session, "greet", now=NOW)
        take(session)
        states = [cancel_run(session, run.id, reason="by hand", now=NOW) for run in (waiting, busy, busy)]
        assert [run.state_name for run in states if isinstance(run, FlowRun)] == [
            "Cancelled",
            "Cancelling",
            "Cancelling",
        ]
        ended(session, busy.id, 1, -15, NOW)
        after = get_run(session, busy.id)
        assert (after.state_name, after.state_message) == ("Cancelled", "by hand")
        done = bring(session, create_run(session, "greet", now=NOW), StateType.COMPLETED)
        assert isinstance(cancel_run(session, done.id, now=NOW), Refusal)


def test_runs_are_claimed_in_the_order_in_which_they_are_due(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        late, early, future = (
            create_run(session, "greet", scheduled=NOW + offset * SECOND, now=NOW) for offset in (-1, -2, 5)
        )
        assert due(session, "default", NOW) == (True, NOW - 2 * SECOND)
        assert [run["id"] for run in take(session, limit=1)] == [early.id]
        assert [run["id"] for run in take(session)] == [late.id]
        assert take(session) == []
        assert due(session, "default", NOW) == (False, future.scheduled)
        taken = get_run(session, late.id)
        assert (taken.state_name, taken.attempt, taken.lease, taken.worker) == ("Pending", 1, "worker:1", "w")


def test_events_tell_how_late_a_run_began_and_how_long_it_took(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        run = create_run(session, "greet", scheduled=NOW, now=NOW).id
        take(session, now=NOW + SECOND)
        propose(session, run, running(1), Context(), NOW + 3 * SECOND)
        propose(session, run, failed(ValueError("no")), Context(), NOW + 8 * SECOND)
        retry_run(session, run, scheduled=NOW, key="again", now=NOW + 9 * SECOND)
        take(session, now=NOW + 10 * SECOND)
        propose(session, run, running(2), Context(), NOW + 12 * SECOND)
        propose(session, run, completed(), Context(), NOW + 20 * SECOND)
    with store.read() as session:
        events = map(codec.decode, session.exec(select(LogEntry.body)))
        told = {event.event: {span: event.payload.get(span) for span in SPANS} for event in events}
    assert told["tocsin.flow-run.Running"] == {"lateness_s": 3, "duration_s": None}
    assert told["tocsin.flow-run.Failed"] == {"lateness_s": None, "duration_s": 5}
    assert told["tocsin.flow-run.Retrying"] == {"lateness_s": None, "duration_s": None}
    assert told["tocsin.flow-run.Completed"] == {"lateness_s": None, "duration_s": 17}


def test_runs_are_found_by_what_they_are(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        deploy(session, "other")
        bring(session, create_run(session, "greet", now=NOW), StateType.FAILED)
        create_run(session, "greet", now=NOW + SECOND)
        create_run(session, "other", now=NOW + 2 * SECOND)

        def found(**filters: Any) -> list[tuple[str | None, str]]:
            return [(run.deployment, run.state_name) for run in list_runs(session, **filters)]

        assert found() == [("other", "Scheduled"), ("greet", "Scheduled"), ("greet", "Failed")]
        assert found(deployment="greet", state_types=[StateType.SCHEDULED]) == [("greet", "Scheduled")]
        assert found(state_names=["Failed"], flow_name="greet") == [("greet", "Failed")]
        assert found(before=NOW + SECOND, limit=1) == [("greet", "Failed")]


def test_a_claimed_run_resumes_behind_what_was_done(
    store: Store, store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = tmp_path / "marks"
    monkeypatch.setenv("MARKS", str(marks))
    monkeypatch.setenv("TOCSIN_DATABASE_URL", store_url)
    sample = load(f"{SAMPLES}:fails_once")
    with store.begin() as session:
        deploy(session)
        run = create_run(session, "greet", now=NOW)
        (taken,) = take(session)
    with pytest.raises(ValueError, match="not yet"):
        sample.resume(taken | {"parameters": {}})
    with store.begin() as session:
        retry_run(session, run.id, scheduled=NOW, key="e", now=NOW)
        (taken,) = take(session)
    assert sample.resume(taken | {"parameters": {}}) == ["A", "B", "C"]
    assert marks.read_text().split() == ["a", "b", "gate", "gate", "c"]
    ledger.close()
    with store.read() as session:
        assert len(session.exec(select(TaskRun)).all()) == 3
        assert get_run(session, run.id).result == {"kind": "json", "text": '["A", "B", "C"]'}

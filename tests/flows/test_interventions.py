"""What others do to a run that is there, and to the pool and queue it waits in."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import Session, col, select

from tests.flows.test_deployed_runs import NOW, SECOND, bring, deploy, take
from tocsin.events import codec
from tocsin.events.chain import Cause
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import derive, uuid7
from tocsin.events.model import Event
from tocsin.flows.changes import being_stopped, propose
from tocsin.flows.claims import due, ended
from tocsin.flows.decide import Accept, Context
from tocsin.flows.deployments import pause_deployment
from tocsin.flows.forget import delete_run
from tocsin.flows.pools import create_pool, list_pools, pause_pool
from tocsin.flows.queues import create_queue, list_queues, pause_queue
from tocsin.flows.runs import Refusal, cancel_run, change_run, create_run, get_run, resume_run, suspend_run
from tocsin.flows.states import State, StateType, running
from tocsin.flows.tables import FlowRun, LogLine, TaskRun
from tocsin.flows.watchdog import sweep
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry

LEASE = "worker:1"


def asked(store: Store, **also: Any) -> UUID:
    with store.begin() as session:
        deploy(session)
        return create_run(session, "greet", now=NOW, **also).id


def at_work(session: Session) -> dict[str, Any]:
    """Claim the only run and begin it, with one task."""
    (taken,) = take(session)
    _, run = propose(session, taken["id"], running(), Context(attempt=taken["attempt"]), NOW)
    named = {"id": uuid7(), "name": "t-0", "task_name": "t", "task_key": "t", "flow_run_id": run["id"], "created": NOW}
    at_work = {"state_type": "RUNNING", "state_name": "Running", "state_at": NOW, "attempt": 1, "version": 1}
    session.add(TaskRun.model_validate(named | at_work))
    session.flush()
    return run


def told(store: Store, prefix: str = "tocsin.") -> list[Event]:
    statement = select(LogEntry).where(col(LogEntry.event).startswith(prefix)).order_by(col(LogEntry.seq))
    with store.read() as session:
        return [codec.decode(row.body) for row in session.exec(statement)]


def state(run: FlowRun | Refusal) -> str:
    return run.state_name if isinstance(run, FlowRun) else f"refused: {run.reason}"


def test_a_suspended_run_waits_until_it_is_resumed(store: Store) -> None:
    run = asked(store)
    with store.begin() as session:
        assert state(suspend_run(session, run, now=NOW)) == "Suspended"
        assert (due(session, "default", NOW), take(session)) == ((False, None), [])
        assert state(resume_run(session, run, now=NOW + SECOND)) == "Resuming"
        assert [taken["id"] for taken in take(session, now=NOW + SECOND)] == [run]


def test_a_resumed_run_keeps_the_time_it_was_scheduled_for(store: Store) -> None:
    run = asked(store, scheduled=NOW + timedelta(hours=1))
    with store.begin() as session:
        suspend_run(session, run, now=NOW)
        resumed = resume_run(session, run, now=NOW + SECOND)
        assert isinstance(resumed, FlowRun)
        assert resumed.scheduled == NOW + timedelta(hours=1)


@pytest.mark.parametrize("resumed_first", [False, True], ids=["resumed later", "resumed before the process is gone"])
def test_the_process_of_a_suspended_run_is_ended_before_another_takes_it(store: Store, resumed_first: bool) -> None:
    asked(store)
    with store.begin() as session:
        run = at_work(session)
        suspend_run(session, run["id"], now=NOW)
        assert being_stopped(session, LEASE) == [run["id"]]
        if resumed_first:
            resume_run(session, run["id"], now=NOW)
            assert being_stopped(session, LEASE) == [run["id"]]
            assert take(session) == []
        ended(session, run["id"], run["attempt"], 143, NOW)
        assert being_stopped(session, LEASE) == []
        if not resumed_first:
            resume_run(session, run["id"], now=NOW)
        assert [task.state_name for task in session.exec(select(TaskRun))] == ["Crashed"]
        (taken,) = take(session)
        assert (taken["id"], taken["attempt"]) == (run["id"], 2)


def test_the_report_of_a_process_that_was_suspended_counts_no_more(store: Store) -> None:
    asked(store)
    with store.begin() as session:
        run = at_work(session)
        suspend_run(session, run["id"], now=NOW)
        completed = State(StateType.COMPLETED, "Completed")
        verdict, _ = propose(session, run["id"], completed, Context(attempt=run["attempt"]), NOW)
        assert not isinstance(verdict, Accept)


def test_a_suspended_run_whose_worker_is_gone_can_be_resumed(store: Store) -> None:
    asked(store)
    with store.begin() as session:
        run = at_work(session)
        suspend_run(session, run["id"], now=NOW)
    with store.begin() as session:
        assert sweep(session, NOW) == []
        resume_run(session, run["id"], now=NOW)
        assert [taken["id"] for taken in take(session)] == [run["id"]]


def test_the_same_request_is_done_once(store: Store) -> None:
    run, cause = asked(store), Cause(request=uuid7())
    with store.begin() as session:
        suspend_run(session, run, cause=cause, now=NOW)
        resume_run(session, run, now=NOW)
        assert state(suspend_run(session, run, cause=cause, now=NOW)) == "Resuming"
        assert get_run(session, run).version == 3


def test_a_resume_that_is_asked_for_again_is_no_failure(store: Store) -> None:
    run, cause = asked(store), Cause(request=uuid7())
    with store.begin() as session:
        suspend_run(session, run, now=NOW)
        resume_run(session, run, cause=cause, now=NOW)
        assert len(take(session)) == 1
        assert state(resume_run(session, run, cause=cause, now=NOW)) == "Pending"
        assert "not suspended" in state(resume_run(session, run, now=NOW))


def test_a_change_says_which_automations_stand_behind_it(store: Store) -> None:
    run, cause = asked(store), Cause(uuid7(), 2, ("a", "b"))
    with store.begin() as session:
        suspend_run(session, run, cause=cause, now=NOW)
    with store.begin() as session:
        resume_run(session, run, now=NOW)
    _, suspended, resumed = told(store, "tocsin.flow-run.")
    assert (suspended.depth, suspended.chain) == (2, ("a", "b"))
    assert (resumed.depth, resumed.chain) == (0, ())


def program(session: Session) -> UUID:
    """A run that no deployment stands behind."""
    run = FlowRun(id=uuid7(), name="p", flow_name="f", state_type="RUNNING", state_name="Running", state_at=NOW,
                  attempt=1, version=1, lease="process:1", created=NOW)  # fmt: skip
    session.add(run)
    session.flush()
    return run.id


REFUSED = [
    pytest.param(lambda s, run: suspend_run(s, program(s), now=NOW), "by a program", id="suspend a program's run"),
    pytest.param(lambda s, run: resume_run(s, run, now=NOW), "not suspended", id="resume what is not suspended"),
    pytest.param(
        lambda s, run: change_run(s, program(s), State(StateType.SCHEDULED, "Scheduled", scheduled=NOW), now=NOW),
        "by a program",
        id="schedule a program's run",
    ),
    pytest.param(
        lambda s, run: change_run(s, run, State(StateType.COMPLETED, "Completed"), now=NOW),
        "does not become",
        id="complete what has not begun",
    ),
    pytest.param(lambda s, run: delete_run(s, program(s), now=NOW), "cancel it first", id="delete one at work"),
]


@pytest.mark.parametrize(("attempt", "reason"), REFUSED)
def test_what_cannot_be_is_refused_with_the_reason(store: Store, attempt: Any, reason: str) -> None:
    run = asked(store)
    with store.begin() as session:
        answer = attempt(session, run)
        assert isinstance(answer, Refusal)
        assert reason in answer.reason


def forced(session: Session, run: UUID, kind: StateType, name: str) -> str:
    at = NOW if kind is StateType.SCHEDULED else None
    return state(change_run(session, run, State(kind, name, scheduled=at), force=True, now=NOW))


def test_by_force_a_run_ends_and_starts_again_from_anywhere(store: Store) -> None:
    run = asked(store)
    with store.begin() as session:
        assert forced(session, run, StateType.COMPLETED, "Skipped") == "Skipped"
        assert forced(session, run, StateType.FAILED, "Failed") == "Failed"
        assert forced(session, run, StateType.SCHEDULED, "Scheduled") == "Scheduled"
        (taken,) = take(session)
        assert (taken["id"], taken["reruns"]) == (run, 1)


def test_what_a_run_does_when_it_is_ended_by_force_ends_with_it(store: Store) -> None:
    asked(store)
    with store.begin() as session:
        run = at_work(session)
        assert forced(session, run["id"], StateType.FAILED, "Failed") == "Failed"
        assert [task.state_name for task in session.exec(select(TaskRun))] == ["Crashed"]
        ended(session, run["id"], run["attempt"], 0, NOW)
        assert get_run(session, run["id"]).state_name == "Failed"


def test_a_deleted_run_is_gone_with_what_belongs_to_it(store: Store) -> None:
    run = asked(store)
    with store.begin() as session:
        other = bring(session, get_run(session, run), StateType.COMPLETED)
        child = bring(session, create_run(session, "greet", now=NOW), StateType.FAILED)
        child.parent_run_id = other.id
        session.merge(child)
        session.add(LogLine(flow_run_id=child.id, at=NOW, level=20, logger="x", message="hello"))
        session.flush()
        assert [delete_run(session, run, now=NOW) for _ in range(2)] == [None, None]
        assert not session.exec(select(FlowRun)).all()
        assert not session.exec(select(LogLine)).all()
        with pytest.raises(NotFound):
            delete_run(session, derive("no", "run"), now=NOW)
    assert [event.event for event in told(store)].count("tocsin.flow-run.deleted") == 1


# --- pools and queues ---


def test_a_paused_pool_gives_nothing_and_a_bounded_one_no_more_than_its_bound(store: Store) -> None:
    with store.begin() as session:
        deploy(session)
        runs = [create_run(session, "greet", now=NOW) for _ in range(3)]
        pause_pool(session, "default", now=NOW)
        assert take(session) == []
        pause_pool(session, "default", paused=False, now=NOW)
        create_pool(session, "default", concurrency=2, now=NOW)
        assert [run["id"] for run in take(session)] == [run.id for run in runs[:2]]
        assert take(session) == []
        ended(session, runs[0].id, 1, 1, NOW)
        assert [run["id"] for run in take(session)] == [runs[2].id]
        assert [pool.name for pool in list_pools(session)] == ["default"]
        with pytest.raises(NotFound, match="known: default"):
            pause_pool(session, "defualt", now=NOW)


def test_workers_leave_a_paused_queue_alone_and_serve_the_others(store: Store) -> None:
    with store.begin() as session:
        deploy(session, "night", work_queue="night")
        deploy(session, "day")
        night, day = (create_run(session, name, now=NOW) for name in ("night", "day"))
        assert (night.work_queue, day.work_queue) == ("night", "default")
        pause_queue(session, "default", "night", now=NOW)
        assert [taken["id"] for taken in take(session)] == [day.id]
        assert due(session, "default", NOW) == (False, None)
        pause_queue(session, "default", "night", paused=False, now=NOW)
        assert [taken["id"] for taken in take(session)] == [night.id]


def test_the_queue_default_can_be_paused_without_having_been_made(store: Store) -> None:
    run = asked(store)
    with store.begin() as session:
        pause_queue(session, "default", "default", now=NOW)
        assert take(session) == []
        assert [(queue.name, queue.paused) for queue in list_queues(session, "default")] == [("default", True)]
        pause_queue(session, "default", "default", paused=False, now=NOW)
        assert [taken["id"] for taken in take(session)] == [run]


def test_a_queue_nobody_knows_is_told_with_those_there_are(store: Store) -> None:
    with store.begin() as session:
        deploy(session, "night", work_queue="night")
        with pytest.raises(NotFound, match="known in default: default, night"):
            pause_queue(session, "default", "nigth", now=NOW)
        with pytest.raises(NotFound, match="work pool 'x'"):
            pause_queue(session, "x", "night", now=NOW)
        with pytest.raises(Invalid, match="no slash"):
            create_queue(session, "default", "a/b", now=NOW)


PAUSED = [
    pytest.param(lambda s, c: pause_pool(s, "default", cause=c, now=NOW), "tocsin.work-pool.paused", id="pool"),
    pytest.param(
        lambda s, c: pause_queue(s, "default", "night", cause=c, now=NOW), "tocsin.work-queue.paused", id="queue"
    ),
    pytest.param(
        lambda s, c: pause_deployment(s, "night", cause=c, now=NOW), "tocsin.deployment.paused", id="deployment"
    ),
]


@pytest.mark.parametrize(("pause", "name"), PAUSED)
def test_a_pause_is_told_once_with_what_stands_behind_it(store: Store, pause: Any, name: str) -> None:
    cause = Cause(uuid7(), 1, ("a",), uuid7())
    with store.begin() as session:
        deploy(session, "night", work_queue="night")
        pause(session, cause)
    with store.begin() as session:
        pause(session, cause)
    [event] = told(store, name)
    assert (event.follows, event.depth, event.chain) == (cause.event, 1, ("a",))


def test_a_run_s_events_are_related_to_its_queue(store: Store) -> None:
    asked(store)
    [event] = told(store, "tocsin.flow-run.")
    assert [labels["tocsin.resource.id"] for labels in event.related_as("work-queue")] == [
        "tocsin.work-queue.default/default"
    ]


def test_a_cancel_by_a_person_ends_a_chain(store: Store) -> None:
    run = asked(store, cause=Cause(uuid7(), 3, ("a", "b", "c")))
    with store.begin() as session:
        cancel_run(session, run, now=NOW)
    scheduled, cancelled = told(store, "tocsin.flow-run.")
    assert (scheduled.chain, cancelled.chain) == (("a", "b", "c"), ())

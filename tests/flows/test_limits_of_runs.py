"""Limits on runs of deployments, in pools and from queues: what a worker may claim, and what the others are told."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from tocsin.events.errors import Invalid, NotFound
from tocsin.flows.admission import Candidate, Rooms, admit
from tocsin.flows.changes import propose
from tocsin.flows.claims import claim, due, ended
from tocsin.flows.decide import Context
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.limit_tables import ConcurrencySlot
from tocsin.flows.limits import LimitChange, list_limits, put_limit, remove_limit
from tocsin.flows.pools import create_pool
from tocsin.flows.queues import create_queue
from tocsin.flows.runs import create_run, get_run
from tocsin.flows.slot_requests import Take, Wanted
from tocsin.flows.slot_rules import Ticket
from tocsin.flows.states import awaiting_retry, completed, running
from tocsin.store.engine import Store
from tocsin.store.leases import acquire

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FULL = "deployment etl: all 1 slots are taken"


class Desk:
    """A store with deployments and a worker that claims from its pool `default`."""

    def __init__(self, store: Store) -> None:
        self.store, self.now = store, NOW

    def deploy(self, name: str, **also: Any) -> None:
        with self.store.begin() as session:
            put_deployment(session, Deployment(name=name, entrypoint="flows.py:x", flow_name=name, **also), NOW)

    def ask(self, name: str) -> UUID:
        self.now += timedelta(seconds=1)
        with self.store.begin() as session:
            return create_run(session, name, now=self.now).id

    def claim(self, limit: int = 10) -> list[str]:
        """The deployments of the runs that were claimed, in order."""
        with self.store.begin() as session:
            taken = claim(session, "default", limit, lease="worker:1", worker="w", now=self.now)
        return [str(run["deployment"]) for run in taken]

    def due(self) -> bool:
        with self.store.read() as session:
            return due(session, "default", self.now)[0]

    def state(self, run: UUID) -> tuple[str, str]:
        with self.store.read() as session:
            row = get_run(session, run)
        return row.state_name, row.state_message

    def move(self, run: UUID, *states: Any) -> None:
        with self.store.begin() as session:
            for state in states:
                propose(session, run, state, Context(), self.now)

    def limits(self) -> dict[str, tuple[int, int | None, int]]:
        with self.store.read() as session:
            found = list_limits(session, self.now)
        return {f"{one.kind}:{one.name}": (one.slots, one.taken, one.waiting) for one in found}


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def test_one_more_run_than_its_deployment_allows_waits_for_a_slot(desk: Desk) -> None:
    desk.deploy("etl", concurrency_limit=1)
    desk.deploy("other")
    first, second, third = desk.ask("etl"), desk.ask("etl"), desk.ask("other")
    assert desk.claim() == ["etl", "other"], "who waits for a slot lets others pass"
    assert [desk.state(run)[0] for run in (first, second, third)] == ["Pending", "AwaitingSlot", "Pending"]
    assert desk.state(second)[1] == FULL
    assert desk.limits() == {"deployment:etl": (1, 1, 1)}
    assert (desk.due(), desk.claim()) == (False, [])
    desk.move(first, running(1), completed())
    assert desk.due()
    assert desk.claim() == ["etl"]
    assert desk.limits() == {"deployment:etl": (1, 1, 0)}


def test_a_run_that_rests_in_its_process_keeps_its_slot(desk: Desk) -> None:
    desk.deploy("etl", concurrency_limit=1)
    first, second = desk.ask("etl"), desk.ask("etl")
    desk.claim()
    desk.move(first, running(1), awaiting_retry(desk.now + timedelta(seconds=5)))
    assert (desk.claim(), desk.state(second)[0]) == ([], "AwaitingSlot")


def test_one_more_run_is_cancelled_where_the_deployment_says_so(desk: Desk) -> None:
    desk.deploy("etl", concurrency_limit=1, collision_strategy="CANCEL_NEW")
    first, second = desk.ask("etl"), desk.ask("etl")
    assert desk.claim() == ["etl"]
    assert desk.state(second) == ("Cancelled", f"{FULL}, and its collision strategy is CANCEL_NEW")
    assert desk.state(first)[0] == "Pending"


def test_a_queue_of_lower_priority_goes_first(desk: Desk) -> None:
    with desk.store.begin() as session:
        create_pool(session, "default", now=NOW)
        create_queue(session, "default", "urgent", priority=1, now=NOW)
        create_queue(session, "default", "idle", priority=500, now=NOW)
    for name, queue in (("a", "idle"), ("b", "default"), ("c", "urgent")):
        desk.deploy(name, work_queue=queue)
        desk.ask(name)
    assert [desk.claim(1) for _ in range(3)] == [["c"], ["b"], ["a"]]


def test_a_queue_takes_as_many_as_it_may(desk: Desk) -> None:
    with desk.store.begin() as session:
        create_pool(session, "default", now=NOW)
        create_queue(session, "default", "slow", concurrency=1, now=NOW)
    desk.deploy("a", work_queue="slow")
    desk.deploy("b")
    _, waits, _ = desk.ask("a"), desk.ask("a"), desk.ask("b")
    assert desk.claim() == ["a", "b"]
    assert desk.state(waits) == ("AwaitingSlot", "work queue default/slow: all its slots are taken")
    assert desk.limits() == {"work-queue:default/slow": (1, 1, 1)}


def test_a_pool_takes_as_many_as_it_may(desk: Desk) -> None:
    with desk.store.begin() as session:
        create_pool(session, "default", concurrency=2, now=NOW)
    desk.deploy("a")
    runs = [desk.ask("a") for _ in range(3)]
    assert desk.claim() == ["a", "a"]
    assert desk.state(runs[2]) == ("AwaitingSlot", "work pool default: all 2 slots are taken")
    assert (desk.due(), desk.claim()) == (False, [])


def test_limits_of_runs_are_set_and_removed_by_name(desk: Desk) -> None:
    desk.deploy("etl")
    with desk.store.begin() as session:
        put_limit(session, "deployment", "etl", LimitChange(slots=3), NOW)
        put_limit(session, "work-pool", "default", LimitChange(slots=4), NOW)
        assert [(one.kind, one.slots) for one in list_limits(session, NOW)] == [("deployment", 3), ("work-pool", 4)]
        remove_limit(session, "deployment", "etl", NOW)
        assert [one.kind for one in list_limits(session, NOW)] == ["work-pool"]
        with pytest.raises(NotFound, match="deployment 'elt': there is none of this name"):
            put_limit(session, "deployment", "elt", LimitChange(slots=3), NOW)
        with pytest.raises(Invalid, match="it has slots only"):
            put_limit(session, "deployment", "etl", LimitChange(slots=3, decay=1.0), NOW)


def test_a_deployment_brings_limits_of_tasks_by_name(desk: Desk) -> None:
    """The form `concurrency_limit={"task-name": 10}`."""
    desk.deploy("etl", concurrency_limit={"fetch": 10, "tag:db": 2})
    assert desk.limits() == {"task:fetch": (10, 0, 0), "tag:db": (2, 0, 0)}


def test_slots_that_a_dead_run_held_are_free_when_its_worker_says_so(desk: Desk) -> None:
    """Its own process's lease lives on for seconds."""
    desk.deploy("etl", concurrency_limit={"fetch": 1})
    run = desk.ask("etl")
    desk.claim()
    wanted = Wanted(Ticket(uuid4(), {"task:fetch": 1}, desk.now), "process:child", run)
    with desk.store.begin() as session:
        acquire(session, "process:child", "x", desk.now, timedelta(seconds=10))
        assert Take(wanted=(wanted,), now=desk.now).perform(session)[0].taken
    with desk.store.begin() as session:
        ended(session, run, 1, -9, desk.now)
        assert not session.exec(select(ConcurrencySlot)).all()
    assert desk.state(run)[0] == "Crashed"


names = st.sampled_from(["a", "b", "c"])


@given(
    waiting=st.lists(st.tuples(names, names), max_size=12),
    pool=st.none() | st.integers(-1, 6),
    queues=st.dictionaries(names, st.integers(-1, 3)),
    deployments=st.dictionaries(names, st.integers(-1, 3)),
)
def test_what_is_admitted_fits_and_nobody_is_left_who_would(
    waiting: list[tuple[str, str]], pool: int | None, queues: dict[str, int], deployments: dict[str, int]
) -> None:
    runs = [Candidate(UUID(int=n), deployment, queue) for n, (deployment, queue) in enumerate(waiting)]
    admitted, left = admit(runs, Rooms(pool, queues, deployments))
    for name in "abc":
        assert len([run for run in admitted if run.queue == name]) <= max(0, queues.get(name, 99))
        assert len([run for run in admitted if run.deployment == name]) <= max(0, deployments.get(name, 99))
    assert pool is None or len(admitted) <= max(0, pool)
    others = [run for run in runs if run not in admitted]
    assert admit(others, left)[0] == []

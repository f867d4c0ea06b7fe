"""How many workers are wanted, by a table; and what the rows say of a pool's demand and of its workers."""

from datetime import UTC, datetime, timedelta

import pytest

from tocsin.flows.claims import claim
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.pools import create_pool, pause_pool
from tocsin.flows.runs import create_run
from tocsin.flows.scaling import Bounds, Demand, Staff, demand_of, wanted
from tocsin.flows.tables import WorkerRow
from tocsin.flows.workers import list_workers
from tocsin.store import leases
from tocsin.store.engine import Store

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TEN = timedelta(seconds=10)
BOUNDS = Bounds(minimum=1, maximum=4, slots=5, idle=TEN)


def demand(waiting: int, running: int, room: int | None = None) -> Demand:
    return Demand(waiting, running, 0, timedelta(), room)


@pytest.mark.parametrize(
    ("asked", "staff", "since", "workers"),
    [
        pytest.param(demand(0, 0), 1, timedelta(), 1, id="never fewer than the minimum"),
        pytest.param(demand(1, 5), 1, timedelta(), 2, id="one run more than there are places: one worker more"),
        pytest.param(demand(99, 5), 1, timedelta(), 4, id="never more than the maximum"),
        pytest.param(demand(99, 5, room=0), 1, timedelta(), 1, id="what the pool holds back needs nobody"),
        pytest.param(demand(99, 5, room=1), 1, timedelta(), 2, id="what the pool lets run needs somebody"),
        pytest.param(demand(0, 0), 3, TEN - timedelta(seconds=1), 3, id="too many stay for a while"),
        pytest.param(demand(0, 0), 3, TEN, 1, id="and then go"),
        pytest.param(demand(0, 11), 3, TEN, 3, id="those that work are needed"),
    ],
)
def test_as_many_workers_as_there_is_work_for(asked: Demand, staff: int, since: timedelta, workers: int) -> None:
    assert wanted(asked, BOUNDS, Staff(staff, NOW - since), NOW).workers == workers


def test_demand_counts_what_waits_and_what_runs(store: Store) -> None:
    with store.begin() as session:
        put_deployment(session, Deployment(name="d", entrypoint="a:b", flow_name="f"), NOW)
        for minutes in (0, 1, 2, 30):
            create_run(session, "d", scheduled=NOW + timedelta(minutes=minutes), now=NOW)
        claim(session, "default", 1, lease="worker:1", worker="w", now=NOW)
        leases.acquire(session, "worker:1", "somebody", NOW, timedelta(hours=1))
        session.add(WorkerRow(name="w", work_pool="default", slots=4, lease="worker:1", host="h", pid=1, started=NOW))
        session.add(WorkerRow(name="x", work_pool="default", slots=4, lease="worker:2", host="h", pid=2, started=NOW))
    with store.begin() as session:
        later = NOW + timedelta(minutes=2)
        assert demand_of(session, "default", later) == Demand(2, 1, 3, timedelta(minutes=1))
        assert [(each.name, each.alive, each.at_work) for each in list_workers(session, later)] == [
            ("w", True, 1),
            ("x", False, 0),
        ]
        assert [each.name for each in list_workers(session, later, gone=False)] == ["w"]
        create_pool(session, "default", concurrency=3, now=NOW)
        assert demand_of(session, "default", later).room == 2
        pause_pool(session, "default", now=NOW)
        assert demand_of(session, "default", later).room == 0

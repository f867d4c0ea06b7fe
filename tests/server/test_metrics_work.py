"""What a scrape shows of work: runs by pool and state, how late they begin, slots and waits for them."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from tocsin.events.clock import ManualClock
from tocsin.flows import claims
from tocsin.flows.changes import propose
from tocsin.flows.decide import Context
from tocsin.flows.deployments import Deployment
from tocsin.flows.limit_tables import ConcurrencyLimit, ConcurrencySlot
from tocsin.flows.runs import create_run
from tocsin.flows.states import running
from tocsin.server.metrics import exposition
from tocsin.server.metrics_reads import readings
from tocsin.store.engine import Store

SECOND = timedelta(seconds=1)


@pytest.fixture
def pool(store: Store, clock: ManualClock) -> Store:
    """A store with a deployment on the pool `default`, three runs due, and one for tomorrow."""
    Deployment(name="etl", entrypoint="etl.py:etl", flow_name="etl").apply(store, now=clock.now())
    with store.begin() as session:
        for _ in range(3):
            create_run(session, "etl", now=clock.now())
        create_run(session, "etl", now=clock.now(), scheduled=clock.now() + timedelta(days=1))
    return store


def seen(store: Store, clock: ManualClock) -> dict[str, dict[tuple[str, ...], float]]:
    """The samples of a scrape by name, then by the values of their labels."""
    with store.read() as session:
        document, _ = exposition(readings(session, clock.now()), "text/plain")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in families(document.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_runs_that_wait_and_how_late_they_begin(pool: Store, clock: ManualClock) -> None:
    before = seen(pool, clock)
    assert before["tocsin_flow_runs"] == {("default", "Scheduled"): 4}
    assert before["tocsin_flow_runs_overdue_seconds"] == {("default",): 0}
    for late in (2, 4):
        clock.advance(timedelta(seconds=2))
        with pool.begin() as session:
            [run] = claims.claim(session, "default", 1, lease="a", worker="w", now=clock.now())
            propose(session, run["id"], running(1), Context(attempt=1), clock.now())
        assert clock.now() - run["scheduled"] == late * SECOND
    after = seen(pool, clock)
    assert after["tocsin_flow_runs"] == {("default", "Scheduled"): 2, ("default", "Running"): 2}
    assert after["tocsin_flow_runs_overdue_seconds"] == {("default",): 4}
    assert after["tocsin_flow_runs_begun"] == {("default",): 2}
    assert after["tocsin_flow_run_lateness_mean_seconds"][("default",)] == pytest.approx(3, abs=0.01)
    assert after["tocsin_flow_run_lateness_max_seconds"][("default",)] == pytest.approx(4, abs=0.01)
    clock.advance(timedelta(hours=2))
    assert "tocsin_flow_runs_begun" not in seen(pool, clock)


def test_slots_and_waits_for_them(store: Store, clock: ManualClock) -> None:
    now = clock.now()
    with store.begin() as session:
        session.add(
            ConcurrencyLimit(
                key="tag:db", kind="tag", name="db", slots=3, waits=2, waited_ms=1500, created=now, updated=now
            )
        )
        for taken, slots in ((now, 2), (None, 1), (None, 1)):
            session.add(
                ConcurrencySlot(
                    limit_key="tag:db", ticket=uuid4(), slots=slots, lease="a", asked=now, fresh=now, taken=taken
                )
            )
    found = seen(store, clock)
    one = {name: found[name][("tag:db",)] for name in found if name.startswith("tocsin_slot")}
    assert one == {
        "tocsin_slots": 3,
        "tocsin_slots_taken": 2,
        "tocsin_slots_wanted": 2,
        "tocsin_slot_waits_total": 2,
        "tocsin_slot_wait_seconds_total": 1.5,
    }

"""Schedulers that are killed, stopped, and lose their database in the middle: every due instant once, under one id."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.postgres.cluster import Cluster, NoPostgres
from tests.triggers.trouble import TROUBLE_S, caught_up, check, logged, put, trouble
from tocsin.store.engine import Store


@pytest.mark.faults
@pytest.mark.timeout(TROUBLE_S + 180)
def test_schedulers_killed_in_the_middle_lose_and_double_nothing(store_url: str) -> None:
    store = Store.open(store_url, create=True)
    with trouble(store_url) as made:
        begin = put(store)
        end = time.monotonic() + TROUBLE_S
        while time.monotonic() < end:
            made.step()
    now = caught_up(store)
    check(logged(store), begin, now)
    assert made.kills >= 3
    store.close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server of the test's own, to be killed."""
    try:
        made = Cluster()
    except NoPostgres as missing:
        pytest.skip(str(missing))
    made.start()
    yield made
    made.stop()


@pytest.mark.faults
@pytest.mark.postgres
@pytest.mark.timeout(TROUBLE_S + 240)
def test_a_database_killed_in_the_middle_loses_and_doubles_nothing(cluster: Cluster) -> None:
    url = cluster.create()
    store = Store.open(url, create=True)
    with trouble(url) as made:
        begin = put(store)
        end = time.monotonic() + TROUBLE_S
        restarts = 0
        while restarts < 2 or time.monotonic() < end:
            time.sleep(made.dice.uniform(0.5, 2.5))
            cluster.kill()
            cluster.restart()
            restarts += 1
        store.engine.dispose()
        # They come back by themselves: what is due after the last restart is sent by one of them.
        back = datetime.now(UTC)
        while not any(event.occurred > back for event in logged(store)):
            time.sleep(0.1)
        assert all(process.poll() is None for process in made.running)
    now = caught_up(store)
    check(logged(store), begin, now)
    store.close()

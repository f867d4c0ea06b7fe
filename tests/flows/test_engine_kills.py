"""Whatever is killed, and whenever: every run ends, no completed task runs twice, no slot leaks, no event is lost."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.chaos import City
from tests.flows.found import Found
from tests.postgres.cluster import Cluster, NoPostgres

RUNS = int(os.environ.get("TOCSIN_TEST_RUNS", "60"))
SEED = int(os.environ.get("TOCSIN_TEST_SEED", "1"))
AT_ONCE = 24
"""Runs that wait or are under way while things are killed."""
PAUSE_S = (0.1, 0.7)
"""Between two kills, at the least: on a slow machine there is none before something has begun again, ..."""
STILL_S = 4.0
"""... or this time has passed."""
STALLED_S = 120.0
"""When nothing is killed any more and nothing has happened for so long, a run is stuck."""

pytestmark = [pytest.mark.faults, pytest.mark.postgres, pytest.mark.timeout(300 + 8 * RUNS)]


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    try:
        cluster = Cluster()
    except NoPostgres as missing:
        pytest.skip(str(missing))
    cluster.start()
    yield City(cluster, tmp_path, SEED)
    cluster.stop()


def test_whatever_is_killed_every_run_ends_and_nothing_is_done_twice(
    city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, completed = 0, 0
    with city.living():
        while completed < RUNS - AT_ONCE // 2:
            completed, of = city.done()
            if asked < RUNS and of - completed < AT_ONCE:
                asked += len(city.ask(min(10, RUNS - asked)))
            city.stopped.wait(city.random.uniform(*PAUSE_S))
            city.until_something_begins(STILL_S)
            city.harm()
        ended = city.until_done(STALLED_S)
        found = Found(city.store, city.witness)
    with capsys.disabled():
        print(f"\n{RUNS} runs, seed {SEED}, killed: {dict(city.kills)}; {found.summary()}")
    if not ended and (kept := os.environ.get("TOCSIN_TEST_KEPT")):
        shutil.copy(city.log, kept)
    assert ended, found.unfinished() + city.log.read_text(errors="replace")[-3000:]
    assert found.wrong_results() == []
    assert found.unfinished_tasks() == []
    assert found.wrong_events() == []
    assert found.backward_attempts() == []
    assert found.done_twice() == []
    assert found.leaked_slots() == []

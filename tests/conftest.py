"""What every test may ask for: a home of its own, a clock it turns by hand, and databases that are really there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.postgres.cluster import Databases, NoPostgres, find

if TYPE_CHECKING:
    from tocsin.events.clock import ManualClock
    from tocsin.store.engine import Store

pytest_plugins = ["tests.kafka.fixtures", "tests.notifiers.fixtures"]

MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ALERTS = ("SLACK_WEBHOOK_URL", "PAGERDUTY_ROUTING_KEY")

# A busy machine makes an example slow, not wrong; and CI repeats the same examples, so that it is red for a reason.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TOCSIN_HOME of this test. No setting of the caller's reaches a test, and no real channel is ever told."""
    for name in list(os.environ):
        if (name.startswith("TOCSIN_") and not name.startswith("TOCSIN_TEST_")) or name in ALERTS:
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("TOCSIN_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def logging_stays() -> Iterator[None]:
    """A test that sets up logging, or a library that does, changes nothing for the tests after it."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    levels = {name: logging.getLogger(name).level for name in (None, "urllib3")}
    yield
    for handler in root.handlers[:]:
        if handler not in before:
            root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at 2026-03-02T09:00Z until the test moves it."""
    from tocsin.events.clock import ManualClock

    return ManualClock(MORNING)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'tocsin.db'}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """A PostgreSQL server that makes databases; without one a test is skipped, and in CI it fails."""
    try:
        server = find()
    except NoPostgres as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run the PostgreSQL tests: {missing}")
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres: Databases) -> Iterator[str]:
    """URL of an empty database on PostgreSQL, removed after the test."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def whole_postgres_url(postgres: Databases) -> Iterator[str]:
    """URL of a database that has every table: the mould for copies; nobody stays connected to it."""
    from tocsin.store.engine import Store

    url = postgres.create()
    Store.open(url, create=True).close()
    yield url
    postgres.drop(url)


@pytest.fixture
def postgres_store_url(postgres: Databases, whole_postgres_url: str) -> Iterator[str]:
    """URL of a database on PostgreSQL that has every table, removed after the test."""
    url = postgres.create(template=whole_postgres_url)
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite_url", pytest.param("postgres_store_url", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest) -> str:
    """URL of a database, once on SQLite and once on PostgreSQL, for tests that open it in several processes."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store with every table, once on SQLite and once on PostgreSQL."""
    from tocsin.store.engine import Store

    opened = Store.open(store_url, create=True)
    yield opened
    opened.close()

"""The PostgreSQL of the tests is real, clean for each test, and survives what tests of faults do to it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.postgres.cluster import Cluster, Databases, NoPostgres, binaries

pytestmark = pytest.mark.postgres


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True)


def test_a_database_is_empty_and_a_copy_has_what_its_mould_has(postgres: Databases, postgres_url: str) -> None:
    with connect(postgres_url) as mould:
        mould.execute("CREATE TABLE bell (tone int)")
        mould.execute("INSERT INTO bell VALUES (440)")
    copy = postgres.create(template=postgres_url)
    try:
        with connect(copy) as connection:
            assert connection.execute("SELECT tone FROM bell").fetchall() == [(440,)]
    finally:
        postgres.drop(copy)
    fresh = postgres.create()
    try:
        with connect(fresh) as connection:
            assert connection.execute("SELECT to_regclass('bell')").fetchall() == [(None,)]
    finally:
        postgres.drop(fresh)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    try:
        own = Cluster()
    except NoPostgres as missing:
        pytest.skip(str(missing))
    own.start()
    yield own
    own.stop()


@pytest.mark.faults
def test_a_killed_server_comes_back_with_what_was_committed(cluster: Cluster) -> None:
    url = cluster.create()
    with connect(url) as connection:
        connection.execute("CREATE TABLE bell AS SELECT 440 AS tone")
    cluster.kill()
    cluster.restart()
    with connect(url) as connection:
        assert connection.execute("SELECT tone FROM bell").fetchall() == [(440,)]


PROGRAM = """
import os
from tests.postgres.cluster import Cluster
cluster = Cluster()
cluster.start()
print(cluster.folder, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.faults
def test_a_killed_test_run_leaves_no_server_behind() -> None:
    try:
        binaries()
    except NoPostgres as missing:
        pytest.skip(str(missing))
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, stdout=subprocess.PIPE, check=False, text=True)
    folder = Path(run.stdout.strip())
    deadline = time.monotonic() + 60
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run.returncode == -9
    assert not folder.exists()

"""Who is dead is seen by his lock: at once, and nobody who lives is taken for dead."""

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import Session, select

from tocsin.events.clock import SystemClock
from tocsin.flows.beat import Heart
from tocsin.flows.claims import claim
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.presence import SessionLock
from tocsin.flows.presence_tables import PresenceRow
from tocsin.flows.runs import create_run, get_run
from tocsin.flows.vigil import GONE, Vigil, free_presences, unlocked
from tocsin.store.engine import Store


def now() -> datetime:
    return datetime.now(UTC)


def presences(store: Store) -> list[PresenceRow]:
    with store.read() as session:
        return list(session.exec(select(PresenceRow)).all())


@pytest.mark.parametrize("kind", ["worker", "process"])
async def test_who_lives_is_not_taken_for_dead(store: Store, kind: str) -> None:
    heart, vigil = Heart(store, SystemClock(), kind), Vigil(store)
    heart.start()
    assert len(presences(store)) == 1
    assert [await vigil.look() for _ in range(3)] == [[], [], []]
    heart.stop()
    assert presences(store) == []


def held(session: Session, lease: str) -> None:
    put_deployment(session, Deployment(name="d", entrypoint="a:b", flow_name="f"), now())
    create_run(session, "d", now=now())
    claim(session, "default", 1, lease=lease, worker="w", now=now())


def test_a_file_is_free_when_its_holder_is_gone_and_says_nothing_when_it_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not unlocked(path)
    file = os.open(path, os.O_CREAT | os.O_RDWR)
    assert unlocked(path)
    fcntl.flock(file, fcntl.LOCK_EX)
    assert not unlocked(path)
    os.close(file)
    assert unlocked(path)


async def test_the_runs_of_the_dead_have_crashed_with_the_reason(store: Store, tmp_path: Path) -> None:
    heart, vigil = Heart(store, SystemClock()), Vigil(store)
    heart.start()
    with store.begin() as session:
        held(session, heart.name)
        row = session.exec(select(PresenceRow)).one()
        (tmp_path / "free").touch()
        row.path = str(tmp_path / "free")
        session.add(row)
    (run,) = await vigil.look()
    with store.read() as session:
        crashed = get_run(session, run)
    assert (crashed.state_name, crashed.state_message) == ("Crashed", GONE)
    assert presences(store) == []
    assert await vigil.look() == []
    heart.stop()


@pytest.mark.postgres
async def test_a_session_that_breaks_is_made_anew_before_its_holder_is_dead(postgres_store_url: str) -> None:
    store = Store.open(postgres_store_url)
    lock, vigil = SessionLock(store, SystemClock()), Vigil(store)
    lock.take("worker:1")
    before = presences(store)[0].session
    with store.begin() as session:
        session.connection().exec_driver_sql(f"SELECT pg_terminate_backend({before.partition('/')[2]})")
    assert await vigil.look() == []
    while presences(store)[0].session == before:
        await vigil._store.look(free_presences)
    assert [await vigil.look() for _ in range(3)] == [[], [], []]
    lock.leave()
    assert presences(store) == []
    store.close()

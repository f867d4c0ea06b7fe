"""The Store: transactions that hold or vanish, addresses that are refused with the way out, watches that hear."""

import asyncio
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlmodel import select

from tocsin.events.errors import Invalid, TocsinError, Unavailable
from tocsin.events.model import Event
from tocsin.store import schema
from tocsin.store.engine import Store, touch
from tocsin.store.log import append
from tocsin.store.tables import LogEntry

SOON = timedelta(seconds=60)


def event() -> Event:
    return Event(event="a", resource={"tocsin.resource.id": "r"})


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://localhost/x", "sqlite or postgresql"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("nonsense", "not an address"),
    ],
)
def test_an_address_that_cannot_work_is_refused(url: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        Store.open(url)


def test_a_server_that_does_not_answer_is_unavailable_and_its_password_is_not_shown() -> None:
    with pytest.raises(Unavailable) as caught:
        Store.open("postgresql://me:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.postgres
def test_an_empty_postgresql_database_names_the_command(postgres_url: str) -> None:
    with pytest.raises(Invalid, match="tocsin db upgrade"):
        Store.open(postgres_url)


def test_a_database_of_another_revision_names_the_command(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    with store.begin() as session:
        session.connection().execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(Invalid, match=r"revision 9999.*tocsin db upgrade"):
        Store.open(sqlite_url)


def test_a_new_file_is_made_whole_with_every_rooms_tables(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    tables = set(inspect(store.engine).get_table_names())
    assert {"log", "position", "lease", "flow_run", "schedule", "automation", "delivery"} <= tables
    store.close()


def test_two_processes_that_open_a_new_file_at_once_make_it_once(sqlite_url: str) -> None:
    program = f"from tocsin.store.engine import Store; Store.open({sqlite_url!r}).close()"
    both = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait(60) for process in both] == [0, 0, 0]
    store = Store.open(sqlite_url)
    with store.read() as session:
        assert session.connection().execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
        assert schema.revision(session.connection()) == schema.HEAD
    store.close()


def test_a_transaction_inside_another_one_is_refused_instead_of_waiting_for_itself(store: Store) -> None:
    with store.begin(), pytest.raises(TocsinError, match="inside another"), store.begin():
        raise AssertionError
    with store.begin() as session:
        append(session, [event()])


def test_writers_in_many_threads_take_turns(store: Store) -> None:
    def write() -> None:
        for _ in range(25):
            with store.begin() as session:
                append(session, [event()])

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        assert len(session.exec(select(LogEntry)).all()) == 200


async def test_a_watch_hears_of_a_commit_and_of_nothing_before_it(store: Store) -> None:
    with store.watch("log") as watch:
        await watch.wait(timedelta(0))
        waiting = asyncio.create_task(watch.wait(SOON))
        await store.run(lambda session: append(session, [event()]))
        assert await waiting


async def test_a_watch_of_this_process_is_woken_by_its_own_channels(store: Store) -> None:
    hub = store._hub
    with store.watch("runs") as watch:
        hub.probe = lambda seen: 0
        watch._seen = 0
        await store.run(lambda session: touch(session, "log"))
        assert not await watch.wait(timedelta(0))
        await store.run(lambda session: touch(session, "runs"))
        assert await watch.wait(SOON)


async def test_a_watch_hears_of_another_process(store_url: str, store: Store) -> None:
    program = (
        "from tocsin.store.engine import Store; from tocsin.store.log import append; from tocsin.events import Event\n"
        f"store = Store.open({store.engine.url.render_as_string(hide_password=False)!r})\n"
        "with store.begin() as session: append(session, [Event(event='a', resource={'tocsin.resource.id': 'r'})])"
    )
    with store.watch("log") as watch:
        other = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        found = 0
        while not found and await watch.wait(SOON):
            found = await store.look(lambda session: len(session.exec(select(LogEntry)).all()))
        assert found == 1
        assert await other.wait() == 0


def test_the_home_is_its_owners_alone(home: Path) -> None:
    Store.open().close()
    assert (home / "tocsin.db").exists()
    assert home.stat().st_mode & 0o077 == 0

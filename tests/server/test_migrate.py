"""Migrations and the tables of the code are one: on SQLite and PostgreSQL, from nothing and from what is there."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlmodel import SQLModel

from tocsin.events.errors import Invalid, Unavailable
from tocsin.events.model import Event
from tocsin.server import migrate
from tocsin.store import schema
from tocsin.store.engine import Store, open_engine
from tocsin.store.log import append

ORDERS = {"tocsin.resource.id": "orders"}


@pytest.fixture(params=["sqlite_url", pytest.param("postgres_url", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database, once on SQLite and once on PostgreSQL."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    opened = open_engine(empty_url)
    yield opened
    opened.dispose()


def shape(engine: Engine) -> list[str]:
    """Everything that the database says of its tables, as text that does not depend on how they were made."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"))
            return sorted(f"{name}: {part}" for name, sql in found for part in parts(sql))
        columns = connection.execute(
            text(
                "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity "
                "FROM information_schema.columns WHERE table_schema = 'public'"
            )
        )
        indexes = connection.execute(text("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"))
        constraints = connection.execute(
            text("SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint")
        )
        functions = connection.execute(text("SELECT prosrc FROM pg_proc WHERE proname = 'tocsin_next_seq'"))
        return sorted(str(tuple(row)) for result in (columns, indexes, constraints, functions) for row in result)


def parts(sql: str) -> list[str]:
    """A statement in pieces, whatever their order and white space."""
    before, _, rest = re.sub(r"\s+", "", sql).replace('"', "").partition("(")
    inside, _, after = rest.rpartition(")")
    return [before, after, *re.split(r",(?![^(]*\))", inside)]


def test_the_code_makes_what_the_newest_revision_makes() -> None:
    assert migrate.head() == schema.HEAD


def test_a_migrated_database_has_exactly_the_tables_of_the_code(engine: Engine, empty_url: str) -> None:
    migrate.upgrade(empty_url)
    with engine.connect() as connection:
        assert migrate.differences(connection) == []


def test_a_difference_would_be_seen(engine: Engine, empty_url: str) -> None:
    migrate.upgrade(empty_url)
    with engine.connect().execution_options(tocsin_write=True) as connection, connection.begin():
        connection.execute(text("DROP TABLE cache_entry"))
        connection.execute(text("DROP INDEX ix_log_key_seq"))
        connection.execute(text("ALTER TABLE log ADD COLUMN planted integer"))
        found = [entry[0] for entry in migrate.differences(connection)]
    assert sorted(set(found)) == ["add_index", "add_table", "remove_column"]


def test_migrated_and_made_at_once_are_the_same_database(engine: Engine, empty_url: str) -> None:
    migrate.upgrade(empty_url)
    migrated = shape(engine)
    with engine.connect().execution_options(tocsin_write=True) as connection, connection.begin():
        SQLModel.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    Store.open(empty_url, create=True).close()
    made = shape(engine)
    alembic = [line for line in [*migrated, *made] if "alembic_version" in line]
    assert [line for line in migrated if line not in alembic] == [line for line in made if line not in alembic]


@pytest.mark.parametrize("room", ["flows", "triggers", "notifiers", "automations"])
def test_names_do_not_depend_on_which_room_is_imported_first(room: str) -> None:
    program = f"import tocsin.{room}.tables; from tocsin.store.schema import load_tables; load_tables()\n"
    program += "from sqlmodel import SQLModel\n"
    program += "print(*sorted(i.name for t in SQLModel.metadata.tables.values() for i in t.indexes))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    schema.load_tables()
    expected = sorted(str(index.name) for table in SQLModel.metadata.tables.values() for index in table.indexes)
    assert run.stdout.split() == expected


def test_a_migrated_database_takes_events(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    store = Store.open(empty_url)
    with store.begin() as session:
        assert append(session, [Event(event="a", resource=ORDERS), Event(event="b", resource=ORDERS)]) == 2
    store.close()


def test_an_upgrade_says_what_it_did_and_a_second_one_does_nothing(empty_url: str) -> None:
    first, second = migrate.upgrade(empty_url), migrate.upgrade(empty_url)
    assert (first.before, first.after) == (None, schema.HEAD)
    assert (second.before, second.after) == (schema.HEAD, schema.HEAD)


def test_a_database_that_a_script_made_upgrades_cleanly_and_keeps_what_it_holds(empty_url: str) -> None:
    store = Store.open(empty_url, create=True)
    with store.begin() as session:
        append(session, [Event(event="a", resource=ORDERS)])
    store.close()
    assert migrate.upgrade(empty_url).before == schema.HEAD
    store = Store.open(empty_url)
    with store.read() as session:
        assert session.connection().execute(text("SELECT count(*) FROM log")).scalar() == 1
    store.close()


def test_two_upgrades_at_once_do_no_harm(empty_url: str) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            migrate.upgrade(empty_url)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert migrate.upgrade(empty_url).before == schema.HEAD


def test_a_database_of_a_later_version_is_left_alone(engine: Engine, empty_url: str) -> None:
    migrate.upgrade(empty_url)
    with engine.connect().execution_options(tocsin_write=True) as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Invalid, match="later tocsin"):
        migrate.upgrade(empty_url)
    with pytest.raises(Invalid, match="9999"):
        Store.open(empty_url)


def test_a_failed_upgrade_leaves_nothing_behind(engine: Engine, empty_url: str) -> None:
    with engine.connect().execution_options(tocsin_write=True) as connection, connection.begin():
        connection.execute(text("CREATE TABLE worker (id integer)"))
    with pytest.raises(Exception, match="worker"):
        migrate.upgrade(empty_url)
    with engine.connect() as connection:
        assert schema.revision(connection) is None
        assert not connection.dialect.has_table(connection, "log")


@pytest.mark.postgres
def test_an_empty_postgresql_database_asks_for_the_upgrade(postgres_url: str) -> None:
    with pytest.raises(Invalid, match="tocsin db upgrade"):
        Store.open(postgres_url)


def test_a_server_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1") as failure:
        migrate.upgrade("postgresql://tocsin:hunter22@127.0.0.1:9/tocsin")
    assert "hunter22" not in str(failure.value)

"""A database by name, on SQLite and on PostgreSQL."""

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError

from tests.flows.conftest import Book
from tocsin.events.errors import Invalid
from tocsin.flows.blocks import Block, ConnectionComponents, SQLAlchemyConnector, SqlAlchemyConnector


@pytest.fixture(params=["sqlite_url", pytest.param("postgres_url", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest) -> str:
    """Of an empty database, once on SQLite and once on PostgreSQL."""
    url: str = request.getfixturevalue(request.param)
    return url.replace("tocsin.db", "shop.db")


@pytest.fixture
def shop(address: str) -> Any:
    with SQLAlchemyConnector(connection_info=SecretStr(address)) as made:
        made.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, shop TEXT)")
        made.execute_many(
            "INSERT INTO orders VALUES (:id, :shop)", [{"id": n, "shop": f"shop {n % 2}"} for n in range(1, 8)]
        )
        yield made


def test_rows_are_fetched_piece_by_piece_and_go_on(shop: SQLAlchemyConnector) -> None:
    ask = "SELECT id FROM orders WHERE shop = :shop ORDER BY id"
    assert shop.fetch_one(ask, {"shop": "shop 1"}) == (1,)
    assert shop.fetch_many(ask, {"shop": "shop 1"}, size=2) == [(3,), (5,)]
    assert shop.fetch_one(ask, {"shop": "shop 0"}) == (2,)
    assert shop.fetch_all(ask, {"shop": "shop 1"}) == [(7,)]
    assert (shop.fetch_one(ask, {"shop": "shop 1"}), shop.fetch_many(ask, {"shop": "shop 1"})) == (None, [])
    shop.reset_cursors()
    assert shop.fetch_one(ask, {"shop": "shop 1"}) == (1,)


def test_statements_tell_what_they_changed_and_go_whole_or_not_at_all(shop: SQLAlchemyConnector) -> None:
    assert shop.execute("UPDATE orders SET shop = :to WHERE id < 3", {"to": "x"}) == 2
    assert shop.execute(text("DELETE FROM orders WHERE id = 7")) == 1
    with pytest.raises(SQLAlchemyError):
        shop.execute_many("INSERT INTO orders VALUES (:id, 'y')", [{"id": 100}, {"id": 1}])
    assert shop.execute_many("INSERT INTO orders VALUES (:id, 'y')", []) == 0
    assert shop.fetch_one("SELECT count(*) FROM orders") == (6,)
    with pytest.raises(Invalid, match="use execute"):
        shop.fetch_all("DELETE FROM orders WHERE id = 0")


def test_a_connection_commits_at_the_end_of_its_with(shop: SQLAlchemyConnector) -> None:
    with shop.get_connection() as connection:
        connection.execute(text("DELETE FROM orders"))
    with shop.get_connection(begin=False) as connection:
        connection.execute(text("INSERT INTO orders VALUES (1, 'x')"))
    assert shop.fetch_one("SELECT count(*) FROM orders") == (0,)
    with shop.get_engine().connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


def test_it_opens_again_after_it_was_closed(shop: SQLAlchemyConnector) -> None:
    shop.fetch_one("SELECT id FROM orders")
    shop.close()
    assert shop.fetch_one("SELECT count(*) FROM orders") == (7,)


def test_an_address_in_parts_is_saved_and_loaded(quick: Book, address: str) -> None:
    url = make_url(address)
    parts = ConnectionComponents(
        driver=url.drivername,
        database=url.database,
        username=url.username,
        password=SecretStr(str(url.password)) if url.password else None,
        host=url.host,
        port=url.port,
    )
    SqlAlchemyConnector(connection_info=parts, fetch_size=3).save("shop")
    SQLAlchemyConnector(connection_info=SecretStr(address)).save("whole")
    for name in ("shop", "whole"):
        with SQLAlchemyConnector.load(name) as found:
            assert found.fetch_one("SELECT 1 + 1") == (2,)
            assert isinstance(found, Block)
            assert url.password is None or str(url.password) not in repr(found)


def test_the_plain_address_of_postgresql_means_psycopg_3() -> None:
    made = SQLAlchemyConnector(connection_info=SecretStr("postgresql://u:p@h/d"))
    assert made.url().drivername == "postgresql+psycopg"
    assert made.url().password == "p"


def test_no_address_is_refused_without_showing_it() -> None:
    with pytest.raises(ValidationError, match="give an address such as") as caught:
        SQLAlchemyConnector(connection_info=SecretStr("planted-no-address"))
    assert "planted" not in str(caught.value)

"""The examples run as they are, against a database that is really there."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from tocsin.flows import ledger
from tocsin.flows.deployments import Deployment
from tocsin.flows.entrypoint import load
from tocsin.flows.runs import list_runs
from tocsin.store.engine import Store

EXAMPLES = Path(__file__).parents[2] / "examples"
DAY = "2024-01-15"
BAD = ((None, 1, 5), (101, None, 5), (102, 1, -5))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def orders(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An orders database: 18 good rows and 3 bad ones (14.3 %) on DAY, one row of the day after."""
    url = f"sqlite:///{tmp_path / 'orders.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url").replace("postgresql://", "postgresql+psycopg://")
    monkeypatch.setenv("ORDERS_DATABASE_URL", url)
    engine = create_engine(url)
    columns = "order_id BIGINT, customer_id BIGINT, amount NUMERIC(12, 2), status VARCHAR(40), created_at TIMESTAMP"
    rows = [(number, number % 3, 5 * number) for number in range(1, 19)]
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE orders ({columns})"))
        connection.execute(text("CREATE TABLE customers (customer_id BIGINT, tier VARCHAR(40), segment VARCHAR(40))"))
        connection.execute(text("INSERT INTO customers VALUES (1, 'gold', 'home'), (2, 'silver', 'work')"))
        for order, customer, amount in (*rows, *BAD):
            _insert(connection, order, customer, amount, f"{DAY} 00:00:00")
        _insert(connection, 999, 1, 7, "2024-01-16 00:00:00")
    yield engine
    engine.dispose()


@pytest.fixture
def store() -> Store:
    """The store that flows of this process write to."""
    return ledger.local().store


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    ledger.close()


@pytest.fixture
def etl() -> ModuleType:
    return module("daily_order_etl")


def module(name: str) -> ModuleType:
    load(f"{EXAMPLES / name}.py:{name}")
    return sys.modules[name]


def test_a_day_with_too_many_bad_rows_fails_and_keeps_them(orders: Engine, etl: ModuleType, store: Store) -> None:
    with pytest.raises(ValueError, match=r"Data quality issue: 14\.3% of records removed"):
        etl.daily_order_etl(DAY)
    assert count(orders, etl.staging_table(DAY)) == 21
    with store.read() as session:
        (run,) = list_runs(session, flow_name="daily-order-etl")
    assert (run.state_name, (run.fault or {})["type"]) == ("Failed", "ValueError")


def test_a_repaired_day_is_loaded_once_however_often_it_is_run(orders: Engine, etl: ModuleType) -> None:
    delete_bad_rows(orders, "orders")
    assert etl.daily_order_etl(DAY) == {"loaded_count": 18, "target_table": "orders_fact"}
    assert etl.daily_order_etl(f"{DAY}T06:00:00Z") == {"loaded_count": 18, "target_table": "orders_fact"}
    with orders.begin() as connection:
        tiers = connection.execute(text("SELECT tier, count(*) FROM orders_fact GROUP BY tier ORDER BY tier")).all()
        buckets = connection.execute(text("SELECT DISTINCT amount_bucket FROM orders_fact ORDER BY 1")).scalars().all()
    assert [tuple(row) for row in tiers] == [("gold", 6), ("silver", 6), ("unknown", 6)]
    assert list(buckets) == ["micro", "small"]


def test_few_bad_rows_are_left_out(orders: Engine, etl: ModuleType) -> None:
    with orders.begin() as connection:
        connection.execute(text("DELETE FROM orders WHERE customer_id IS NULL OR order_id IS NULL"))
    assert etl.daily_order_etl(DAY)["loaded_count"] == 18


def test_the_dashboard_sums_the_loaded_orders_up(orders: Engine, etl: ModuleType) -> None:
    delete_bad_rows(orders, "orders")
    etl.daily_order_etl(DAY)
    refresh = module("refresh_dashboard").refresh_dashboard
    assert refresh() == refresh() == {"days": 1, "orders": 18, "revenue": 855.0}
    assert count(orders, "orders_dashboard") == 3


@pytest.fixture
def events(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A database with a good table, an empty one, and one whose name a careless LIKE would find."""
    monkeypatch.setenv("EVENTS_DATABASE_URL", postgres_url)
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE events_views AS SELECT n, 2 * n AS m FROM generate_series(1, 9) AS n"))
        connection.execute(text("CREATE TABLE events_empty (n int)"))
        connection.execute(text("CREATE TABLE eventsx (n int)"))
    yield engine
    engine.dispose()


@pytest.mark.postgres
def test_every_table_that_is_there_is_extracted_and_validated(events: Engine, tmp_path: Path) -> None:
    pipeline = module("dynamic_table_pipeline").dynamic_table_pipeline
    folder = tmp_path / "not" / "there" / "yet"
    assert pipeline(str(folder)) == {
        "total_tables": 2,
        "valid_tables": 2,
        "validity_rate": 1.0,
        "details": [
            {"table": "events_empty", "row_count": 0, "null_rate": 0.0, "duplicate_rate": 0.0, "is_valid": True},
            {"table": "events_views", "row_count": 9, "null_rate": 0.0, "duplicate_rate": 0.0, "is_valid": True},
        ],
    }
    assert sorted(file.name for file in folder.iterdir()) == ["events_empty.parquet", "events_views.parquet"]


@pytest.mark.postgres
def test_tables_that_are_not_valid_are_named(events: Engine, tmp_path: Path) -> None:
    with events.begin() as connection:
        connection.execute(text("UPDATE events_views SET m = NULL WHERE n > 5"))
    with pytest.raises(ValueError, match=r"50\.0% valid; not: events_views$"):
        module("dynamic_table_pipeline").dynamic_table_pipeline(str(tmp_path))


def test_all_can_be_deployed(store: Store) -> None:
    for name in ("daily_order_etl", "refresh_dashboard", "dynamic_table_pipeline"):
        flow = getattr(module(name), name)
        row = Deployment.build_from_flow(flow, name=flow.name).apply(store)
        assert load(row.entrypoint, row.path).name == flow.name


def delete_bad_rows(orders: Engine, table: str) -> None:
    with orders.begin() as connection:
        connection.execute(text(f"DELETE FROM {table} WHERE customer_id IS NULL OR order_id IS NULL OR amount <= 0"))


def count(orders: Engine, table: str) -> int:
    with orders.begin() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def _insert(connection: Any, order: int | None, customer: int | None, amount: int, at: str) -> None:
    statement = text("INSERT INTO orders VALUES (:order, :customer, :amount, 'paid', :at)")
    connection.execute(statement, {"order": order, "customer": customer, "amount": amount, "at": at})

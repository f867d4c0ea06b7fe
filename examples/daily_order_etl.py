"""Daily orders: extract, validate, transform, load, tell.

By hand, against any SQLite or PostgreSQL database with the tables `orders` (order_id, customer_id, amount, status,
created_at) and `customers` (customer_id, tier, segment); `orders_fact` is made when it is missing:

    export ORDERS_DATABASE_URL=sqlite:////tmp/orders.db
    python examples/daily_order_etl.py 2024-01-15           # run it for a day
    python examples/daily_order_etl.py --deploy             # deploy it: every day at 06:00 UTC
    tocsin deployment run daily-order-etl                   # have a worker run it

It does what a well known tutorial's pipeline does, corrected where that one breaks:

- the address comes from the environment, not from the source; SQL takes bound parameters, not pieces of text;
- SQLAlchemy 2: `engine.begin()` and `text()`, where `engine.execute` no longer exists;
- one staging table a day, where all runs shared one and overwrote each other; it stays until the day is extracted
  anew, so a load that is repeated finds its rows;
- a real upsert that names its columns, where `SELECT *` tied two tables to one column order;
- tasks hand on a small reference, not the rows: a retry resumes behind the tasks that were done, and whoever repairs
  the staged rows in between repairs what the retry reads;
- bad data is not tried again by itself: the same rows would be as bad ten seconds later. Lost connections are.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TypedDict

from sqlalchemy import Engine, create_engine, text

from tocsin.flows import flow, get_run_logger, task
from tocsin.flows.deployments import Deployment

TOLERATED = 0.1
"""The share of a day's rows that validation may remove before something is wrong with the day."""

FACT_COLUMNS = "order_id, customer_id, amount, status, tier, segment, order_date, amount_bucket"


class Staged(TypedDict):
    """Where a day's rows are, and how many: all that tasks hand to each other."""

    day: str
    table: str
    rows: int


class Loaded(TypedDict):
    """What reached the warehouse."""

    loaded_count: int
    target_table: str


@contextmanager
def warehouse() -> Iterator[Engine]:
    """The database of `ORDERS_DATABASE_URL`, let go of at the end."""
    url = os.environ.get("ORDERS_DATABASE_URL")
    if not url:
        raise ValueError("ORDERS_DATABASE_URL is not set; for example sqlite:////tmp/orders.db")
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def staging_table(day: str) -> str:
    """The table that holds the rows of `day` (YYYY-MM-DD) while they are worked on."""
    return f"orders_staging_{date.fromisoformat(day):%Y_%m_%d}"


@task(name="extract-orders", retries=3, retry_delay_seconds=10, log_prints=True)
def extract_orders(day: str) -> Staged:
    """Copy the day's orders into a staging table of their own."""
    table = staging_table(day)
    next_day = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    with warehouse() as engine, engine.begin() as connection:
        connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        connection.execute(text(_CREATE_STAGING.format(table=table)))
        copied = connection.execute(text(_STAGE.format(table=table)), {"start": day, "end": next_day}).rowcount
    print(f"Extracted {copied} orders for {day}")
    return {"day": day, "table": table, "rows": copied}


@task(name="validate-raw-data")
def validate_raw_data(staged: Staged) -> Staged:
    """Remove nulls, amounts that are not positive, and duplicates from the staged rows, if these are few.

    Raises ValueError and removes nothing when they are more than a tenth: then the day is bad, not a row.
    """
    table = staged["table"]
    with warehouse() as engine, engine.begin() as connection:
        before = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        good = connection.execute(text(f"SELECT count(*) FROM ({_GOOD.format(table=table)}) AS good")).scalar_one()
        rate = (before - good) / before if before else 0.0
        if rate > TOLERATED:
            raise ValueError(f"Data quality issue: {rate:.1%} of records removed during validation")
        connection.execute(text(f"DELETE FROM {table} WHERE row_number NOT IN ({_GOOD.format(table=table)})"))
    get_run_logger().info("Validation passed: %s of %s rows kept", good, before)
    return {**staged, "rows": good}


@task(name="transform-orders", retries=2, retry_delay_seconds=30)
def transform_orders(staged: Staged) -> Staged:
    """Add each customer's tier and segment, the date, and the bucket that the amount falls into."""
    with warehouse() as engine, engine.begin() as connection:
        connection.execute(text(_ENRICH.format(table=staged["table"])), {"day": staged["day"]})
    get_run_logger().info("Transformed %s orders", staged["rows"])
    return staged


@task(name="load-to-warehouse", retries=3, retry_delay_seconds=60)
def load_to_warehouse(staged: Staged, target_table: str) -> Loaded:
    """Upsert the staged rows; loading the same day again changes nothing."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", target_table):
        raise ValueError(f"{target_table!r} is no table name")
    with warehouse() as engine, engine.begin() as connection:
        connection.execute(text(_CREATE_FACT.format(target=target_table)))
        upsert = _UPSERT.format(target=target_table, table=staged["table"])
        loaded = connection.execute(text(upsert)).rowcount
    get_run_logger().info("Loaded %s records to %s", loaded, target_table)
    return {"loaded_count": loaded, "target_table": target_table}


@task(name="send-notification")
def send_notification(message: str, severity: str = "info") -> None:
    """Say that it is done; telling people is the automations' work."""
    get_run_logger().info("Notification [%s]: %s", severity, message)


@flow(
    name="daily-order-etl",
    description="Daily order extraction, transformation, and warehouse load",
    log_prints=True,
)
def daily_order_etl(execution_date: str | None = None) -> Loaded:
    """Extract, validate, transform and load one day (YYYY-MM-DD, or an instant of it; default: today in UTC)."""
    day = date.fromisoformat((execution_date or datetime.now(UTC).isoformat())[:10]).isoformat()
    print(f"Starting daily order ETL for {day}")
    staged = extract_orders(day)
    validated = validate_raw_data(staged)
    transformed = transform_orders(validated)
    loaded = load_to_warehouse(transformed, "orders_fact")
    send_notification(f"ETL completed for {day}: {loaded['loaded_count']} records loaded")
    return loaded


_CREATE_STAGING = """
CREATE TABLE {table} (
    row_number INTEGER PRIMARY KEY, order_id BIGINT, customer_id BIGINT, amount NUMERIC(12, 2), status VARCHAR(40),
    created_at TIMESTAMP, tier VARCHAR(40), segment VARCHAR(40), order_date VARCHAR(10), amount_bucket VARCHAR(10)
)
"""

_STAGE = """
INSERT INTO {table} (row_number, order_id, customer_id, amount, status, created_at)
SELECT row_number() OVER (ORDER BY created_at, order_id), order_id, customer_id, amount, status, created_at
FROM orders WHERE created_at >= :start AND created_at < :end
"""

# One row an order, the first that is whole.
_GOOD = """
SELECT min(row_number) FROM {table}
WHERE order_id IS NOT NULL AND customer_id IS NOT NULL AND amount > 0
GROUP BY order_id
"""

_ENRICH = """
UPDATE {table} SET
    tier = coalesce((SELECT tier FROM customers WHERE customers.customer_id = {table}.customer_id), 'unknown'),
    segment = (SELECT segment FROM customers WHERE customers.customer_id = {table}.customer_id),
    order_date = :day,
    amount_bucket = CASE WHEN amount <= 10 THEN 'micro' WHEN amount <= 100 THEN 'small'
                         WHEN amount <= 1000 THEN 'medium' ELSE 'large' END
"""

_CREATE_FACT = """
CREATE TABLE IF NOT EXISTS {target} (
    order_id BIGINT PRIMARY KEY, customer_id BIGINT NOT NULL, amount NUMERIC(12, 2) NOT NULL, status VARCHAR(40),
    tier VARCHAR(40), segment VARCHAR(40), order_date VARCHAR(10), amount_bucket VARCHAR(10)
)
"""

# `WHERE true`: SQLite reads ON CONFLICT after a bare SELECT as a join.
_UPSERT = f"""
INSERT INTO {{target}} ({FACT_COLUMNS})
SELECT {FACT_COLUMNS} FROM {{table}} WHERE true
ON CONFLICT (order_id) DO UPDATE SET
    customer_id = excluded.customer_id, amount = excluded.amount, status = excluded.status, tier = excluded.tier,
    segment = excluded.segment, order_date = excluded.order_date, amount_bucket = excluded.amount_bucket
"""


if __name__ == "__main__":
    if "--deploy" in sys.argv:
        every_morning = Deployment.build_from_flow(
            daily_order_etl,
            name="daily-order-etl",
            schedule={"cron": "0 6 * * *", "timezone": "UTC"},
            parameters={"execution_date": "{{ data_interval_end }}"},  # the day of the tick, however late it runs
        )
        print(every_morning.apply().name)
    else:
        print(daily_order_etl(*sys.argv[1:]))

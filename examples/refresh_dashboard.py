"""The dashboard behind the orders: totals a day and tier, made anew from `orders_fact`.

By hand, after `daily_order_etl.py` has loaded a day:

    export ORDERS_DATABASE_URL=sqlite:////tmp/orders.db
    python examples/refresh_dashboard.py

It has no schedule: an automation runs it whenever the orders have been loaded, so it is neither early nor late.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict

from sqlalchemy import Engine, create_engine, text

from tocsin.flows import flow, get_run_logger, task


class Summary(TypedDict):
    """What the dashboard shows at its top."""

    days: int
    orders: int
    revenue: float


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


@task(name="rebuild-dashboard", retries=2, retry_delay_seconds=5)
def rebuild_dashboard() -> int:
    """Replace the dashboard's rows in one transaction: readers see the old ones or the new ones. How many there are."""
    with warehouse() as engine, engine.begin() as connection:
        connection.execute(text(_CREATE))
        connection.execute(text("DELETE FROM orders_dashboard"))
        return connection.execute(text(_FILL)).rowcount


@task(name="summarise-orders")
def summarise_orders() -> Summary:
    """Days, orders and revenue over the whole dashboard."""
    with warehouse() as engine, engine.connect() as connection:
        days, orders, revenue = connection.execute(text(_SUMMARY)).one()
    return {"days": int(days), "orders": int(orders or 0), "revenue": round(float(revenue or 0), 2)}


@flow(name="refresh-dashboard", description="Totals a day and tier from the loaded orders")
def refresh_dashboard() -> Summary:
    """Rebuild the dashboard and sum it up."""
    rows = rebuild_dashboard()
    summary = summarise_orders()
    get_run_logger().info("Dashboard of %s rows: %s", rows, summary)
    return summary


_CREATE = """
CREATE TABLE IF NOT EXISTS orders_dashboard (
    order_date VARCHAR(10) NOT NULL, tier VARCHAR(40) NOT NULL, orders INTEGER NOT NULL,
    revenue NUMERIC(14, 2) NOT NULL,
    PRIMARY KEY (order_date, tier)
)
"""

_FILL = """
INSERT INTO orders_dashboard (order_date, tier, orders, revenue)
SELECT order_date, coalesce(tier, 'unknown'), count(*), sum(amount)
FROM orders_fact GROUP BY order_date, coalesce(tier, 'unknown')
"""

_SUMMARY = "SELECT count(DISTINCT order_date), sum(orders), sum(revenue) FROM orders_dashboard"


if __name__ == "__main__":
    print(refresh_dashboard())

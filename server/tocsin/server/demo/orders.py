"""The demo's orders: a day of 700 rows of which 100 are bad, and the repair that somebody does by hand."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from sqlalchemy import create_engine, text

ROWS: Final = 700
BAD_EVERY: Final = 7
DAY: Final = "2024-01-15"
_TIERS: Final = ("gold", "silver", "bronze")

_TABLES: Final = (
    "CREATE TABLE customers (customer_id BIGINT PRIMARY KEY, tier VARCHAR(40), segment VARCHAR(40))",
    "CREATE TABLE orders (order_id BIGINT, customer_id BIGINT, amount NUMERIC(12, 2), status VARCHAR(40),"
    " created_at TIMESTAMP)",
)
_REPAIR: Final = "UPDATE {table} SET amount = 9.99 WHERE amount IS NULL OR amount <= 0"


def make(url: str) -> None:
    """Fill the database at `url` with customers and one day of orders; every seventh order has a bad amount."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in _TABLES:
            connection.execute(text(statement))
        connection.execute(text("INSERT INTO customers VALUES (:customer_id, :tier, :segment)"), list(_customers()))
        columns = "(:order_id, :customer_id, :amount, :status, :created_at)"
        connection.execute(text(f"INSERT INTO orders VALUES {columns}"), list(_orders()))  # noqa: S608 - a constant
    engine.dispose()


def repair(url: str, day: str) -> int:
    """Mend the staged rows of `day` (YYYY-MM-DD); how many were bad."""
    table = f"orders_staging_{day.replace('-', '_')}"
    engine = create_engine(url)
    with engine.begin() as connection:
        mended = connection.execute(text(_REPAIR.format(table=table))).rowcount
    engine.dispose()
    return mended


def _customers() -> Iterator[dict[str, Any]]:  # Any: values of a row
    for number in range(50):
        yield {"customer_id": number, "tier": _TIERS[number % 3], "segment": "web" if number % 2 else "shop"}


def _orders() -> Iterator[dict[str, Any]]:  # Any: values of a row
    draw = Random(7)  # noqa: S311 - the same day at every demo
    midnight = datetime.fromisoformat(DAY)
    for number in range(ROWS):
        good = round(draw.uniform(1, 2_000), 2)
        yield {
            "order_id": number,
            "customer_id": draw.randrange(50),
            "amount": good if number % BAD_EVERY else draw.choice((None, -good)),
            "status": "paid",
            "created_at": (midnight + timedelta(seconds=90 * number)).isoformat(" "),
        }

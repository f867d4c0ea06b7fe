"""Every table that is there: discover, extract, validate side by side, sum up.

By hand, against a PostgreSQL database; tables of its schema `public` whose names begin with `events_` are found:

    export EVENTS_DATABASE_URL=postgresql+psycopg://user:password@host/database
    python examples/dynamic_table_pipeline.py /tmp/raw

It does what a well known tutorial's pipeline does, corrected where that one breaks:

- the address comes from the environment, so no run keeps a password among its parameters;
- SQLAlchemy 2: `connection.execute(text(...))`, where text alone is refused by now;
- `_` in LIKE stands for any character: `events_` would have found `eventsx`, too;
- names of tables are quoted by SQLAlchemy, not pasted into SQL;
- the folder is made when it is missing, and a file is there whole or not at all;
- an empty table is valid and has rates of zero, where it divided by zero; `is_valid` is a bool of Python, not of numpy;
- what a failed task leaves undone says so: `UpstreamFailed` names the table run that failed, and its error.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import pandas as pd
from sqlalchemy import Engine, MetaData, Table, create_engine, select, text

from tocsin.flows import flow, get_run_logger, task

NULLS = 0.1
DUPLICATES = 0.05
"""The shares of missing values and of repeated rows above which a table is not valid."""
VALID = 0.9
"""The share of tables that must be valid."""


class Extracted(TypedDict):
    """A table's rows in a file."""

    table: str
    file: str


class Validation(TypedDict):
    """What was found about one table."""

    table: str
    row_count: int
    null_rate: float
    duplicate_rate: float
    is_valid: bool


class Summary(TypedDict):
    """What was found about all of them."""

    total_tables: int
    valid_tables: int
    validity_rate: float
    details: list[Validation]


@contextmanager
def warehouse() -> Iterator[Engine]:
    """The database of `EVENTS_DATABASE_URL`, let go of at the end."""
    url = os.environ.get("EVENTS_DATABASE_URL")
    if not url:
        raise ValueError("EVENTS_DATABASE_URL is not set; for example postgresql+psycopg://user:password@host/database")
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@task(name="discover-tables")
def discover_tables(prefix: str = "events_") -> list[str]:
    """The tables of the schema `public` whose names begin with `prefix`, in order."""
    query = text(
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = 'public' AND starts_with(table_name, :prefix) ORDER BY table_name"
    )
    with warehouse() as engine, engine.connect() as connection:
        tables = list(connection.execute(query, {"prefix": prefix}).scalars())
    get_run_logger().info("Discovered %s tables: %s", len(tables), tables)
    return tables


@task(name="extract-table", retries=2, retry_delay_seconds=10)
def extract_table(table: str, folder: str) -> Extracted:
    """The rows of one table, in a parquet file of its name."""
    with warehouse() as engine, engine.connect() as connection:
        found = Table(table, MetaData(), autoload_with=connection, schema="public")
        rows = pd.read_sql(select(found), connection)
    Path(folder).mkdir(parents=True, exist_ok=True)
    target = Path(folder, f"{table}.parquet")
    draft = target.with_suffix(f".{os.getpid()}.draft")
    rows.to_parquet(draft, index=False)
    draft.replace(target)
    get_run_logger().info("Extracted %s rows from %s", len(rows), table)
    return {"table": table, "file": str(target)}


@task(name="validate-table")
def validate_table(extracted: Extracted) -> Validation:
    """How much of a table is missing, and how much of it is there twice."""
    rows = pd.read_parquet(extracted["file"])
    nulls = float(rows.isna().to_numpy().mean()) if rows.size else 0.0
    duplicates = float(rows.duplicated().mean()) if len(rows) else 0.0
    valid = nulls < NULLS and duplicates < DUPLICATES
    table = extracted["table"]
    if valid:
        get_run_logger().info("Validation passed for %s", table)
    else:
        get_run_logger().warning("Validation failed for %s: %.1f%% nulls", table, 100 * nulls)
    return {
        "table": table,
        "row_count": len(rows),
        "null_rate": nulls,
        "duplicate_rate": duplicates,
        "is_valid": valid,
    }


@task(name="aggregate-results")
def aggregate_results(validations: list[Validation]) -> Summary:
    """All validations in one; no tables at all are as good as valid ones."""
    total, valid = len(validations), sum(one["is_valid"] for one in validations)
    return {
        "total_tables": total,
        "valid_tables": valid,
        "validity_rate": valid / total if total else 1.0,
        "details": validations,
    }


@flow(name="dynamic-table-pipeline")
def dynamic_table_pipeline(folder: str) -> Summary:
    """Extract and validate every table there is, side by side. Raises ValueError when too many are not valid."""
    tables = discover_tables()
    extracted = extract_table.map(tables, folder)
    validations = validate_table.map(extracted)
    summary = aggregate_results.submit(validations).result()
    get_run_logger().info("Pipeline summary: %s", summary)
    if summary["validity_rate"] < VALID:
        bad = ", ".join(one["table"] for one in summary["details"] if not one["is_valid"])
        raise ValueError(f"Data quality below threshold: {summary['validity_rate']:.1%} valid; not: {bad}")
    return summary


if __name__ == "__main__":
    print(dynamic_table_pipeline(*sys.argv[1:]))

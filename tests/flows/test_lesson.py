"""The lesson's two programs run as they stand, with the engine's name changed, on a PostgreSQL that is really there."""

import ast
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlmodel import select

from tests.flows.lesson import TITLES, Warehouse, cut
from tests.postgres.cluster import Cluster, NoPostgres
from tocsin.events.chain import Cause
from tocsin.events.model import Event
from tocsin.flows.claims import claim
from tocsin.flows.deployments import get_deployment
from tocsin.flows.runs import create_run, get_run, list_runs
from tocsin.flows.tables import LogLine, TaskRun
from tocsin.store.engine import Store
from tocsin.store.log import append

pytestmark = pytest.mark.postgres

ORDERS = """
    CREATE TABLE orders (order_id bigint, customer_id bigint, amount float, status text, created_at timestamp);
    CREATE TABLE customers (customer_id bigint, tier text, segment text);
    CREATE TABLE orders_fact (order_id bigint PRIMARY KEY, customer_id bigint, amount float, status text,
        created_at timestamp, tier text, segment text, order_date date, amount_bucket text);
    INSERT INTO customers VALUES (0, 'gold', 'home'), (1, 'silver', 'work');
    INSERT INTO orders SELECT n, n % 3, n * 60, 'paid', '2024-01-15 08:00' FROM generate_series(1, 20) AS n;
    INSERT INTO orders VALUES (99, 1, 5, 'paid', '2024-01-16 08:00')
"""
FOLDER = Path("/tmp/raw")
"""Where the second program writes; it never makes the folder."""
ETL, DYNAMIC = TITLES
Answer = dict[str, object]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of our own: the lesson says what the role, its password and its database are called."""
    try:
        made = Cluster()
    except NoPostgres as missing:
        pytest.skip(str(missing))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def warehouse(cluster: Cluster, tmp_path: Path) -> Iterator[Warehouse]:
    made = Warehouse(cluster, tmp_path)
    yield made
    made.close()


@pytest.fixture
def opened(home: Path) -> Iterator[Store]:
    """The store that the programs, which are other processes, write to."""
    store = Store.open(create=True)
    yield store
    store.close()


@pytest.fixture
def events(warehouse: Warehouse) -> Iterator[list[str]]:
    """Three tables to be found, of names that no other test has, and one that is none of them."""
    FOLDER.mkdir(exist_ok=True)
    mark = uuid4().hex[:8]
    names = [f"events_{what}_{mark}" for what in ("clicks", "views", "buys")]
    for name in names:
        warehouse.execute(f"CREATE TABLE {name} AS SELECT n AS id, 'e' || n AS what FROM generate_series(1, 40) AS n")
    warehouse.execute("CREATE TABLE others (id int)")
    yield names
    for file in FOLDER.glob(f"events_*{mark}.parquet"):
        file.unlink()


def tasks(store: Store, prefix: str = "") -> list[TaskRun]:
    with store.read() as session:
        return [run for run in session.exec(select(TaskRun)) if run.name.startswith(prefix)]


def states(store: Store, prefix: str = "") -> list[str]:
    return sorted(run.state_name for run in tasks(store, prefix))


def lines(store: Store) -> list[str]:
    with store.read() as session:
        return [line.message for line in session.exec(select(LogLine))]


def quick(program: str) -> str:
    """The program with no time between its tries."""
    return re.sub(r"retry_delay_seconds=\d+", "retry_delay_seconds=0", program)


def test_the_daily_etl_loads_the_day_and_finds_it_again(warehouse: Warehouse, opened: Store) -> None:
    warehouse.execute(*ORDERS.split(";"))
    first = warehouse.run(ETL, cut(TITLES[ETL]))
    assert first.returncode == 0, first.stderr
    assert answer(first.stdout) == {"loaded_count": 20, "target_table": "orders_fact"}
    fact = "SELECT tier, amount_bucket, count(*) FROM orders_fact GROUP BY 1, 2 ORDER BY 1, 2"
    loaded = warehouse.rows(fact)
    assert sum(int(str(row[2])) for row in loaded) == 20
    assert {row[0] for row in loaded} == {"gold", "silver", "unknown"}
    assert {row[1] for row in loaded} == {"small", "medium", "large"}
    assert "Extracted 20 orders for 2024-01-15" in lines(opened), "the module's own logger is heard"

    warehouse.execute("DELETE FROM orders", "UPDATE orders_fact SET amount = 0")
    second = warehouse.run(ETL, cut(TITLES[ETL]))
    assert answer(second.stdout) == answer(first.stdout), second.stderr
    assert warehouse.rows("SELECT sum(amount) FROM orders_fact") == [(60.0 * 210,)], "upserted from the cached rows"
    with opened.read() as session:
        newest, former = list_runs(session, flow_name="daily-order-etl")
    assert (newest.state_name, former.state_name) == ("Completed", "Completed")
    assert states(opened, "extract-orders") == ["Cached", "Completed"]


def test_the_daily_etl_is_deployed_and_runs_for_its_tick(warehouse: Warehouse, opened: Store) -> None:
    warehouse.execute(*ORDERS.split(";"))
    assert warehouse.run(ETL, cut(TITLES[ETL])).returncode == 0
    with opened.read() as session:
        row = get_deployment(session, "daily-schedule")
    (schedule,) = row.schedules
    assert (schedule["cron"], schedule["timezone"], row.work_pool) == ("0 6 * * *", "UTC", "default-agent-pool")
    assert row.parameters == {"execution_date": "{{ data_interval_end }}"}

    at = "2024-01-16T06:00:00Z"
    tick = Event(
        event="tocsin.schedule.tick",
        resource={"tocsin.resource.id": "tocsin.schedule.daily-schedule"},
        payload={"data_interval_end": at},
    )
    now = datetime.now(UTC)
    with opened.begin() as session:
        append(session, [tick])
        run = create_run(session, "daily-schedule", cause=Cause(tick.id), now=now).id
        (taken,) = claim(session, "default-agent-pool", 1, lease="worker:1", worker="w", now=now)
    done = warehouse.python("-m", "tocsin.flows.execute", str(run), str(taken["attempt"]))
    assert done.returncode == 0, done.stderr
    with opened.read() as session:
        ended = get_run(session, run)
    assert (ended.state_name, ended.parameters) == ("Completed", {"execution_date": at})
    assert warehouse.rows("SELECT count(*) FROM orders_fact WHERE order_id = 99") == [(1,)]


def test_a_bad_day_ends_with_the_error_that_names_it(warehouse: Warehouse, opened: Store) -> None:
    warehouse.execute(*ORDERS.split(";"), "UPDATE orders SET amount = -1 WHERE order_id <= 3")
    done = warehouse.run(ETL, quick(cut(TITLES[ETL])))
    assert done.returncode == 1
    assert "ValueError: Data quality issue: 15.0% of records removed during validation" in done.stderr
    with opened.read() as session:
        (run,) = list_runs(session, flow_name="daily-order-etl")
    assert (run.state_name, run.retries, (run.fault or {})["type"]) == ("Failed", 1, "ValueError")
    assert states(opened, "validate") == ["Failed", "Failed"], "once for each try of the flow"
    assert {run.retries for run in tasks(opened, "validate")} == {2}
    assert warehouse.rows("SELECT count(*) FROM orders_fact") == [(0,)]


def test_the_dynamic_pipeline_maps_over_the_tables_side_by_side(
    warehouse: Warehouse, opened: Store, events: list[str]
) -> None:
    with ThreadPoolExecutor(1) as pool, warehouse.engine.begin() as connection:
        connection.execute(text(f"LOCK TABLE {', '.join(events)} IN ACCESS EXCLUSIVE MODE"))
        program = pool.submit(warehouse.run, DYNAMIC, cut(TITLES[DYNAMIC]))
        while not program.done() and warehouse.rows("SELECT count(*) FROM pg_locks WHERE NOT granted") != [(3,)]:
            pass  # until all three wait for their tables at once: each query takes its time
        assert not program.done(), program.result().stderr
        connection.rollback()
        done = program.result()
    assert done.returncode == 0, done.stderr
    summary = answer(done.stdout)
    assert (summary["total_tables"], summary["valid_tables"], summary["validity_rate"]) == (3, 3, 1.0)
    assert states(opened) == ["Completed"] * (1 + 3 + 3 + 1)
    with opened.read() as session:
        (run,) = list_runs(session, flow_name="dynamic-table-pipeline")
    assert run.state_name == "Completed"


def test_one_bad_table_is_named_by_the_flow_that_it_fails(
    warehouse: Warehouse, opened: Store, events: list[str]
) -> None:
    warehouse.execute(f"DELETE FROM {events[0]}")
    done = warehouse.run(DYNAMIC, quick(cut(TITLES[DYNAMIC])))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "UpstreamFailed" in last
    assert 'task "aggregate-results" did not run' in last
    assert "validate-table-" in last
    assert "ZeroDivisionError" in last
    assert states(opened, "validate") == ["Completed"] * 2 + ["Failed"]
    assert states(opened, "aggregate") == ["UpstreamFailed"]


def answer(stdout: str) -> Answer:
    """What the program has printed at its end."""
    found = ast.literal_eval(stdout.strip().splitlines()[-1].replace("np.True_", "True"))
    assert isinstance(found, dict)
    return found

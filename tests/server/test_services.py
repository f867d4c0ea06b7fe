"""What services have in common: a database that is held by somebody else is waited for."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tocsin.automations.host import Host
from tocsin.automations.perform import Performer
from tocsin.events.clock import SystemClock
from tocsin.flows.deployments import Deployment
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.server.adoption import Adoption
from tocsin.server.roles import Serve
from tocsin.server.slack_listening import Listening
from tocsin.server.sweeping import Sweeping
from tocsin.server.tidying import Tidying
from tocsin.store import engine
from tocsin.store.engine import Store
from tocsin.store.logbus import LogBus
from tocsin.triggers.scheduler import Scheduler

CLOCK = SystemClock()
SERVICES: dict[str, Callable[[Store], Serve]] = {
    "adoption": lambda store: Adoption(store, CLOCK).serve,
    "clock": lambda store: Scheduler(store, CLOCK).serve,
    "host": lambda store: Host(store, LogBus(store), clock=CLOCK).serve,
    "performer": lambda store: Performer(store, CLOCK).serve,
    "deliveries": lambda store: Dispatcher(store, CLOCK).serve,
    "slack": lambda store: Listening(store, CLOCK).serve,
    "watchdog": lambda store: Sweeping(store, CLOCK).serve,
    "tidying": lambda store: Tidying(store, CLOCK).serve,
}


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_outlives_a_database_that_another_holds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 0.02)
    store = Store.open(f"sqlite:///{tmp_path / 'tocsin.db'}")
    Deployment(name="etl", entrypoint="a:b", flow_name="etl", schedules=[{"cron": "* * * * *"}]).apply(store)
    holder = sqlite3.connect(tmp_path / "tocsin.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    stop = asyncio.Event()
    serving = asyncio.ensure_future(SERVICES[name](store)(stop))
    done, _ = await asyncio.wait({serving}, timeout=0.3)
    holder.execute("ROLLBACK")
    holder.close()
    stop.set()
    await asyncio.gather(serving, return_exceptions=True)
    store.close()
    assert not done

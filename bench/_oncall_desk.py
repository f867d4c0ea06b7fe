"""What the measurements of `bench/oncall.py` share: stores, notifiers, alerts, figures."""

import os
import resource
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pydantic import SecretStr
from sqlmodel import col, func, select

from tocsin.events.clock import ManualClock
from tocsin.events.ids import uuid7
from tocsin.notifiers.agenda import next_due
from tocsin.notifiers.alert import Alert, ToNotifier, ToRoute
from tocsin.notifiers.blocks import AnyBlock, PagerDuty, Slack, Webhook
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.route import Route
from tocsin.notifiers.routes import put_route
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.notifiers.take import take
from tocsin.store.engine import Store

NOW: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
S: Final = timedelta(seconds=1)
ROUTE: Final = "oncall"
SECRET: Final = "whsec_" + "c3RhbmQtaW4gb2YgdGhlIHdlYmhvb2sgcmVjZWl2ZXI="
KEY: Final = "51a9d0dba7e1f0000c0ffee000000001"
TOKEN: Final = "xoxb-stand-in-0123456789-abcdefghijkl"

Figures = dict[str, Any]  # Any: numbers and objects of numbers, for JSON


@contextmanager
def opened(url: str = "") -> Iterator[Store]:
    """A new store: SQLite in a folder that goes away, or an empty PostgreSQL database."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TOCSIN_HOME"] = folder
        store = Store.open(url or f"sqlite:///{Path(folder) / 'tocsin.db'}", create=True)
        try:
            yield store
        finally:
            store.close()


def furnish(store: Store, blocks: Sequence[AnyBlock], *routes: Route, now: datetime = NOW) -> None:
    """Put notifiers and routes on record."""
    with store.begin() as session:
        for block in blocks:
            put_notifier(session, block)
        for route in routes:
            put_route(session, route, now)


def slack(address: str, channel: str = "C0STANDIN01", name: str = "slack") -> Slack:
    """A Slack channel at the stand-in."""
    return Slack(name=name, token=SecretStr(TOKEN), channel=channel, api_url=f"{address}/api/")


def pager(address: str, name: str = "pager", per_minute: int = 10_000) -> PagerDuty:
    """A PagerDuty service at the stand-in."""
    return PagerDuty(name=name, routing_key=SecretStr(KEY), url=address, per_minute=per_minute)


def webhook(address: str, name: str = "webhook") -> Webhook:
    """A webhook at the stand-in."""
    host = address.removeprefix("http://")
    return Webhook(name=name, url=SecretStr(f"{address}/hooks/tocsin"), secret=SecretStr(SECRET), allow_private=(host,))


def alert(number: int, group: str = "", *, to: str = "", over: bool = False, at: datetime = NOW) -> Alert:
    """Alert `number` of a group of hosts: ten labels, as monitoring has them; to the route, or to the notifier `to`."""
    labels = {
        "alertname": "HostLate",
        "automation": "HostLate",
        "severity": "error",
        "group": group,
        "host": f"host-{number}.example.org",
        "rack": f"rack-{number % 40}",
        "zone": "eu-1",
        "env": "production",
        "job": "node",
        "tocsin.resource.id": f"acme.host.{number}",
    }
    return Alert(
        source=f"HostLate/{number}",
        identity=f"HostLate/{number}",
        to=ToNotifier(to) if to else ToRoute(ROUTE),
        subject=f"host-{number}.example.org is late",
        event_id=UUID(int=2 * number + over),
        at=at,
        status="resolved" if over else "firing",
        labels=labels,
    )


def open_incidents(store: Store, numbers: range, to: str, now: datetime = NOW, *, graver: bool = False) -> None:
    """An incident for each, in batches; a second time each gets worse."""
    for start in range(0, len(numbers), 1_000):
        batch = [alert(number, to=to, at=now) for number in numbers[start : start + 1_000]]
        if graver:
            batch = [_graver(one) for one in batch]
        with store.begin() as session:
            take(session, batch, now)


def _graver(one: Any) -> Any:  # Any: an alert
    fields = {name: getattr(one, name) for name in one.__struct_fields__}
    return type(one)(**{**fields, "severity": "critical", "event_id": uuid7()})


def counted(store: Store, table: type[Incident] | type[Delivery], column: str, *where: Any) -> dict[str, int]:
    """How many rows there are of each value of a column. Any: conditions."""
    of = col(getattr(table, column))
    with store.read() as session:
        return {str(name): count for name, count in session.exec(select(of, func.count()).where(*where).group_by(of))}


async def simulated(store: Store, clock: ManualClock, span: timedelta) -> None:
    """A dispatcher works for `span` of simulated time: the clock goes from one due time to the next."""
    dispatcher, until = Dispatcher(store, clock, jitter=lambda: 0.5), clock.now() + span
    while True:
        await dispatcher.run_due()
        now = clock.now()
        with store.read() as session:
            due = next_due(session, now)
        if due is None or due > until:
            break
        clock.set(due)
    clock.set(until)
    await dispatcher.run_due()
    await dispatcher.close()


def spread_ms(seconds: Sequence[float]) -> Figures:
    """Median, 99th of a hundred, and the most, in milliseconds."""
    ordered = sorted(1_000 * one for one in seconds)
    cuts = statistics.quantiles(ordered, n=100, method="inclusive")
    return {"p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1), "max_ms": round(ordered[-1], 1)}


def peak_mb() -> int:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024


def cpu_s() -> float:
    """Processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

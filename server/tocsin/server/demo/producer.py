"""The people outside: somebody who is paged, repairs the data, and a system of theirs that reports it over HTTP."""

import asyncio
import json
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlmodel import Session, col, select

from tocsin.notifiers.tables import Delivery
from tocsin.server.demo import orders
from tocsin.server.demo.facts import REPORT
from tocsin.server.demo.rules import DAY, PAGER
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry

_LOOK: Final = timedelta(seconds=1)

Report = Callable[[bytes], None]


async def paged(store: Store) -> UUID:
    """The run whose data are bad, as soon as PagerDuty has been told of it."""
    with store.watch("deliveries", "runs", "log") as watch:
        while not (run := await store.look(_told_of)):
            await watch.wait(_LOOK)
    return run


async def repair_and_report(store: Store, database: str, report: Report) -> None:
    """Wait for the page, repair the staged orders, then report that they are, naming the run."""
    run = await paged(store)
    mended = await asyncio.to_thread(orders.repair, database, DAY)
    await asyncio.to_thread(report, json.dumps(event(run, mended)).encode())


def event(run: UUID, mended: int) -> dict[str, object]:
    """What the repair says, in the words of somebody who knows only the schema of events."""
    return {
        "event": REPORT,
        "resource": {"tocsin.resource.id": f"orders/{DAY}"},
        "related": [{"tocsin.resource.id": f"tocsin.flow-run.{run}", "tocsin.resource.role": "flow-run"}],
        "payload": {"rows": mended},
    }


def over_http(url: str) -> Report:
    """Reports by `POST /api/events` of the server at `url`, as any program on any machine would."""

    def report(body: bytes) -> None:
        request = urllib.request.Request(f"{url}/api/events", body, {"content-type": "application/json"}, method="POST")  # noqa: S310 - http
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310 - http
            return

    return report


def _told_of(session: Session) -> UUID | None:
    told = select(Delivery.id).where(Delivery.receiver == PAGER, Delivery.state == "delivered")
    if session.exec(told).first() is None:
        return None
    failed = select(LogEntry.key).where(LogEntry.event == "tocsin.flow-run.Failed")
    key = session.exec(failed.order_by(col(LogEntry.seq))).first()
    return UUID(key.removeprefix("tocsin.flow-run.")) if key else None

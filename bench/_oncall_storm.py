"""Storms: 100,000 alerts in 100 groups, in one, and from events through rules; 20,000 groups into one Slack channel."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import make_url
from sqlmodel import select

from bench._oncall_desk import (
    NOW,
    ROUTE,
    Figures,
    S,
    alert,
    counted,
    cpu_s,
    furnish,
    opened,
    pager,
    peak_mb,
    simulated,
    slack,
    webhook,
)
from tocsin.automations.actions import SendNotification
from tocsin.automations.host import Host
from tocsin.automations.model import Automation
from tocsin.automations.store import apply
from tocsin.events.clock import ManualClock
from tocsin.events.ids import uuid7
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.notifiers.alert import Alert
from tocsin.notifiers.route import Route
from tocsin.notifiers.standins import PagerDutyStandIn, SlackStandIn, WebhookStandIn
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.notifiers.take import take
from tocsin.notifiers.view import view_from_json
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.logbus import LogBus
from tocsin.triggers.event import EventTrigger

BATCH: Final = 1_000


def storm(url: str, alerts: int, groups: int) -> Figures:
    """So many alerts, in batches of a thousand, into `groups` incidents; then 61 simulated seconds of telling them."""
    with PagerDutyStandIn() as sink, opened(url) as store:
        furnish(store, [pager(sink.url)], _route("pager", ("group",)))
        taken = [alert(number, f"g{number % groups}") for number in range(alerts)]
        floor = _floor(store, taken)
        seconds, burnt = _take_all(store, taken)
        clock = ManualClock(NOW)
        asyncio.run(simulated(store, clock, 61 * S))
        calls = Counter(call["event_action"] for call in sink.calls)
        with store.read() as session:
            firing = sum(session.exec(select(Incident.firing)).all())
    return {
        "alerts": alerts,
        "groups": groups,
        "per_s": round(alerts / seconds),
        "cpu_us": round(1e6 * burnt / alerts, 1),
        "floor_per_s": round(alerts / floor),
        "triggers": calls["trigger"],
        "other_calls": calls.total() - calls["trigger"],
        "storm_digests": len({call["dedup_key"] for call in sink.calls}) - min(20, groups),
        "counted": firing - max(0, groups - 20),
        "violations": len(sink.violations),
        "peak_mb": peak_mb(),
    }


def told(url: str, alerts: int, groups: int) -> Figures:
    """The same to a webhook that takes updates and is never in a storm: one trigger a group, at most one update."""
    with WebhookStandIn() as sink, opened(url) as store:
        block = webhook(sink.address).model_copy(update={"storm": None})
        furnish(store, [block], _route("webhook", ("group",)))
        clock = ManualClock(NOW)
        taken = [alert(number, f"g{number % groups}") for number in range(alerts)]
        _take_all(store, taken[: alerts // 2])
        asyncio.run(simulated(store, clock, 61 * S))
        _take_all(store, taken[alerts // 2 :], clock.now())
        asyncio.run(simulated(store, clock, 600 * S))
        types = Counter(message["type"] for message in sink.messages)
    return {"triggers": types["incident.opened"], "updates": types["incident.updated"], "repeats": len(sink.repeats)}


def group(alerts: int) -> Figures:
    """So many alerts in one incident: one message for each channel, inside its limits, and the counts are exact."""
    with SlackStandIn() as chat, PagerDutyStandIn() as calls, WebhookStandIn() as posts, opened() as store:
        furnish(
            store,
            [slack(chat.address), pager(calls.url), webhook(posts.address)],
            Route(name=ROUTE, receivers=("slack", "pager", "webhook"), group_by=("alertname",)),
        )
        seconds, _ = _take_all(store, [alert(number, "one") for number in range(alerts)])
        begun = time.monotonic()
        asyncio.run(simulated(store, ManualClock(NOW), 61 * S))
        with store.read() as session:
            firing = session.exec(select(Incident.firing)).one()
            totals = {view_from_json(dict(view)).total for view in session.exec(select(Delivery.view))}
        size = len(str(posts.messages[0]))
    return {
        "alerts": alerts,
        "per_s": round(alerts / seconds),
        "told_s": round(time.monotonic() - begun, 2),
        "messages": [len(chat.messages), len(calls.calls), len(posts.messages)],
        "counted": firing,
        "told": sorted(totals),
        "violations": len(chat.violations) + len(calls.violations) + len(posts.violations),
        "webhook_bytes": size,
    }


def limited(groups: int) -> Figures:
    """So many incidents at once into one Slack channel that takes one message a second; a simulated minute, the end."""
    clock = ManualClock(NOW)
    with SlackStandIn() as chat, opened() as store:
        chat.limits.on, chat.limits.now = True, lambda: clock.now().timestamp()
        furnish(store, [slack(chat.address)], _route("slack", ("...",), wait=0))
        seconds, _ = _take_all(store, [alert(number, "one") for number in range(groups)])
        asyncio.run(simulated(store, clock, 60 * S))
        first = {"requests": chat.requests, "messages": len(chat.messages), "429": chat.limits.refused}
        digests = [row for row in _rows(store, Incident) if row.route == "storm"]
        alone = {row.incident_id for row in _rows(store, Delivery) if row.state == "delivered"}
        speaks = sum(bool(row.storms) or row.id in alone for row in _rows(store, Incident))
        over = [alert(number, "one", over=True, at=clock.now()) for number in range(groups)]
        ended, _ = _take_all(store, over, clock.now())
        asyncio.run(simulated(store, clock, 600 * S))
        states = counted(store, Incident, "state")
    return {
        "groups": groups,
        "opened_per_s": round(groups / seconds),
        "ended_per_s": round(groups / ended),
        "first_minute": first,
        "digests": len(digests),
        "digest_counts": [row.firing for row in digests],
        "lost": groups + len(digests) - speaks,
        "at_the_end": {"states": states, "429": chat.limits.refused, "violations": len(chat.violations)},
        "not_told_of_the_end": sum(not message.text.startswith("✅") for message in chat.messages),
    }


def events(count: int, groups: int) -> Figures:
    """Events on the log until their alerts are in incidents: fetched, matched by a rule, fired, put down, durable."""
    with opened() as store:
        furnish(store, [pager("http://127.0.0.1:9")], _route("pager", ("group",)), now=datetime.now(UTC))
        with store.begin() as session:
            apply(session, [_rule()], datetime.now(UTC))
        asyncio.run(_drained(store))  # the events of the apply itself
        _fill(store, count, groups)
        begun, burnt = time.monotonic(), cpu_s()
        asyncio.run(_drained(store))
        seconds = time.monotonic() - begun
        with store.read() as session:
            firing = sum(session.exec(select(Incident.firing)).all())
            incidents = len(session.exec(select(Incident.id)).all())
    return {
        "events": count,
        "per_s": round(count / seconds),
        "cpu_us": round(1e6 * (cpu_s() - burnt) / count, 1),
        "alerts": firing,
        "incidents": incidents,
    }


def _route(receiver: str, by: tuple[str, ...], wait: float = 30) -> Route:
    return Route(name=ROUTE, receivers=(receiver,), group_by=by, group_wait=wait * S, resolve_wait=wait * S)


def _take_all(store: Store, alerts: Sequence[Alert], now: datetime = NOW) -> tuple[float, float]:
    """Seconds, and seconds of processor time, to take them."""
    begun, burnt = time.monotonic(), cpu_s()
    for start in range(0, len(alerts), BATCH):
        with store.begin() as session:
            take(session, alerts[start : start + BATCH], now)
    return time.monotonic() - begun, cpu_s() - burnt


def _floor(store: Store, alerts: Sequence[Alert]) -> float:
    """Seconds for the bare driver to write the same texts under the same keys, a transaction a thousand."""
    rows = [
        (one.fingerprint.bytes, one.fingerprint.bytes, one.identity, one.source, one.subject, str(one.labels), "", 0)
        for one in alerts
    ]
    if store.dialect == "sqlite":
        return _floor_sqlite(Path(str(store.engine.url.database)).with_name("floor.db"), rows)
    return _floor_postgresql(store.engine.url.render_as_string(hide_password=False), rows)


_COLUMNS: Final = "(a {0}, b {0}, c text, d text, e text, f text, g text, h int, PRIMARY KEY (a, b))"


def _floor_sqlite(file: Path, rows: Sequence[tuple[Any, ...]]) -> float:  # Any: values of columns
    connection = sqlite3.connect(file, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"CREATE TABLE floor {_COLUMNS.format('blob')}")
    begun = time.monotonic()
    for start in range(0, len(rows), BATCH):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO floor VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows[start : start + BATCH])
        connection.execute("COMMIT")
    seconds = time.monotonic() - begun
    connection.close()
    return seconds


def _floor_postgresql(url: str, rows: Sequence[tuple[Any, ...]]) -> float:  # Any: values of columns
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        connection.execute(f"CREATE TABLE floor {_COLUMNS.format('bytea')}")
        connection.commit()
        begun = time.monotonic()
        for start in range(0, len(rows), BATCH):
            insert = "INSERT INTO floor VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
            connection.cursor().executemany(insert, rows[start : start + BATCH])
            connection.commit()
        return time.monotonic() - begun


def _rows(store: Store, table: Any) -> Iterator[Any]:  # Any: a table of ours, and its rows
    with store.read() as session:
        yield from session.exec(select(table)).all()


def _rule() -> Automation:
    """Each host that is late is an alert, until it is in time."""
    return Automation(
        name="HostLate",
        trigger=EventTrigger(expect=("host.late",), for_each=(RESOURCE_ID,)),
        resolve_on=EventTrigger(expect=("host.in-time",)),
        actions=(SendNotification(route=ROUTE, subject="{{ event.resource.id }} is late"),),
        labels={"group": "{{ event.payload.group }}"},
        rate_limit=None,
    )


def _fill(store: Store, count: int, groups: int) -> None:
    for start in range(0, count, BATCH):
        now = datetime.now(UTC)
        batch = [
            Event(
                id=uuid7(),
                occurred=now,
                event="host.late",
                resource={RESOURCE_ID: f"acme.host.{number}"},
                payload={"group": f"g{number % groups}", "late_s": number % 100},
            )
            for number in range(start, min(start + BATCH, count))
        ]
        with store.begin() as session:
            append(session, batch, now=now)


async def _drained(store: Store) -> None:
    """A host handles all that is on the log."""
    bus = LogBus(store)
    host = Host(store, bus)
    async with bus.subscribe("automations") as subscription:
        while await host.turn(subscription, 0 * S):
            pass

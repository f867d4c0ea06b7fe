"""The demo's program: a whole tocsin in one process, the outside world beside it, and a verdict at the end."""

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from tocsin.events.clock import SystemClock
from tocsin.notifiers.standins import PagerDutyStandIn, SlackStandIn
from tocsin.server.adoption import Adoption
from tocsin.server.demo import orders
from tocsin.server.demo.facts import Facts, gather, missing
from tocsin.server.demo.producer import Report, over_http, repair_and_report
from tocsin.server.demo.rules import apply_rules
from tocsin.server.demo.timeline import show
from tocsin.server.logs import set_up
from tocsin.server.roles import ROLES, Service, run_services, services
from tocsin.server.settings import Settings
from tocsin.server.wiring import Parts, open_parts
from tocsin.store.engine import Store

TIMEOUT: Final = timedelta(seconds=55)
LEAD: Final = timedelta(seconds=2)
_LOOK: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the demo ended. `missing` names what did not happen; `broken` what a channel's contract forbids."""

    seconds: float
    facts: Facts
    slack: dict[str, int]
    pagerduty: dict[str, int]
    missing: list[str]
    broken: list[str]

    @property
    def ok(self) -> bool:
        """Whether all of it happened, and nothing else."""
        return not self.missing and not self.broken

    def summary(self) -> dict[str, Any]:  # Any: nested counts
        """The line that `-o json` ends with."""
        return {
            "ok": self.ok,
            "seconds": round(self.seconds, 1),
            "events": self.facts.events,
            "firings": self.facts.firings,
            "invocations": self.facts.invocations,
            "runs": self.facts.runs,
            "tasks": self.facts.tasks,
            "slack": self.slack,
            "pagerduty": self.pagerduty,
            "lost": self.facts.lost,
            "missing": self.missing + self.broken,
        }


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a demo plays: the settings of its tocsin, its orders, its channels, its clock's beginning."""

    settings: Settings
    orders_url: str
    slack: SlackStandIn
    pagerduty: PagerDutyStandIn
    begun: datetime


async def play(stage: Stage, console: Console) -> Verdict:
    """The whole demo on an empty database: every role in this process, flow runs in processes of their own."""
    async with open_parts(stage.settings) as parts:
        report = over_http(f"http://127.0.0.1:{stage.settings.port}")
        return await story(stage, parts, services(list(ROLES), parts), report, console)


async def story(stage: Stage, parts: Parts, roles: Sequence[Service], report: Report, console: Console) -> Verdict:
    """The main job with these services on this bus; somebody outside repairs, and says so by `report`."""
    started = time.monotonic()
    await prepare(stage, parts.store)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_services(roles, stop))
        group.create_task(show(parts.store, console, stage.begun, stop))
        outside = group.create_task(repair_and_report(parts.store, stage.orders_url, report))
        facts = await until_over(parts.store, TIMEOUT)
        outside.cancel()
        stop.set()
    return judge(stage, facts, time.monotonic() - started)


async def prepare(stage: Stage, store: Store) -> None:
    """Make the orders, apply the rules, put the schedule on the clock; the ETL is due in a moment."""
    orders.make(stage.orders_url)
    clock = SystemClock()
    apply_rules(store, stage.slack, stage.pagerduty, clock.now(), clock.now() + LEAD)
    await Adoption(store, clock).look()


async def until_over(store: Store, timeout: timedelta) -> Facts:
    """The facts as soon as nothing of the story is missing, or as they are after `timeout`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout.total_seconds()
    with store.watch("log", "runs", "invocations", "deliveries") as watch:
        while missing(facts := await store.look(gather)) and loop.time() < end:
            await watch.wait(_LOOK)
    return facts


def judge(stage: Stage, facts: Facts, seconds: float) -> Verdict:
    """The verdict on what the database and the stand-ins have seen."""
    slack, pager = facts.told.get("slack", {}), facts.told.get("pagerduty", {})
    return Verdict(
        seconds=seconds,
        facts=facts,
        slack={"messages": slack.get("trigger", 0), "updates": slack.get("update", 0) + slack.get("resolve", 0)},
        pagerduty={"trigger": pager.get("trigger", 0), "resolve": pager.get("resolve", 0)},
        missing=missing(facts),
        broken=[*stage.slack.violations, *stage.pagerduty.violations],
    )


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A fresh place for one demo below `folder`; the environment of its flow runs is set, and put back."""
    database = f"sqlite:///{folder / 'orders.db'}"
    with (
        SlackStandIn() as slack,
        PagerDutyStandIn() as pagerduty,
        _environment(TOCSIN_HOME=str(folder), ORDERS_DATABASE_URL=database),
    ):
        settings = Settings(home=folder, port=free_port(), log_level="ERROR")
        yield Stage(settings, database, slack, pagerduty, datetime.now(UTC))


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(*, output: str = "text") -> int:
    """Play the demo in a temporary folder; 0 only if all of it happened."""
    json = output == "json"
    console = Console(stderr=json, highlight=False)
    console.print("[bold]tocsin demo[/]: an ETL fails, people are told, it recovers, people are told again\n")
    with tempfile.TemporaryDirectory(prefix="tocsin-demo-") as folder, stage(Path(folder)) as place:
        set_up(place.settings, "demo")
        verdict = asyncio.run(play(place, console))
    console.print(table(verdict))
    if json:
        print(msgspec.json.encode(verdict.summary()).decode())
    return 0 if verdict.ok else 1


def table(verdict: Verdict) -> Table:
    """The summary for people."""
    shown = Table(show_header=False, title_justify="left", title="\nall of it happened" if verdict.ok else "\nNOT ALL")
    for name, value in verdict.summary().items():
        shown.add_row(name, str(value))
    return shown


@contextmanager
def _environment(**names: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

"""Any order of firings, endings, faults and crashes: who was told is told when it is over, once and in order."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import select

from tests.notifiers.desk import Desk, blocks
from tocsin.events.clock import ManualClock
from tocsin.notifiers.audit import violations
from tocsin.notifiers.claims import claim
from tocsin.notifiers.dispatch import LEASE, Dispatcher
from tocsin.notifiers.standins import (
    Fail,
    Fault,
    Hang,
    PagerDutyStandIn,
    RateLimited,
    Reset,
    SlackStandIn,
    WebhookStandIn,
)
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.store.engine import Store

RECEIVERS = ("slack", "pagerduty", "webhook")
KEYS = ("etl", "dashboard")


@dataclass(frozen=True)
class Fire:
    key: str
    receivers: tuple[str, ...]


@dataclass(frozen=True)
class Over:
    key: str


@dataclass(frozen=True)
class Break:
    receiver: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Crash:
    """A dispatcher takes what is due and dies; `sending` says whether its requests had been carried out."""

    sending: bool


@dataclass(frozen=True)
class Run:
    """A dispatcher delivers what is due, after so many seconds."""

    after_s: float


Step = Fire | Over | Break | Crash | Run

faults = st.sampled_from([Fail(500), Fail(503), RateLimited(3), RateLimited(), Reset(), Reset(accept=True)])
fires = st.builds(Fire, st.sampled_from(KEYS), st.permutations(RECEIVERS).map(tuple))
breaks = st.builds(Break, st.sampled_from(RECEIVERS), st.lists(faults, min_size=1, max_size=3).map(tuple))
ends = st.builds(Over, st.sampled_from(KEYS))
runs = st.builds(Run, st.sampled_from([0.0, 0.5, 2.0, 20.0, 60.0]))
crashes = st.builds(Crash, st.booleans())
# An episode as it goes when channels fail, and anything else in between.
episodes = st.tuples(breaks, fires, runs | crashes, ends, runs).map(list)
scripts = st.lists(
    episodes | st.one_of(fires, ends, breaks, crashes, runs).map(lambda step: [step]), min_size=1, max_size=6
).map(lambda parts: [step for part in parts for step in part])


class World:
    """One database, three stand-ins and a clock, on which steps are carried out."""

    def __init__(
        self, folder: Path, slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn
    ) -> None:
        self.store = Store.open(f"sqlite:///{folder / 'tocsin.db'}")  # a copy of the mould
        self.clock = ManualClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
        self.desk = Desk(self.store, self.clock, self.dispatcher())
        self.stand_ins = {"slack": slack, "pagerduty": pagerduty, "webhook": receiver}
        self.desk.put(*blocks(slack, pagerduty, receiver))

    def dispatcher(self) -> Dispatcher:
        return Dispatcher(self.store, self.clock, jitter=lambda: 0.5)

    async def carry_out(self, step: Step) -> None:
        match step:
            case Fire(key, receivers):
                self.desk.fire(*receivers, key=key)
            case Over(key):
                self.desk.over("slack", key=key)
            case Break(receiver, broken):
                self.stand_ins[receiver].fail(*broken)
            case Crash(sending):
                await self.crash(sending)
            case Run(after_s):
                self.desk.pass_time(after_s)
                await self.deliver()

    async def deliver(self) -> None:
        """What is due now, in a dispatcher of its own: it may have been started a moment ago."""
        dispatcher = self.dispatcher()
        await dispatcher.run_due()
        await dispatcher.close()

    async def crash(self, sending: bool) -> None:
        if not sending:
            with self.store.begin() as session:
                claim(session, RECEIVERS, self.clock.now(), LEASE, {}, 64)
            return
        before = {name: stand_in.requests for name, stand_in in self.stand_ins.items()}
        for stand_in in self.stand_ins.values():
            stand_in.fail(*[Hang(accept=True)] * 4)
        doomed = self.dispatcher()
        task = asyncio.create_task(doomed.run_due())
        await asyncio.wait({task}, timeout=0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await doomed.close()
        for name, stand_in in self.stand_ins.items():
            stand_in.heal()
            assert stand_in.requests >= before[name]

    async def heal(self) -> None:
        """Every channel works again, and two days pass in steps."""
        for stand_in in self.stand_ins.values():
            stand_in.heal()
        for _ in range(12):
            self.desk.pass_time(900)
            await self.deliver()


def check(world: World, slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn) -> None:
    with world.store.read() as session:
        incidents = session.exec(select(Incident)).all()
        deliveries = session.exec(select(Delivery)).all()
        assert violations(session, world.clock.now()) == []
    assert {row.state for row in deliveries} <= {"delivered", "superseded"}
    told = {(row.incident_id, row.receiver) for row in deliveries if row.state == "delivered"}
    for incident in incidents:
        over = incident.state == "resolved"
        if not over:
            assert {(incident.id, name) for name in RECEIVERS} <= told
        check_slack(slack, str(incident.id), over, (incident.id, "slack") in told)
        alerts = [alert.state for alert in pagerduty.alerts if alert.dedup_key == incident.dedup_key]
        assert alerts in ([], ["resolved"]) if over else alerts == ["triggered"]
        types = [each["type"] for each in receiver.messages if each["data"]["incident"] == str(incident.id)]
        assert types == sorted(types, key=["incident.opened", "incident.updated", "incident.resolved"].index)
        assert ("incident.resolved" in types) == (over and bool(types))
    for stand_in in (slack, pagerduty, receiver):
        assert stand_in.violations == []


def check_slack(slack: SlackStandIn, incident: str, over: bool, told: bool) -> None:
    messages = [
        message
        for message in slack.messages
        if message.metadata and message.metadata["event_payload"]["incident"] == incident
    ]
    assert len(messages) <= 1
    assert bool(messages) == told
    assert [message.text.startswith("✅") for message in messages] == [over] * len(messages)


@pytest.fixture
def mould(tmp_path: Path) -> Path:
    """A database with every table and nothing in them, to be copied."""
    path = tmp_path / "mould.db"
    Store.open(f"sqlite:///{path}").close()
    return path


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(script=scripts)
def test_the_promises_hold_whatever_happens(script: list[Step], mould: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        SlackStandIn() as slack,
        PagerDutyStandIn() as pagerduty,
        WebhookStandIn() as receiver,
    ):
        shutil.copy(mould, Path(folder) / "tocsin.db")
        world = World(Path(folder), slack, pagerduty, receiver)

        async def play() -> None:
            for step in script:
                await world.carry_out(step)
            await world.heal()

        asyncio.run(play())
        try:
            check(world, slack, pagerduty, receiver)
        finally:
            world.store.close()

"""The main job, for real, on every bus: an ETL fails, people are told, it recovers, people are told again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr
from rich.console import Console
from sqlmodel import Session, col, select

from tests.kafka.broker import ApacheBroker
from tests.ports import free_port
from tocsin.events.bus import Bus
from tocsin.events.clock import SystemClock
from tocsin.events.kafka import KafkaBus
from tocsin.events.memory import MemoryBus
from tocsin.server.demo.facts import Facts
from tocsin.server.demo.producer import Report, over_http, repair_and_report
from tocsin.server.demo.program import Stage, Verdict, judge, play, prepare, stage, story, until_over
from tocsin.server.pulse import age
from tocsin.server.roles import ROLES, Service, services
from tocsin.server.wiring import Parts
from tocsin.store.engine import Store
from tocsin.store.relay import Relay
from tocsin.store.tables import LogEntry

pytestmark = pytest.mark.timeout(300)

QUIET = Console(quiet=True)


@pytest.fixture
def place(home: Path) -> Iterator[Stage]:
    home.mkdir(parents=True)
    with stage(home) as made:  # a server that is killed comes back to its port
        yield replace(made, settings=made.settings.model_copy(update={"port": free_port()}))


def check(verdict: Verdict, place: Stage) -> None:
    """All of it happened, nothing was lost, and the channels saw what the database says they saw."""
    assert verdict.missing == []
    assert verdict.broken == []
    assert verdict.facts.lost == 0
    assert verdict.pagerduty == {"trigger": 1, "resolve": 1}
    assert [alert.state for alert in place.pagerduty.alerts] == ["resolved"]
    (message,) = place.slack.messages
    assert message.updates >= 1
    assert "daily-order-etl" in str(message.bodies[0])
    assert verdict.facts.tasks["extract-orders"] == 1
    assert verdict.facts.runs == {"daily-order-etl": {"Completed": 1}, "refresh-dashboard": {"Completed": 1}}


async def test_on_the_log_of_sqlite(place: Stage) -> None:
    verdict = await play(place, QUIET)
    check(verdict, place)
    assert verdict.facts.refused == []


@pytest.mark.postgres
async def test_on_the_log_of_postgresql(place: Stage, postgres_store_url: str) -> None:
    settings = place.settings.model_copy(update={"database_url": SecretStr(postgres_store_url)})
    place = replace(place, settings=settings)
    check(await play(place, QUIET), place)


async def test_on_the_bus_in_memory(place: Stage) -> None:
    store = Store.open()
    check(await told_over(place, store, MemoryBus(), over_http(f"http://127.0.0.1:{place.settings.port}")), place)
    store.close()


@pytest.mark.kafka
async def test_on_kafka_with_a_producer_that_knows_nothing_of_tocsin(
    place: Stage, kafka: str, kafka_bus: KafkaBus, topic_prefix: str
) -> None:
    store = Store.open()
    check(await told_over(place, store, kafka_bus, over_kafka(kafka, f"{topic_prefix}tocsin.external")), place)
    store.close()


async def told_over(place: Stage, store: Store, bus: Bus, report: Report) -> Verdict:
    """The story on a bus to which the log is relayed."""
    parts = Parts(place.settings, store, bus, SystemClock())
    roles = [*services(list(ROLES), parts), Service("relay", Relay(store, bus).serve)]
    return await story(place, parts, roles, report, QUIET)


def over_kafka(bootstrap: str, topic: str) -> Report:
    """Reports as the README's plain producer does: bytes on a topic."""

    async def send(body: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
            await producer.send_and_wait(topic, body, key=b"orders/2024-01-15")

    return lambda body: asyncio.run(send(body))


# Who is killed, and when: as soon as the log holds an event of this name.
MOMENTS = (
    ("scheduler", "tocsin.schedule.tick"),
    ("worker", "tocsin.flow-run.Running"),
    ("processor", "tocsin.flow-run.Failed"),
    ("dispatcher", "tocsin.automation.triggered"),
    ("server", "tocsin.incident.opened"),
)


class Roles:
    """One process a role, as compose runs them."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._begun: dict[str, datetime] = {}

    def start(self, role: str) -> None:
        command = [sys.executable, "-m", "tocsin.server", role]
        self._begun[role] = datetime.now(UTC)
        self._processes[role] = subprocess.Popen(command, env=os.environ | self._environment)

    def kill(self, role: str) -> None:
        process = self._processes[role]
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL

    def stop(self) -> dict[str, int]:
        for role, process in self._processes.items():
            self._wait_until_up(role)
            process.terminate()
        return {role: process.wait(60) for role, process in self._processes.items()}

    def _wait_until_up(self, role: str) -> None:
        """One that was just started again knows no signals yet: it has to have made its mark."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._processes[role].poll() is None:
            mark = age(Path((os.environ | self._environment)["TOCSIN_HOME"]), role)
            if mark is not None and mark < datetime.now(UTC) - self._begun[role]:
                return
            time.sleep(0.05)  # another process works; there is nothing to wait on but its mark


@asynccontextmanager
async def running(roles: Roles) -> AsyncIterator[None]:
    for role in ROLES:
        roles.start(role)
    try:
        yield
    finally:
        ended = await asyncio.to_thread(roles.stop)
    assert ended == dict.fromkeys(ROLES, 0)


async def kill_each_once(store: Store, roles: Roles) -> None:
    """Kill and restart each role at its moment."""
    await asyncio.gather(*(kill_at(store, roles, role, moment) for role, moment in MOMENTS))


async def kill_at(store: Store, roles: Roles, role: str, moment: str) -> None:
    def seen(session: Session) -> bool:
        return session.exec(select(LogEntry.seq).where(col(LogEntry.event) == moment)).first() is not None

    with store.watch("log") as watch:
        while not await store.look(seen):
            await watch.wait(timedelta(seconds=1))
    await asyncio.to_thread(roles.kill, role)
    roles.start(role)


def patiently(report: Report) -> Report:
    """A producer that keeps its promise: it tries again until the server has taken the event."""

    def again(body: bytes) -> None:
        for _ in range(600):
            try:
                return report(body)
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise TimeoutError("the server did not come back")

    return again


async def with_deaths(place: Stage, store: Store, environment: dict[str, str], report: Report) -> Facts:
    """The story with each role in a process of its own, each killed once in the middle; those killed come back."""
    await prepare(place, store)
    async with running(roles := Roles(environment)), asyncio.TaskGroup() as group:
        deaths = group.create_task(kill_each_once(store, roles))
        outside = group.create_task(repair_and_report(store, place.orders_url, patiently(report)))
        facts = await until_over(store, timedelta(seconds=120))
        await asyncio.wait_for(deaths, 60)
        outside.cancel()
    return facts


def shared(place: Stage) -> dict[str, str]:
    return {"TOCSIN_PORT": str(place.settings.port), "TOCSIN_LOG_LEVEL": "ERROR"}


@pytest.mark.faults
async def test_with_each_process_killed_in_the_middle_on_the_log(place: Stage, store_url: str) -> None:
    store = Store.open(store_url)
    environment = shared(place) | {"TOCSIN_DATABASE_URL": store_url}
    facts = await with_deaths(place, store, environment, over_http(f"http://127.0.0.1:{place.settings.port}"))
    check(judge(place, facts, 0.0), place)
    store.close()


@pytest.mark.faults
@pytest.mark.apache
async def test_with_each_process_killed_in_the_middle_on_kafka(
    place: Stage, apache_kafka: ApacheBroker, topic_prefix: str
) -> None:
    bus = KafkaBus(apache_kafka.address, topic_prefix=topic_prefix)
    await bus.prepare()
    await bus.close()
    store = Store.open()
    environment = shared(place) | {
        "TOCSIN_DATABASE_URL": store.url,
        "TOCSIN_KAFKA_BOOTSTRAP_SERVERS": apache_kafka.address,
        "TOCSIN_KAFKA_TOPIC_PREFIX": topic_prefix,
    }
    report = over_kafka(apache_kafka.address, f"{topic_prefix}tocsin.external")
    facts = await with_deaths(place, store, environment, report)
    check(judge(place, facts, 0.0), place)
    store.close()

"""The dispatcher's process is killed with SIGKILL between a send and its record, again and again."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from queue import Queue
from typing import Literal

import pytest

from tests.notifiers.desk import Desk, blocks
from tocsin.events.clock import ManualClock, SystemClock
from tocsin.notifiers.dispatch import LEASE, Dispatcher
from tocsin.notifiers.standins import PagerDutyStandIn, SlackStandIn, WebhookStandIn
from tocsin.notifiers.standins.loopback import Reply, Request, StandIn
from tocsin.store.engine import Store

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.faults
When = Literal["before", "after"]


class Deadly(StandIn):
    """Kills the process when its request has come, `before` or `after` it is carried out."""

    def __init__(self) -> None:
        self.when: When | None = None
        self.victim: Queue[subprocess.Popen[bytes]] = Queue()
        super().__init__()

    def answer(self, request: Request) -> Reply:
        if self.when == "before":
            self.kill()
            return Reply(500)
        reply = super().answer(request)
        if self.when == "after":
            self.kill()
        return reply

    def kill(self) -> None:
        self.when = None
        victim = self.victim.get(timeout=60)
        victim.kill()
        victim.wait()


class DeadlySlack(Deadly, SlackStandIn):
    """A deadly Slack."""


class DeadlyPagerDuty(Deadly, PagerDutyStandIn):
    """A deadly PagerDuty."""


class DeadlyReceiver(Deadly, WebhookStandIn):
    """A deadly webhook."""


@pytest.fixture
def slack() -> Iterator[SlackStandIn]:
    with DeadlySlack() as stand_in:
        yield stand_in


@pytest.fixture
def pagerduty() -> Iterator[PagerDutyStandIn]:
    with DeadlyPagerDuty() as stand_in:
        yield stand_in


@pytest.fixture
def receiver() -> Iterator[WebhookStandIn]:
    with DeadlyReceiver() as stand_in:
        yield stand_in


CASES = [
    *[(name, "trigger", when) for name in ("slack", "pagerduty", "webhook") for when in ("before", "after")],
    *[(name, "resolve", "after") for name in ("slack", "pagerduty", "webhook")],
]


@pytest.mark.parametrize(("name", "action", "when"), CASES)
async def test_a_dispatcher_killed_in_mid_send_loses_nothing_and_doubles_nothing(
    sqlite_url: str,
    slack: DeadlySlack,
    pagerduty: DeadlyPagerDuty,
    receiver: DeadlyReceiver,
    name: str,
    action: str,
    when: When,
) -> None:
    """The process dies with the request on its way, or carried out; another one takes over when the lease is over."""
    store = Store.open(sqlite_url)
    clock = ManualClock(SystemClock().now())
    heir = Dispatcher(store, clock, jitter=lambda: 0.5)
    desk = Desk(store, clock, heir)
    desk.put(*blocks(slack, pagerduty, receiver))
    desk.fire(name)
    if action == "resolve":
        await heir.run_due()
        desk.over(name)
    deadly: dict[str, Deadly] = {"slack": slack, "pagerduty": pagerduty, "webhook": receiver}
    deadly[name].when = when
    victim = subprocess.Popen([sys.executable, "-m", "tests.notifiers.doomed", sqlite_url], cwd=ROOT, env=os.environ)
    deadly[name].victim.put(victim)
    assert await asyncio.to_thread(victim.wait, 60) == -signal.SIGKILL
    assert desk.states(name)[-1] == f"{action} sending"
    clock.set(SystemClock().now() + LEASE + timedelta(seconds=1))
    await heir.run_due()
    await heir.close()
    assert desk.states(name)[-1] == f"{action} delivered"
    store.close()
    if name == "slack":
        assert len(slack.messages) == 1
        assert slack.messages[0].text.startswith("✅" if action == "resolve" else "🔴")
    elif name == "pagerduty":
        assert [alert.state for alert in pagerduty.alerts] == ["resolved" if action == "resolve" else "triggered"]
    else:
        wanted = ["incident.opened", "incident.resolved"][: 2 if action == "resolve" else 1]
        assert [message["type"] for message in receiver.messages] == wanted

"""A dispatcher that dies between changing a message and saying so in its thread: the line comes once."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from queue import Queue
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from tests.notifiers.desk import Desk
from tocsin.events.clock import ManualClock, SystemClock
from tocsin.notifiers.blocks import Slack
from tocsin.notifiers.channels import open_channel
from tocsin.notifiers.claims import claim
from tocsin.notifiers.dispatch import LEASE, Dispatcher
from tocsin.notifiers.http import Door
from tocsin.notifiers.registry import read_row
from tocsin.notifiers.standins import Pass, RateLimited, Reset, SlackStandIn
from tocsin.notifiers.standins.loopback import Reply, Request
from tocsin.store.engine import Store

ROOT = Path(__file__).parents[2]


def block(slack: SlackStandIn) -> Slack:
    token, signing = SecretStr(slack.token), SecretStr(slack.signing_secret)
    return Slack(name="slack", token=token, channel=slack.channel, api_url=slack.api_url, signing_secret=signing)


@pytest.fixture
def desk(store: Store, clock: ManualClock) -> Desk:
    return Desk(store, clock, Dispatcher(store, clock, jitter=lambda: 0.5))


def said(slack: SlackStandIn) -> list[str]:
    return [reply.text for reply in slack.thread(slack.messages[0])]


async def half_way(desk: Desk, *, requests: int) -> None:
    """What a dispatcher has done that dies after so many requests of a delivery (none of it is written down)."""
    with desk.store.begin() as session:
        (claimed,) = claim(session, ["slack"], desk.clock.now(), LEASE, {}, 1)
        assert claimed.notifier is not None
        notifier = read_row(claimed.notifier)
    async with Door() as door:
        channel = open_channel(notifier, door, desk.clock)
        message = msgspec.structs.replace(channel.render(claimed.view), again=claimed.again)
        sending = asyncio.create_task(channel.send(message, claimed.handle))
        if requests:
            await sending
        else:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.parametrize("requests", [0, 2])
async def test_what_a_dead_dispatcher_began_is_finished(slack: SlackStandIn, desk: Desk, requests: int) -> None:
    desk.put(block(slack))
    desk.fire("slack")
    await desk.dispatcher.run_due()
    desk.over("slack")
    await half_way(desk, requests=requests)
    desk.clock.advance(LEASE + timedelta(seconds=1))
    await desk.dispatcher.run_due()
    await desk.dispatcher.close()
    assert len(slack.messages) == 1
    assert len(said(slack)) == 1
    assert said(slack)[0].startswith("✅ Resolved after")
    assert slack.violations == []


@pytest.mark.parametrize(
    "faults",
    [[Pass(), Reset()], [Pass(), Reset(accept=True)], [Pass(), RateLimited(3)], [Reset(accept=True)]],
    ids=["line not sent", "answer to the line lost", "line must wait", "answer to the update lost"],
)
async def test_a_line_comes_once_through_the_outbox(slack: SlackStandIn, desk: Desk, faults: list[Any]) -> None:
    desk.put(block(slack))
    desk.fire("slack")
    await desk.dispatcher.run_due()
    slack.fail(*faults)
    desk.over("slack")
    await desk.dispatcher.run_due()
    desk.clock.advance(timedelta(seconds=60))
    await desk.dispatcher.run_due()
    await desk.dispatcher.close()
    assert len(said(slack)) == 1
    assert desk.states("slack")[-1] == "resolve delivered"


@pytest.mark.parametrize("lasting", [True, False])
async def test_there_is_nothing_to_press_under_news(slack: SlackStandIn, desk: Desk, lasting: bool) -> None:
    desk.put(block(slack))
    desk.fire("slack", lasting=lasting)
    await desk.dispatcher.run_due()
    await desk.dispatcher.close()
    assert bool(slack.messages[0].buttons) is lasting


async def test_many_stories_at_once_keep_slacks_limits(
    slack: SlackStandIn, sqlite_url: str, clock: ManualClock
) -> None:
    """Each is told, fires again and is over; the posts and updates of all together never come too often."""
    store = Store.open(sqlite_url)
    desk = Desk(store, clock, Dispatcher(store, clock, jitter=lambda: 0.5))
    desk.put(block(slack))
    slack.limits.on, slack.limits.now = True, lambda: clock.now().timestamp()
    keys = [f"etl-{number}" for number in range(18)]  # two more would be a storm
    for say, seconds in ((desk.fire, 20), (desk.fire, 10), (desk.fire, 10), (desk.over, 90)):
        for key in keys:
            say("slack", key=key)
        for _ in range(seconds):
            await desk.dispatcher.run_due()
            clock.advance(timedelta(seconds=1))
    await desk.dispatcher.close()
    store.close()
    assert slack.limits.refused == 0
    assert len(slack.messages) == len(keys)
    assert {message.text.partition(":")[0] for message in slack.messages} == {"✅ Resolved"}
    assert all(slack.thread(message)[-1].text.startswith("✅ Resolved after") for message in slack.messages)
    assert slack.violations == []


class DeadlySlack(SlackStandIn):
    """Kills the process at a request of this kind, before or after it is carried out."""

    def __init__(self) -> None:
        self.at: tuple[str, str] | None = None
        self.victim: Queue[subprocess.Popen[bytes]] = Queue()
        super().__init__()

    def answer(self, request: Request) -> Reply:
        kind = "line" if b"thread_ts" in request.body else request.path.rpartition(".")[2]
        if self.at == (kind, "before"):
            self._kill()
            return Reply(500)
        reply = super().answer(request)
        if self.at == (kind, "after"):
            self._kill()
        return reply

    def _kill(self) -> None:
        self.at = None
        victim = self.victim.get(timeout=60)
        victim.kill()
        victim.wait()


@pytest.fixture
def deadly() -> Iterator[DeadlySlack]:
    with DeadlySlack() as stand_in:
        yield stand_in


@pytest.mark.faults
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["update", "line"])
async def test_a_process_killed_in_the_middle_of_a_story_tells_it_once(
    sqlite_url: str, deadly: DeadlySlack, kind: str, when: str
) -> None:
    store = Store.open(sqlite_url)
    clock = ManualClock(SystemClock().now())
    heir = Dispatcher(store, clock, jitter=lambda: 0.5)
    desk = Desk(store, clock, heir)
    desk.put(block(deadly))
    desk.fire("slack")
    await heir.run_due()
    desk.over("slack")
    deadly.at = kind, when
    victim = subprocess.Popen([sys.executable, "-m", "tests.notifiers.doomed", sqlite_url], cwd=ROOT, env=os.environ)
    deadly.victim.put(victim)
    assert await asyncio.to_thread(victim.wait, 60) == -signal.SIGKILL
    assert desk.states("slack")[-1] == "resolve sending"
    clock.set(SystemClock().now() + LEASE + timedelta(seconds=1))
    await heir.run_due()
    await heir.close()
    assert desk.states("slack")[-1] == "resolve delivered"
    store.close()
    assert len(deadly.messages) == 1
    assert len(said(deadly)) == 1

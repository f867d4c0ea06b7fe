"""A storm to a receiver with a rate: the first few go at once, the rest at the rate, and nobody else waits."""

from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlmodel import col, select

from tests.notifiers.desk import Desk, blocks
from tocsin.events.clock import ManualClock
from tocsin.notifiers.blocks import SLACK, PagerDuty, Slack
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.standins import PagerDutyStandIn, RateLimited, SlackStandIn, WebhookStandIn
from tocsin.notifiers.tables import Attempt
from tocsin.store.engine import Store


@pytest.fixture
def desk(
    store: Store, clock: ManualClock, slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn
) -> Desk:
    desk = Desk(store, clock, Dispatcher(store, clock))
    desk.put(*blocks(slack, pagerduty, receiver))
    return desk


def storm(desk: Desk, *receivers: str, count: int) -> None:
    for number in range(count):
        desk.fire(*receivers, key=f"k{number}")


def waited(desk: Desk, receiver: str) -> list[int]:
    with desk.store.read() as session:
        rows = select(Attempt).where(Attempt.receiver == receiver).order_by(col(Attempt.at), col(Attempt.id))
        return [row.waited_ms for row in session.exec(rows)]


async def test_a_storm_goes_out_at_the_rate_and_holds_up_nobody(
    desk: Desk, slack: SlackStandIn, receiver: WebhookStandIn
) -> None:
    storm(desk, "slack", "webhook", count=7)
    await desk.dispatcher.run_due()
    assert (len(slack.messages), len(receiver.messages)) == (SLACK.burst, 7)
    for told in (5, 6, 7):
        desk.pass_time(SLACK.step.total_seconds() - 0.01)
        await desk.dispatcher.run_due()
        assert len(slack.messages) == told - 1
        desk.pass_time(0.01)
        await desk.dispatcher.run_due()
        assert len(slack.messages) == told
    assert waited(desk, "webhook") == [0] * 7
    step = SLACK.step / timedelta(milliseconds=1)
    assert waited(desk, "slack") == [0] * 4 + [pytest.approx(step * turn, abs=2) for turn in (1, 2, 3)]
    await desk.dispatcher.close()


async def test_a_restart_remembers_the_pace(desk: Desk, slack: SlackStandIn) -> None:
    storm(desk, "hook", count=6)
    await desk.dispatcher.run_due()
    await desk.dispatcher.close()
    again = Dispatcher(desk.store, desk.clock)
    assert await again.run_due() == 0
    desk.pass_time(60)
    assert await again.run_due() == 2
    await again.close()
    assert len(slack.messages) == 6


async def test_notifiers_into_one_channel_share_its_rate(desk: Desk, slack: SlackStandIn) -> None:
    desk.put(Slack(name="same", token=SecretStr(slack.token), channel=slack.channel, api_url=slack.api_url))
    storm(desk, "slack", count=4)
    desk.fire("same", key="other")
    await desk.dispatcher.run_due()
    assert len(slack.messages) == 4
    desk.pass_time(SLACK.step.total_seconds())
    await desk.dispatcher.run_due()
    assert len(slack.messages) == 5
    await desk.dispatcher.close()


async def test_pagerduty_is_told_as_often_as_its_block_says(desk: Desk, pagerduty: PagerDutyStandIn) -> None:
    key = SecretStr(pagerduty.routing_key)
    desk.put(PagerDuty(name="slow", routing_key=key, url=pagerduty.url, per_minute=6))
    storm(desk, "slow", "pagerduty", count=3)
    await desk.dispatcher.run_due()
    assert [len(desk.attempts(name)) for name in ("slow", "pagerduty")] == [1, 3]
    desk.pass_time(12)
    await desk.dispatcher.run_due()
    assert len(desk.attempts("slow")) == 2
    await desk.dispatcher.close()


async def test_what_has_to_be_left_alone_keeps_its_pace_too(desk: Desk, slack: SlackStandIn) -> None:
    """A wait that Slack asks for and the rate are two things: the longer one holds."""
    slack.fail(RateLimited(30))
    storm(desk, "hook", count=2)
    await desk.dispatcher.run_due()
    tried = len(desk.attempts("hook"))
    desk.pass_time(29)
    assert await desk.dispatcher.run_due() == 0
    desk.pass_time(1.1)
    await desk.dispatcher.run_due()
    assert len(desk.attempts("hook")) > tried
    await desk.dispatcher.close()


@pytest.mark.parametrize(("name", "told"), [("slack", 24), ("hook", 12)])
async def test_slack_never_has_to_say_429(
    desk: Desk, clock: ManualClock, slack: SlackStandIn, name: str, told: int
) -> None:
    """Calls and their changes, as quickly as they come, against the limits that Slack documents."""
    slack.limits.on, slack.limits.now = True, lambda: clock.now().timestamp()
    for _ in range(2):
        storm(desk, name, count=12)
        for _ in range(60):
            await desk.dispatcher.run_due()
            desk.pass_time(0.5)
    assert slack.limits.refused == 0
    assert desk.attempts(name) == ["delivered"] * told
    await desk.dispatcher.close()

"""A test message: marked, sent at once, and its attempt shown."""

import pytest

from tests.notifiers.desk import Desk, blocks
from tocsin.events.clock import ManualClock
from tocsin.events.errors import NotFound
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.probe import send_test
from tocsin.notifiers.standins import Error, Fail, PagerDutyStandIn, SlackStandIn, WebhookStandIn
from tocsin.store.engine import Store


@pytest.fixture
def desk(
    store: Store, clock: ManualClock, slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn
) -> Desk:
    desk = Desk(store, clock, Dispatcher(store, clock))
    desk.put(*blocks(slack, pagerduty, receiver))
    return desk


async def test_a_test_says_that_it_is_one(
    desk: Desk, slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn
) -> None:
    for name in ("slack", "hook", "pagerduty", "webhook"):
        attempt = await send_test(desk.store, name, clock=desk.clock)
        assert (attempt.receiver, attempt.action, attempt.outcome) == (name, "test", "delivered")
        assert desk.attempts(name) == ["delivered"]
    assert [message.text for message in slack.messages] == [
        "🔵 Test: this is a test of the notifier slack",
        "🔵 Test: this is a test of the notifier hook",
    ]
    assert [(alert.severity, alert.state) for alert in pagerduty.alerts] == [("info", "resolved")]
    assert [message["type"] for message in receiver.messages] == ["incident.test"]


async def test_a_failed_test_gives_the_reason(desk: Desk, slack: SlackStandIn, pagerduty: PagerDutyStandIn) -> None:
    slack.fail(Error("channel_not_found"))
    attempt = await send_test(desk.store, "slack", clock=desk.clock)
    assert (attempt.outcome, attempt.reason, attempt.status) == ("refused", "Slack: channel_not_found", 200)
    pagerduty.fail(Fail(401, "no such key"))
    attempt = await send_test(desk.store, "pagerduty", clock=desk.clock)
    assert (attempt.outcome, attempt.reason) == ("refused", "PagerDuty: HTTP 401 no such key")


async def test_an_unknown_name_is_told_the_known_ones(desk: Desk) -> None:
    with pytest.raises(NotFound, match='unknown notifier "slak"; known: hook, pagerduty, slack, webhook'):
        await send_test(desk.store, "slak")

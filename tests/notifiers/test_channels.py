"""Each channel through its real client against its stand-in: what an answer, or none, means for a delivery."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from tests.notifiers.conftest import MakeView
from tocsin.events.clock import ManualClock
from tocsin.notifiers.blocks import PagerDuty, Slack, SlackWebhook, Webhook
from tocsin.notifiers.channel import Notifier
from tocsin.notifiers.http import Door
from tocsin.notifiers.outcomes import Delivered, Later, Outcome, Refused, Unknown
from tocsin.notifiers.pagerduty import PagerDutyNotifier
from tocsin.notifiers.slack import SlackNotifier, SlackWebhookNotifier
from tocsin.notifiers.standins import (
    Error,
    Fail,
    Fault,
    PagerDutyStandIn,
    RateLimited,
    Reset,
    SlackStandIn,
    WebhookStandIn,
)
from tocsin.notifiers.webhook import WebhookNotifier


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with Door() as opened:
        yield opened


@pytest.fixture
async def slack_channel(slack: SlackStandIn, door: Door, clock: ManualClock) -> SlackNotifier:
    return SlackNotifier(
        Slack(name="s", token=SecretStr(slack.token), channel=slack.channel, api_url=slack.api_url), door, clock
    )


@pytest.fixture
async def slack_hook(slack: SlackStandIn, door: Door, clock: ManualClock) -> SlackWebhookNotifier:
    return SlackWebhookNotifier(SlackWebhook(name="s", url=SecretStr(slack.url)), door, clock)


@pytest.fixture
async def pager(pagerduty: PagerDutyStandIn, clock: ManualClock) -> AsyncIterator[PagerDutyNotifier]:
    block = PagerDuty(name="p", routing_key=SecretStr(pagerduty.routing_key), url=pagerduty.url)
    notifier = PagerDutyNotifier(block, clock)
    yield notifier
    await notifier.close()


@pytest.fixture
async def webhook(receiver: WebhookStandIn, door: Door, clock: ManualClock) -> WebhookNotifier:
    block = Webhook(
        name="w", url=SecretStr(receiver.url), secret=SecretStr(receiver.secret), allow_private=(receiver.host,)
    )
    return WebhookNotifier(block, door, clock)


async def tell(channel: Notifier, make_view: MakeView, handle: dict[str, Any] | None = None, **fields: Any) -> Outcome:
    return await channel.send(channel.render(make_view(**fields)), handle)


def meets(outcome: Outcome, expected: Outcome) -> bool:
    """Same kind, same wait, same word to resend; the reason holds the expected one."""
    if type(outcome) is not type(expected):
        return False
    match outcome, expected:
        case Later(after, reason), Later(wanted, part):
            return after == wanted and part in reason
        case Refused(reason, minimal), Refused(part, wanted_minimal):
            return minimal == wanted_minimal and part in reason
        case Unknown(reason), Unknown(part):
            return part in reason
    return True


SLACK_TABLE = [
    pytest.param(RateLimited(3), Later(seconds(3), "ratelimited"), id="429 with Retry-After waits as told"),
    pytest.param(RateLimited(1.5), Later(seconds(1.5), "ratelimited"), id="a fraction of a second counts"),
    pytest.param(RateLimited(), Later(seconds(30), "ratelimited"), id="429 without Retry-After waits 30 s"),
    pytest.param(Fail(500), Later(None, "500"), id="500 is tried again"),
    pytest.param(Fail(503, headers={"Retry-After": "7"}), Later(seconds(7), "503"), id="503 with Retry-After"),
    pytest.param(Error("internal_error"), Later(None, "internal_error"), id="an internal error is tried again"),
    pytest.param(
        Error("message_limit_exceeded"), Later(seconds(3600), "message_limit"), id="a used-up limit waits long"
    ),
    pytest.param(Error("invalid_blocks"), Refused("invalid_blocks", True), id="bad blocks: a plainer one may pass"),
    pytest.param(Error("msg_too_long"), Refused("msg_too_long", True), id="too long: a shorter one may pass"),
    pytest.param(Error("brand_new_error"), Refused("brand_new_error", True), id="an unknown word gets one more try"),
    pytest.param(Error("is_archived"), Refused("is_archived", False), id="an archived channel is the end"),
    pytest.param(Error("invalid_auth"), Refused("invalid_auth", False), id="a revoked token is the end"),
    pytest.param(Error("restricted_action_read_only_channel"), Refused("restricted", False), id="no right is the end"),
    pytest.param(Fail(302, headers={"Location": "/api/"}), Refused("redirect", False), id="a redirect is not followed"),
    pytest.param(Reset(), Unknown(""), id="a reset before the answer: nobody knows"),
    pytest.param(Reset(accept=True), Unknown(""), id="a lost answer: nobody knows"),
    pytest.param(Fail(200, "<html>"), Unknown(""), id="a page instead of an answer: nobody knows"),
]


@pytest.mark.parametrize(("fault", "expected"), SLACK_TABLE)
async def test_slack_says_what_became_of_a_post(
    slack: SlackStandIn, slack_channel: SlackNotifier, make_view: MakeView, fault: Fault, expected: Outcome
) -> None:
    slack.fail(fault)
    outcome = await tell(slack_channel, make_view)
    assert meets(outcome, expected), outcome
    assert slack.requests == 1


WEBHOOK_TABLE = [
    pytest.param(RateLimited(2), Later(seconds(2), "ratelimited"), id="429 with Retry-After waits as told"),
    pytest.param(Fail(429, "slow down", {}), Later(seconds(30), "slow down"), id="429 with a text body"),
    pytest.param(Fail(500), Later(None, "500"), id="500 is tried again"),
    pytest.param(Error("invalid_blocks"), Refused("invalid_blocks", True), id="bad blocks: a plainer one may pass"),
    pytest.param(Error("invalid_token"), Refused("invalid_token", False), id="a withdrawn webhook is the end"),
    pytest.param(Error("no_service"), Refused("no_service", False), id="a removed webhook is the end"),
    pytest.param(Error("channel_is_archived"), Refused("channel_is_archived", False), id="an archived channel"),
    pytest.param(Fail(301, headers={"Location": "/"}), Refused("redirect", False), id="a redirect is not followed"),
    pytest.param(Reset(accept=True), Unknown(""), id="a lost answer: nobody knows"),
]


@pytest.mark.parametrize(("fault", "expected"), WEBHOOK_TABLE)
async def test_an_incoming_webhook_says_what_became_of_a_post(
    slack: SlackStandIn, slack_hook: SlackWebhookNotifier, make_view: MakeView, fault: Fault, expected: Outcome
) -> None:
    slack.fail(fault)
    outcome = await tell(slack_hook, make_view)
    assert meets(outcome, expected), outcome
    assert slack.requests == 1


PAGERDUTY_TABLE = [
    pytest.param(RateLimited(), Later(seconds(30), "429"), id="429 waits 30 s, in a row and not in a thread"),
    pytest.param(RateLimited(2.5), Later(seconds(2.5), "429"), id="a Retry-After counts although none is promised"),
    pytest.param(Fail(500), Later(None, "500"), id="500 is tried again"),
    pytest.param(Fail(502), Later(None, "502"), id="502 is tried again"),
    pytest.param(Fail(503), Later(None, "503"), id="503 is tried again"),
    pytest.param(Fail(504), Later(None, "504"), id="504 is tried again"),
    pytest.param(Error("Routing key is invalid"), Refused("Routing key is invalid", True), id="400 with its errors"),
    pytest.param(Fail(401), Refused("401", False), id="401 is the end"),
    pytest.param(Fail(403), Refused("403", False), id="403 is the end"),
    pytest.param(Fail(413), Refused("413", True), id="too large: a smaller one may pass"),
    pytest.param(Fail(302, headers={"Location": "/v2/"}), Refused("redirect", False), id="a redirect is not success"),
    pytest.param(Reset(), Unknown(""), id="a reset before the answer: nobody knows"),
    pytest.param(Reset(accept=True), Unknown(""), id="a lost answer: nobody knows"),
    pytest.param(Fail(202, "not json"), Delivered(), id="202 is accepted whatever the body says"),
]


@pytest.mark.parametrize(("fault", "expected"), PAGERDUTY_TABLE)
async def test_pagerduty_says_what_became_of_an_event(
    pagerduty: PagerDutyStandIn, pager: PagerDutyNotifier, make_view: MakeView, fault: Fault, expected: Outcome
) -> None:
    pagerduty.fail(fault)
    outcome = await tell(pager, make_view)
    assert meets(outcome, expected), outcome
    assert pagerduty.requests == 1


RECEIVER_TABLE = [
    pytest.param(RateLimited(4), Later(seconds(4), "429"), id="429 with Retry-After waits as told"),
    pytest.param(Fail(404), Later(None, "404"), id="a receiver that is being deployed is tried again"),
    pytest.param(Fail(500), Later(None, "500"), id="500 is tried again"),
    pytest.param(Fail(410), Refused("410", False), id="410 says: never again"),
    pytest.param(Fail(422), Refused("422", True), id="422: a plainer one may pass"),
    pytest.param(Fail(307, headers={"Location": "/"}), Refused("redirect", False), id="a redirect is a failure"),
    pytest.param(Reset(accept=True), Unknown(""), id="a lost answer: nobody knows"),
]


@pytest.mark.parametrize(("fault", "expected"), RECEIVER_TABLE)
async def test_a_webhook_says_what_became_of_a_message(
    receiver: WebhookStandIn, webhook: WebhookNotifier, make_view: MakeView, fault: Fault, expected: Outcome
) -> None:
    receiver.fail(fault)
    outcome = await tell(webhook, make_view)
    assert meets(outcome, expected), outcome
    assert receiver.requests == 1


@pytest.mark.parametrize("kind", ["slack", "slack-webhook", "pagerduty", "webhook"])
async def test_no_connection_means_that_nothing_was_delivered(
    kind: str, door: Door, clock: ManualClock, make_view: MakeView
) -> None:
    with SlackStandIn() as gone:
        address = gone.address
    signing = SecretStr("whsec_" + "A" * 32)
    block = Webhook(name="w", url=SecretStr(address), secret=signing, allow_private=("127.0.0.1",))
    channels: dict[str, Notifier] = {
        "slack": SlackNotifier(Slack(name="s", token=SecretStr("xoxb-1"), channel="C1", api_url=address), door, clock),
        "slack-webhook": SlackWebhookNotifier(SlackWebhook(name="s", url=SecretStr(address)), door, clock),
        "pagerduty": PagerDutyNotifier(PagerDuty(name="p", routing_key=SecretStr("k" * 32), url=address), clock),
        "webhook": WebhookNotifier(block, door, clock),
    }
    outcome = await tell(channels[kind], make_view)
    assert meets(outcome, Later(None, "")), outcome
    await channels[kind].close()


async def test_slack_changes_the_message_of_an_incident(
    slack: SlackStandIn, slack_channel: SlackNotifier, make_view: MakeView
) -> None:
    posted = await tell(slack_channel, make_view)
    assert isinstance(posted, Delivered)
    assert (posted.handle["channel"], posted.handle["ts"]) == (slack.channel, slack.messages[0].ts)
    resolved = await tell(slack_channel, make_view, posted.handle, action="resolve", revision=2)
    assert isinstance(resolved, Delivered)
    assert resolved.handle["ts"] == posted.handle["ts"]
    assert len(slack.messages) == 1
    assert slack.messages[0].updates == 1
    assert slack.messages[0].text.startswith("✅ Resolved: ")
    assert not slack.violations


@pytest.mark.parametrize("word", ["message_not_found", "cant_update_message", "edit_window_closed"])
async def test_slack_posts_anew_what_it_can_no_longer_change(
    slack: SlackStandIn, slack_channel: SlackNotifier, make_view: MakeView, word: str
) -> None:
    first = await tell(slack_channel, make_view)
    assert isinstance(first, Delivered)
    slack.fail(Error(word))
    again = await tell(slack_channel, make_view, first.handle, action="update", revision=2)
    assert isinstance(again, Delivered)
    assert again.handle != first.handle
    assert len(slack.messages) == 2


async def test_slack_finds_a_post_whose_answer_was_lost(
    slack: SlackStandIn, slack_channel: SlackNotifier, make_view: MakeView
) -> None:
    message = slack_channel.render(make_view())
    assert await slack_channel.find(message) is None
    slack.fail(Reset(accept=True))
    assert isinstance(await slack_channel.send(message, None), Unknown)
    found = await slack_channel.find(message)
    assert isinstance(found, Delivered)
    assert (found.handle["channel"], found.handle["ts"]) == (slack.channel, slack.messages[0].ts)


async def test_a_look_into_history_that_fails_finds_nothing_or_waits(
    slack: SlackStandIn, slack_channel: SlackNotifier, make_view: MakeView
) -> None:
    message = slack_channel.render(make_view())
    slack.fail(Error("missing_scope"), RateLimited(2), Fail(500))
    assert await slack_channel.find(message) is None
    assert isinstance(limited := await slack_channel.find(message), Later)
    assert limited.after == seconds(2)
    assert isinstance(await slack_channel.find(message), Later)


async def test_pagerduty_takes_trigger_and_resolve_for_one_alert(
    pagerduty: PagerDutyStandIn, pager: PagerDutyNotifier, make_view: MakeView
) -> None:
    for revision, action in ((1, "trigger"), (1, "trigger"), (2, "resolve")):
        assert isinstance(await tell(pager, make_view, action=action, revision=revision), Delivered)
    assert [(alert.state, alert.triggers) for alert in pagerduty.alerts] == [("resolved", 2)]
    assert not pagerduty.violations


async def test_a_webhook_carries_one_id_through_its_retries(
    receiver: WebhookStandIn, webhook: WebhookNotifier, make_view: MakeView
) -> None:
    receiver.fail(Reset(accept=True))
    assert isinstance(await tell(webhook, make_view), Unknown)
    assert isinstance(await tell(webhook, make_view), Delivered)
    assert len(receiver.messages) == 1
    assert receiver.repeats == receiver.ids
    assert not receiver.violations


async def test_the_minimal_form_is_taken_too(
    slack_channel: SlackNotifier,
    slack_hook: SlackWebhookNotifier,
    pager: PagerDutyNotifier,
    webhook: WebhookNotifier,
    make_view: MakeView,
) -> None:
    channels: list[Notifier] = [slack_channel, slack_hook, pager, webhook]
    for channel in channels:
        assert isinstance(await channel.send(channel.render(make_view(), minimal=True), None), Delivered)

"""Slack as people see it: one message an incident, its story in the thread, nothing lost and nothing said twice."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import SecretStr, ValidationError

from tests.notifiers.conftest import OPENED, MakeView
from tocsin.events.clock import ManualClock
from tocsin.notifiers.blocks import Slack
from tocsin.notifiers.delivery import Progress, next_state
from tocsin.notifiers.http import Door
from tocsin.notifiers.outcomes import Delivered, Handle, Later, Outcome, Unknown
from tocsin.notifiers.slack import PLAIN_UPDATES, UPDATES, SlackNotifier, Updates, is_from_slack
from tocsin.notifiers.standins import Error, Fail, Fault, Pass, RateLimited, Reset, SlackStandIn
from tocsin.notifiers.standins.slack_press import form, signed

LATER = OPENED + timedelta(minutes=12)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with Door() as opened:
        yield opened


def block(slack: SlackStandIn, **fields: Any) -> Slack:
    known = {"name": "oncall", "token": SecretStr(slack.token), "channel": slack.channel, "api_url": slack.api_url}
    return Slack(**{**known, **fields})


@pytest.fixture
async def channel(slack: SlackStandIn, door: Door, clock: ManualClock) -> SlackNotifier:
    return SlackNotifier(block(slack), door, clock)


class Teller:
    """Tells one incident, as a dispatcher would: the handle of what was taken last goes with the next word."""

    def __init__(self, channel: SlackNotifier, make_view: MakeView) -> None:
        self._channel, self._make_view = channel, make_view
        self._revision = 0
        self.handle: Handle | None = None

    async def tell(self, action: str, **fields: Any) -> Outcome:
        self._revision += 1
        return await self.repeat(action, **fields)

    async def repeat(self, action: str, *, again: bool = False, **fields: Any) -> Outcome:
        """The delivery told last, once more."""
        delivery = self._make_view().delivery.int + self._revision
        known = {
            "action": action,
            "revision": self._revision,
            "at": LATER,
            "delivery": type(self._make_view().delivery)(int=delivery),
        }
        message = replace(self._channel.render(self._make_view(**{**known, **fields})), again=again)
        outcome = await self._channel.send(message, self.handle)
        if isinstance(outcome, Delivered):
            self.handle = outcome.handle
        return outcome


@pytest.fixture
def teller(channel: SlackNotifier, make_view: MakeView) -> Teller:
    return Teller(channel, make_view)


def said(slack: SlackStandIn) -> list[str]:
    return [reply.text for reply in slack.thread(slack.messages[0])]


ACKED: dict[str, Any] = {"state": "acknowledged", "acked_by": "ann"}


async def test_an_incident_is_one_message_and_its_story_a_thread(slack: SlackStandIn, teller: Teller) -> None:
    await teller.tell("trigger", total=3)
    await teller.tell("acknowledge", total=3, **ACKED)
    await teller.tell("update", total=12, **ACKED)
    await teller.tell("repeat", total=12, level=1)
    await teller.tell("resolve", total=12)
    assert said(slack) == [
        "👀 Acknowledged by ann",
        "12 items now, 3 before",
        "🔴 Still firing: daily-order-etl failed\n⏫ escalated, step 1, after 12 min · Not acknowledged any more",
        "✅ Resolved after 12 min",
    ]
    assert [reply.broadcast for reply in slack.replies] == [False, False, True, False]
    assert len(slack.messages) == 1
    assert slack.messages[0].text == "✅ Resolved: daily-order-etl failed"
    assert slack.violations == []


async def test_what_changes_nothing_says_nothing(slack: SlackStandIn, teller: Teller) -> None:
    await teller.tell("trigger")
    await teller.tell("acknowledge", **ACKED)
    await teller.tell("acknowledge", **ACKED)
    assert said(slack) == ["👀 Acknowledged by ann"]
    assert slack.updates == 2


CRASHES = [
    pytest.param([Reset()], id="before the update"),
    pytest.param([Reset(accept=True)], id="after the update"),
    pytest.param([Pass(), Reset()], id="before the line"),
    pytest.param([Pass(), Reset(accept=True)], id="after the line"),
]


@pytest.mark.parametrize("faults", CRASHES)
async def test_a_line_is_neither_lost_nor_doubled_by_a_crash(
    slack: SlackStandIn, teller: Teller, faults: list[Fault]
) -> None:
    await teller.tell("trigger")
    slack.fail(*faults)
    assert isinstance(await teller.tell("acknowledge", **ACKED), Unknown)
    assert isinstance(await teller.repeat("acknowledge", again=True, **ACKED), Delivered)
    assert isinstance(await teller.tell("resolve"), Delivered)
    assert said(slack) == ["👀 Acknowledged by ann", "✅ Resolved after 12 min"]


async def test_without_the_right_to_read_a_crash_may_double_one_line(slack: SlackStandIn, teller: Teller) -> None:
    slack.can_read = False
    await teller.tell("trigger")
    slack.fail(Pass(), Reset(accept=True))
    await teller.tell("resolve")
    assert isinstance(await teller.repeat("resolve", again=True), Delivered)
    assert said(slack) == ["✅ Resolved after 12 min"] * 2


async def test_a_look_into_the_thread_that_fails_waits(slack: SlackStandIn, teller: Teller) -> None:
    await teller.tell("trigger")
    slack.fail(Pass(), Reset(accept=True), Pass(), RateLimited(3))
    await teller.tell("resolve")
    waits = await teller.repeat("resolve", again=True)
    assert isinstance(waits, Later)
    assert waits.after == timedelta(seconds=3)
    assert isinstance(await teller.repeat("resolve", again=True), Delivered)
    assert said(slack) == ["✅ Resolved after 12 min"]


async def test_a_line_that_must_wait_is_said_when_it_may(slack: SlackStandIn, teller: Teller) -> None:
    await teller.tell("trigger")
    slack.fail(Pass(), RateLimited(2))
    assert isinstance(await teller.tell("acknowledge", **ACKED), Later)
    assert isinstance(await teller.repeat("acknowledge", **ACKED), Delivered)
    assert said(slack) == ["👀 Acknowledged by ann"]


async def test_a_found_post_knows_what_its_thread_was_told(
    slack: SlackStandIn, channel: SlackNotifier, make_view: MakeView
) -> None:
    slack.fail(Reset(accept=True))
    first = channel.render(make_view(total=3))
    assert isinstance(await channel.send(first, None), Unknown)
    found = await channel.find(channel.render(make_view(action="update", revision=2, total=7)))
    assert isinstance(found, Delivered)
    await channel.send(channel.render(make_view(action="update", revision=2, total=7)), found.handle)
    assert said(slack) == ["7 items now, 3 before"]


async def test_a_line_shown_in_the_channel_is_not_taken_for_the_message(
    slack: SlackStandIn, teller: Teller, channel: SlackNotifier, make_view: MakeView
) -> None:
    await teller.tell("trigger")
    await teller.tell("repeat")
    assert slack.replies[0].broadcast
    found = await channel.find(channel.render(make_view()))
    assert isinstance(found, Delivered)
    assert found.handle["ts"] == slack.messages[0].ts


async def test_a_message_posted_anew_without_an_answer_is_found(slack: SlackStandIn, teller: Teller) -> None:
    await teller.tell("trigger")
    slack.fail(Error("message_not_found"), Reset(accept=True))
    assert isinstance(await teller.tell("update", total=2), Unknown)
    slack.fail(Error("message_not_found"))
    assert isinstance(await teller.repeat("update", again=True, total=2), Delivered)
    assert len(slack.messages) == 2
    assert teller.handle is not None
    assert teller.handle["ts"] == slack.messages[1].ts


async def test_a_page_does_without_metadata_where_slack_takes_none(slack: SlackStandIn, teller: Teller) -> None:
    slack.fail(Error("metadata_must_be_sent_from_app"))
    assert isinstance(await teller.tell("trigger"), Delivered)
    assert slack.messages[0].metadata is None


async def test_an_old_handle_goes_on(slack: SlackStandIn, teller: Teller) -> None:
    await teller.tell("trigger")
    teller.handle = {"channel": slack.channel, "ts": slack.messages[0].ts}
    await teller.tell("update")
    teller.handle = {"channel": slack.channel, "ts": slack.messages[0].ts, "told": {"nonsense": 1}}
    await teller.tell("resolve")
    assert said(slack) == ["Fired again", "✅ Resolved after 12 min"]


# --- how often ---


async def test_updates_leave_room_for_what_cannot_wait(slack: SlackStandIn, teller: Teller, clock: ManualClock) -> None:
    slack.limits.on, slack.limits.now = True, lambda: clock.now().timestamp()
    await teller.tell("trigger")
    for _ in range(PLAIN_UPDATES):
        clock.advance(timedelta(seconds=1))
        assert isinstance(await teller.tell("update"), Delivered)
    waits = await teller.tell("update")
    assert isinstance(waits, Later)
    assert waits.alone
    assert waits.after == timedelta(seconds=60 - PLAIN_UPDATES + 1)
    clock.advance(timedelta(seconds=1))
    assert isinstance(await teller.tell("acknowledge", **ACKED), Delivered)
    clock.advance(waits.after)
    assert isinstance(await teller.tell("update", **ACKED, total=4), Delivered)
    assert slack.limits.refused == 0


async def test_two_channels_of_one_workspace_share_its_limit(
    slack: SlackStandIn, door: Door, clock: ManualClock, make_view: MakeView
) -> None:
    one, other = (Teller(SlackNotifier(block(slack, name=name), door, clock), make_view) for name in ("a", "b"))
    for teller in (one, other):
        await teller.tell("trigger")
    for _ in range(PLAIN_UPDATES):
        await one.tell("acknowledge")
    assert isinstance(await other.tell("update"), Later)


async def test_a_limit_on_updates_does_not_hold_the_channel_up(slack: SlackStandIn, teller: Teller) -> None:
    await teller.tell("trigger")
    slack.fail(RateLimited(9))
    update = await teller.tell("update")
    assert isinstance(update, Later)
    step = next_state(Progress(1, OPENED), update, LATER, 0.5)
    assert (step.state, step.due, step.not_before) == ("pending", LATER + timedelta(seconds=9), None)
    post = Later(timedelta(seconds=9), "Slack: ratelimited", 429)
    assert next_state(Progress(1, OPENED), post, LATER, 0.5).not_before == LATER + timedelta(seconds=9)


def test_the_calls_of_a_minute_are_counted() -> None:
    updates = Updates()
    for second in range(UPDATES):
        assert updates.wait(OPENED + timedelta(seconds=second), UPDATES) is None
        updates.count(OPENED + timedelta(seconds=second))
    now = OPENED + timedelta(seconds=UPDATES)
    assert updates.wait(now, UPDATES) == timedelta(seconds=60 - UPDATES)
    assert updates.wait(now + timedelta(seconds=60 - UPDATES), UPDATES) is None


async def test_the_stand_in_keeps_slacks_limits(
    slack: SlackStandIn, channel: SlackNotifier, make_view: MakeView
) -> None:
    seconds = 0.0
    slack.limits.on, slack.limits.now = True, lambda: seconds
    message = channel.render(make_view())
    outcomes = [await channel.send(message, None) for _ in range(5)]
    assert [type(outcome) for outcome in outcomes] == [Delivered] * 4 + [Later]
    assert isinstance(late := outcomes[-1], Later)
    assert late.after == timedelta(seconds=1)
    seconds = 1.0
    assert isinstance(await channel.send(message, None), Delivered)
    assert slack.limits.refused == 1


# --- buttons ---


@pytest.mark.parametrize(
    ("secrets", "shown"),
    [
        ({}, []),
        ({"signing_secret": SecretStr("8f742231b10e")}, ["tocsin.acknowledge", "tocsin.resolve", "tocsin.silence"]),
        ({"app_token": SecretStr("xapp-1-A0-1-0")}, ["tocsin.acknowledge", "tocsin.resolve", "tocsin.silence"]),
    ],
    ids=["no way in", "by HTTP", "by Socket Mode"],
)
async def test_there_are_buttons_when_a_press_can_come_in(
    slack: SlackStandIn, door: Door, clock: ManualClock, make_view: MakeView, secrets: dict[str, Any], shown: list[str]
) -> None:
    teller = Teller(SlackNotifier(block(slack, **secrets), door, clock), make_view)
    await teller.tell("trigger")
    assert slack.messages[0].buttons == shown
    await teller.tell("resolve")
    assert slack.messages[0].buttons == []
    assert slack.violations == []


@pytest.mark.parametrize("field", ["signing_secret", "app_token"])
def test_an_empty_secret_is_refused(slack: SlackStandIn, field: str) -> None:
    with pytest.raises(ValidationError, match="leave it out"):
        block(slack, **{field: SecretStr(" ")})


SIGNED = form({"type": "block_actions"})


@pytest.mark.parametrize(
    ("body", "change", "good"),
    [
        pytest.param(SIGNED, {}, True, id="signed"),
        pytest.param(SIGNED + b"x", {}, False, id="another body"),
        pytest.param(SIGNED, {"X-Slack-Signature": "v0=00"}, False, id="another signature"),
        pytest.param(SIGNED, {"X-Slack-Signature": "v0=é"}, False, id="no signature at all"),
        pytest.param(SIGNED, {"X-Slack-Request-Timestamp": "1"}, False, id="long ago"),
        pytest.param(SIGNED, {"X-Slack-Request-Timestamp": "²"}, False, id="no number"),
        pytest.param(SIGNED, {"X-Slack-Request-Timestamp": "9" * 400}, False, id="a number without end"),
        pytest.param(b"\xff\xfe", {}, False, id="no text"),
    ],
)
def test_a_request_is_from_slack_when_it_is_signed(body: bytes, change: dict[str, str], good: bool) -> None:
    headers = {**signed(SIGNED, "s3cret", LATER.timestamp()), **change}
    assert is_from_slack("s3cret", body, headers, LATER) is good
    assert is_from_slack("s3cret", body, {name.lower(): text for name, text in headers.items()}, LATER) is good
    assert not is_from_slack("other", body, headers, LATER)


@pytest.mark.parametrize(("age_s", "good"), [(299, True), (301, False), (-299, True), (-301, False)])
def test_a_signature_holds_for_five_minutes(age_s: int, good: bool) -> None:
    headers = signed(SIGNED, "s3cret", LATER.timestamp() - age_s)
    assert is_from_slack("s3cret", SIGNED, headers, LATER) is good


async def test_a_refusal_of_the_line_is_a_refusal(slack: SlackStandIn, teller: Teller) -> None:
    await teller.tell("trigger")
    slack.fail(Pass(), Fail(500))
    assert isinstance(await teller.tell("resolve"), Later)
    assert said(slack) == []

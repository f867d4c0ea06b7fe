"""Delivering, through the real clients, to stand-ins that fail: what is told, when, and in which order."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest

from tests.notifiers.desk import Desk, blocks
from tocsin.events.clock import ManualClock, SystemClock
from tocsin.notifiers.blocks import KINDS
from tocsin.notifiers.dispatch import LEASE, Dispatcher
from tocsin.notifiers.registry import remove_notifier
from tocsin.notifiers.standins import (
    Error,
    Fail,
    Hang,
    PagerDutyStandIn,
    RateLimited,
    Reset,
    SlackStandIn,
    WebhookStandIn,
)
from tocsin.notifiers.tables import NotifierRow
from tocsin.store.engine import Store


def has_calls(pagerduty: PagerDutyStandIn, number: int) -> bool:
    return len(pagerduty.calls) == number


@pytest.fixture
async def desk(
    store: Store, clock: ManualClock, slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn
) -> AsyncIterator[Desk]:
    dispatcher = Dispatcher(store, clock, jitter=lambda: 0.5)
    desk = Desk(store, clock, dispatcher)
    desk.put(*blocks(slack, pagerduty, receiver))
    yield desk
    await dispatcher.close()
    assert not slack.violations
    assert not pagerduty.violations
    assert not receiver.violations


async def test_everybody_is_told_and_told_when_it_is_over(
    desk: Desk, slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn
) -> None:
    everybody = ("slack", "hook", "pagerduty", "webhook")
    desk.fire(*everybody)
    assert await desk.dispatcher.run_due() == 4
    desk.over(*everybody)
    assert await desk.dispatcher.run_due() == 4
    for name in everybody:
        assert desk.states(name) == ["trigger delivered", "resolve delivered"]
    assert [(alert.state, alert.triggers) for alert in pagerduty.alerts] == [("resolved", 1)]
    by_api = [message for message in slack.messages if message.via == "api"]
    by_hook = [message.text for message in slack.messages if message.via == "webhook"]
    assert [(message.updates, message.text) for message in by_api] == [(1, "✅ Resolved: etl failed")]
    assert by_hook == ["🔴 etl failed", "✅ Resolved: etl failed"]
    assert [message["type"] for message in receiver.messages] == ["incident.opened", "incident.resolved"]
    told = desk.events("tocsin.delivery.delivered")
    assert sorted((event.payload["receiver"], event.payload["action"]) for event in told) == sorted(
        (name, action) for name in everybody for action in ("trigger", "resolve")
    )


async def test_a_second_firing_updates_slack_and_leaves_the_pager_alone(
    desk: Desk, slack: SlackStandIn, pagerduty: PagerDutyStandIn
) -> None:
    for subject in ("etl failed", "etl failed twice"):
        desk.fire("slack", "pagerduty", subject=subject)
        await desk.dispatcher.run_due()
    assert [message.text for message in slack.messages] == ["🔴 etl failed twice"]
    assert pagerduty.count("trigger") == 1


async def test_a_rate_limit_freezes_that_receiver_and_no_other(
    desk: Desk, slack: SlackStandIn, pagerduty: PagerDutyStandIn, store: Store, clock: ManualClock
) -> None:
    slack.fail(RateLimited(2.5))
    desk.fire("slack", key="first")
    await desk.dispatcher.run_due()
    asked = slack.requests
    desk.fire("slack", "pagerduty", key="second")
    for _ in range(24):
        await desk.dispatcher.run_due()
        desk.pass_time(0.1)
    assert slack.requests == asked
    assert pagerduty.count("trigger") == 1
    after_restart = Dispatcher(store, clock, jitter=lambda: 0.5)
    assert await after_restart.run_due() == 0
    desk.pass_time(0.2)
    assert await after_restart.run_due() == 2
    await after_restart.close()
    assert len(slack.messages) == 2
    assert desk.attempts("slack") == ["later", "delivered", "delivered"]


async def test_a_failing_channel_is_tried_by_due_time_with_growing_waits(
    desk: Desk, pagerduty: PagerDutyStandIn
) -> None:
    pagerduty.fail(*[Fail(500)] * 5)
    desk.fire("pagerduty")
    assert await desk.dispatcher.run_due() == 1
    for wait in (0.5, 1, 2, 4, 8):
        desk.pass_time(wait - 0.01)
        assert await desk.dispatcher.run_due() == 0
        desk.pass_time(0.01)
        assert await desk.dispatcher.run_due() == 1
    assert desk.attempts("pagerduty") == ["later"] * 5 + ["delivered"]
    assert desk.deliveries("pagerduty")[0].tries == 6


async def test_a_refused_message_is_sent_once_more_in_minimal_form(desk: Desk, slack: SlackStandIn) -> None:
    slack.fail(Error("invalid_blocks"))
    desk.fire("slack")
    await desk.dispatcher.run_due()
    assert desk.attempts("slack") == ["refused", "delivered"]
    assert slack.messages[0].blocks == []
    assert slack.messages[0].text == "🔴 etl failed"


async def test_what_is_refused_twice_is_dead_and_an_event(desk: Desk, slack: SlackStandIn) -> None:
    slack.fail(Error("invalid_blocks"), Error("invalid_blocks"))
    desk.fire("slack")
    await desk.dispatcher.run_due()
    assert desk.states("slack") == ["trigger dead"]
    (dead,) = desk.events("tocsin.delivery.dead")
    assert (dead.payload["receiver"], dead.payload["reason"]) == ("slack", "Slack: invalid_blocks")
    desk.over("slack")
    assert await desk.dispatcher.run_due() == 0
    assert desk.states("slack") == ["trigger dead", "resolve superseded"]


async def test_after_three_days_a_delivery_is_given_up(desk: Desk, pagerduty: PagerDutyStandIn) -> None:
    pagerduty.fail(*[Fail(500)] * 20)
    desk.fire("pagerduty")
    for _ in range(20):
        if desk.states("pagerduty") == ["trigger dead"]:
            break
        await desk.dispatcher.run_due()
        desk.pass_time(6 * 3600)
    (dead,) = desk.events("tocsin.delivery.dead")
    assert timedelta(hours=72) <= timedelta(seconds=dead.payload["waited_s"]) < timedelta(hours=79)


async def test_a_removed_notifier_is_a_dead_delivery(desk: Desk, store: Store) -> None:
    desk.fire("hook")
    with store.begin() as session:
        remove_notifier(session, "hook")
    await desk.dispatcher.run_due()
    assert desk.states("hook") == ["trigger dead"]
    assert desk.deliveries("hook")[0].reason == 'notifier "hook" was removed'


async def test_a_key_that_is_missing_is_waited_for(
    desk: Desk, pagerduty: PagerDutyStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.fire("pagerduty")
    monkeypatch.setenv("TOCSIN_SECRET_KEY", "A" * 43 + "=")
    await desk.dispatcher.run_due()
    assert desk.states("pagerduty") == ["trigger pending"]
    assert "TOCSIN_SECRET_KEY" in str(desk.deliveries("pagerduty")[0].reason)
    monkeypatch.delenv("TOCSIN_SECRET_KEY")
    desk.pass_time(300)
    await desk.dispatcher.run_due()
    assert desk.states("pagerduty") == ["trigger delivered"]


async def test_a_notifier_that_cannot_be_read_is_an_attempt_that_failed(
    desk: Desk, store: Store, pagerduty: PagerDutyStandIn
) -> None:
    desk.fire("pagerduty")
    with store.begin() as session:  # as if another version had left it
        row = session.get_one(NotifierRow, "pagerduty")
        config, row.config = row.config, {**row.config, "wings": 2}
    await desk.dispatcher.run_due()
    assert desk.states("pagerduty") == ["trigger pending"]
    assert "cannot read its wings; put it again" in str(desk.deliveries("pagerduty")[0].reason)
    with store.begin() as session:
        session.get_one(NotifierRow, "pagerduty").config = config
    desk.pass_time(300)
    await desk.dispatcher.run_due()
    assert desk.states("pagerduty") == ["trigger delivered"]


async def test_no_resolve_overtakes_its_trigger(desk: Desk, pagerduty: PagerDutyStandIn, slack: SlackStandIn) -> None:
    """The trigger is under way, and unanswered, when the resolve is put down."""
    pagerduty.fail(Reset(accept=True))
    slack.fail(Reset(accept=True))
    desk.fire("pagerduty", "slack")
    await desk.dispatcher.run_due()
    assert desk.states("pagerduty") == ["trigger unknown"]
    desk.over("pagerduty", "slack")
    assert desk.states("slack") == ["trigger superseded", "resolve pending"]
    await desk.dispatcher.run_due()
    assert [call["event_action"] for call in pagerduty.calls] == ["trigger", "resolve"]
    assert [alert.state for alert in pagerduty.alerts] == ["resolved"]
    assert [(message.updates, message.text) for message in slack.messages] == [(1, "✅ Resolved: etl failed")]


async def test_over_before_told_tells_nobody(desk: Desk, slack: SlackStandIn, pagerduty: PagerDutyStandIn) -> None:
    slack.fail(RateLimited(60))
    pagerduty.fail(Fail(503))
    desk.fire("slack", "pagerduty")
    await desk.dispatcher.run_due()
    desk.over("slack", "pagerduty")
    desk.pass_time(3600)
    assert await desk.dispatcher.run_due() == 0
    assert slack.messages == []
    assert pagerduty.calls == []
    for name in ("slack", "pagerduty"):
        assert desk.states(name) == ["trigger superseded", "resolve superseded"]


@pytest.mark.parametrize(
    ("fault", "sent", "ends"),
    [
        pytest.param(
            Fail(503), [], ["trigger superseded", "resolve superseded"], id="surely not told: nothing is owed"
        ),
        pytest.param(
            Reset(accept=True), ["resolve"], ["trigger superseded", "resolve delivered"], id="perhaps told: resolve"
        ),
    ],
)
async def test_the_end_comes_while_the_trigger_is_under_way(
    desk: Desk,
    store: Store,
    clock: ManualClock,
    pagerduty: PagerDutyStandIn,
    fault: Fail | Reset,
    sent: list[str],
    ends: list[str],
) -> None:
    """The trigger is taken; before its answer is written down, the incident is over."""
    from tocsin.notifiers.claims import claim
    from tocsin.notifiers.endings import Tried, record
    from tocsin.notifiers.outcomes import Later, Unknown

    desk.fire("pagerduty")
    with store.begin() as session:
        (taken,) = claim(session, ["pagerduty"], clock.now(), LEASE, {}, 10)
    desk.over("pagerduty")
    assert desk.states("pagerduty") == ["trigger sending", "resolve pending"]
    assert await desk.dispatcher.run_due() == 0
    outcome = Later(None, "503") if isinstance(fault, Fail) else Unknown("reset")
    with store.begin() as session:
        record(session, taken, Tried(outcome, clock.now(), timedelta(0), 0), 0.5)
    await desk.dispatcher.run_due()
    assert [call["event_action"] for call in pagerduty.calls] == sent
    assert desk.states("pagerduty") == ends


async def test_an_update_that_overtakes_an_untold_trigger_becomes_the_first_word(
    desk: Desk, store: Store, clock: ManualClock, receiver: WebhookStandIn
) -> None:
    from tocsin.notifiers.claims import claim
    from tocsin.notifiers.endings import Tried, record
    from tocsin.notifiers.outcomes import Later

    desk.fire("webhook")
    with store.begin() as session:
        (taken,) = claim(session, ["webhook"], clock.now(), LEASE, {}, 10)
    desk.fire("webhook", subject="etl failed twice")
    assert desk.states("webhook") == ["trigger sending", "update pending"]
    with store.begin() as session:
        record(session, taken, Tried(Later(None, "503"), clock.now(), timedelta(0), 0), 0.5)
    await desk.dispatcher.run_due()
    assert [(message["type"], message["data"]["subject"]) for message in receiver.messages] == [
        ("incident.opened", "etl failed twice")
    ]


async def test_a_lease_that_ran_out_is_taken_up_and_its_owner_changes_nothing(
    desk: Desk, store: Store, clock: ManualClock, slack: SlackStandIn
) -> None:
    """SIGSTOP between claim and record: the zombie's report is logged, and decides nothing."""
    from tocsin.notifiers.claims import claim
    from tocsin.notifiers.endings import Tried, record
    from tocsin.notifiers.outcomes import Refused

    desk.fire("slack")
    with store.begin() as session:
        (zombie,) = claim(session, ["slack"], clock.now(), LEASE, {}, 10)
    assert await desk.dispatcher.run_due() == 0
    clock.advance(LEASE)
    assert await desk.dispatcher.run_due() == 1
    with store.begin() as session:
        assert record(session, zombie, Tried(Refused("late"), clock.now(), timedelta(0), 0), 0.5) is None
    assert desk.states("slack") == ["trigger delivered"]
    assert desk.attempts("slack") == ["delivered", "refused"]


@pytest.mark.parametrize("name", ["slack", "pagerduty", "webhook"])
async def test_a_crash_between_send_and_record_shows_nothing_twice(
    desk: Desk,
    store: Store,
    clock: ManualClock,
    name: str,
    slack: SlackStandIn,
    pagerduty: PagerDutyStandIn,
    receiver: WebhookStandIn,
) -> None:
    """The dispatcher is cancelled when the channel has accepted the message and the answer is still out."""
    crowd = {"slack": slack, "pagerduty": pagerduty, "webhook": receiver}[name]
    crowd.fail(Hang(accept=True))
    desk.fire(name)
    doomed = Dispatcher(store, clock)
    task = asyncio.create_task(doomed.run_due())
    assert await asyncio.to_thread(crowd.wait, lambda: crowd.requests == 1, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await doomed.close()
    assert desk.states(name) == ["trigger sending"]
    desk.pass_time(LEASE.total_seconds())
    await desk.dispatcher.run_due()
    assert desk.states(name) == ["trigger delivered"]
    assert (len(slack.messages), len(pagerduty.alerts), len(receiver.messages)) == {
        "slack": (1, 0, 0),
        "pagerduty": (0, 1, 0),
        "webhook": (0, 0, 1),
    }[name]


async def test_a_hanging_channel_holds_up_no_other(
    store: Store, slack: SlackStandIn, receiver: WebhookStandIn, pagerduty: PagerDutyStandIn
) -> None:
    """Ten messages for a Slack that never answers, one for the pager; the real clock."""
    clock = SystemClock()
    dispatcher = Dispatcher(store, clock, lease=timedelta(seconds=15))
    desk = Desk(store, ManualClock(clock.now()), dispatcher)
    desk.put(*blocks(slack, pagerduty, receiver))
    slack.fail(*[Hang()] * 10)
    for number in range(10):
        desk.fire("slack", key=f"k{number}")
    desk.fire("pagerduty")
    stop = asyncio.Event()
    serving = asyncio.create_task(dispatcher.serve(stop))
    assert await asyncio.to_thread(pagerduty.wait, lambda: len(pagerduty.calls) == 1, 60)
    assert slack.requests <= KINDS["slack"].at_once
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_serving_hears_of_new_deliveries_and_stops_when_told(
    store: Store, slack: SlackStandIn, receiver: WebhookStandIn, pagerduty: PagerDutyStandIn
) -> None:
    clock = SystemClock()
    dispatcher = Dispatcher(store, clock)
    desk = Desk(store, ManualClock(clock.now()), dispatcher)
    desk.put(*blocks(slack, pagerduty, receiver))
    stop = asyncio.Event()
    serving = asyncio.create_task(dispatcher.serve(stop))
    for number in range(5):
        desk.clock.set(clock.now())
        desk.fire("pagerduty", "slack", key=f"k{number}")
        assert await asyncio.to_thread(pagerduty.wait, partial(has_calls, pagerduty, number + 1), 60)
    stop.set()
    await asyncio.wait_for(serving, 60)
    assert all(state == "trigger delivered" for state in desk.states("pagerduty"))


async def test_a_waiting_delivery_is_sent_when_its_time_has_come(
    store: Store, slack: SlackStandIn, receiver: WebhookStandIn, pagerduty: PagerDutyStandIn
) -> None:
    """Retry-After: 1 on the real clock: the next request comes after 1 s, and no sooner."""
    clock = SystemClock()
    dispatcher = Dispatcher(store, clock, jitter=lambda: 0.0)
    desk = Desk(store, ManualClock(clock.now()), dispatcher)
    desk.put(*blocks(slack, pagerduty, receiver))
    slack.fail(RateLimited(1))
    desk.fire("slack")
    stop = asyncio.Event()
    began = asyncio.get_running_loop().time()
    serving = asyncio.create_task(dispatcher.serve(stop))
    assert await asyncio.to_thread(slack.wait, lambda: len(slack.messages) == 1, 60)
    assert asyncio.get_running_loop().time() - began > 0.95
    assert slack.requests == 2
    stop.set()
    await asyncio.wait_for(serving, 60)


async def test_two_dispatchers_send_nothing_twice(
    desk: Desk, store: Store, clock: ManualClock, pagerduty: PagerDutyStandIn, slack: SlackStandIn
) -> None:
    for number in range(20):
        desk.fire("pagerduty", "slack", key=f"k{number}")
    second = Dispatcher(store, clock)
    for _ in range(20):  # Slack is told one after the other
        await asyncio.gather(desk.dispatcher.run_due(), second.run_due())
        desk.pass_time(1.1)
    await second.close()
    assert len(pagerduty.calls) == 20
    assert len(slack.messages) == 20

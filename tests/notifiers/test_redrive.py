"""A dead delivery is sent again with what is true now, once, and not at all where nothing is owed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.notifiers.desk import Desk, blocks
from tocsin.events.clock import ManualClock
from tocsin.events.errors import NotFound
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.redrive import Last, Redriven, owed, redrive, redrive_dead
from tocsin.notifiers.registry import remove_notifier
from tocsin.notifiers.silences import add_silence
from tocsin.notifiers.standins import Fail, PagerDutyStandIn, SlackStandIn, WebhookStandIn
from tocsin.notifiers.view import Action
from tocsin.store.engine import Store

DEAD = Last("trigger", "dead", told=False)
RULES: list[tuple[str, Last, bool, str | None, Action | None, str]] = [
    ("never told: the first word", DEAD, False, None, "trigger", "it was never told"),
    (
        "an update of what was never told is the first word",
        Last("update", "dead", False),
        False,
        None,
        "trigger",
        "never",
    ),
    ("told: the same word, as it is now", Last("update", "dead", True), False, None, "update", "the newest truth"),
    ("a page that may have arrived", Last("repeat", "dead", True), False, None, "repeat", "the newest truth"),
    ("over, told: the end", Last("resolve", "dead", True), True, None, "resolve", "must hear of the end"),
    ("over, told, and its update died last", Last("update", "dead", True), True, None, "resolve", "hear of the end"),
    ("over, never told", DEAD, True, None, None, "over before told: nothing is owed"),
    ("over and spared", Last("resolve", "superseded", False), True, None, None, "over before told: nothing is owed"),
    ("silenced", DEAD, False, "silenced by ann", None, "nothing may be said of it: silenced by ann"),
    ("the end is told, silenced or not", Last("resolve", "dead", True), True, "silenced", "resolve", "hear of the end"),
    ("on its way", Last("update", "pending", True), False, None, None, "on its way already"),
    ("newer word arrived", Last("update", "delivered", True), False, None, None, "has arrived"),
    ("a storm speaks", Last("trigger", "superseded", False), False, None, None, "something else speaks for it"),
]


@pytest.mark.parametrize(
    ("last", "over", "quiet", "put", "why"), [row[1:] for row in RULES], ids=[row[0] for row in RULES]
)
def test_what_is_owed(last: Last, over: bool, quiet: str | None, put: Action | None, why: str) -> None:
    found, said = owed(last, over=over, quiet=quiet)
    assert (found, why in said) == (put, True), said


@pytest.fixture
async def desk(
    store: Store, clock: ManualClock, slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn
) -> AsyncIterator[Desk]:
    dispatcher = Dispatcher(store, clock)
    desk = Desk(store, clock, dispatcher)
    desk.put(*blocks(slack, pagerduty, receiver))
    yield desk
    await dispatcher.close()


def again(desk: Desk, delivery: UUID) -> Redriven:
    with desk.store.begin() as session:
        return redrive(session, delivery, desk.clock.now())


async def test_a_dead_first_word_is_sent_with_what_is_true_now(desk: Desk, receiver: WebhookStandIn) -> None:
    receiver.fail(Fail(410), Fail(410))
    desk.fire("webhook")
    await desk.dispatcher.run_due()
    [dead] = desk.deliveries("webhook")
    assert dead.state == "dead"
    desk.pass_time(60)
    desk.fire("webhook", subject="etl failed twice")  # news: dead too
    await desk.dispatcher.run_due()
    assert desk.states("webhook") == ["trigger dead", "trigger dead"]
    desk.pass_time(3_600)
    redriven = again(desk, dead.id)
    assert (redriven.put, redriven.delivery) == ("trigger", desk.deliveries("webhook")[1].id)
    await desk.dispatcher.run_due()
    assert desk.states("webhook") == ["trigger dead", "trigger delivered"]
    assert [(message["type"], message["data"]["subject"]) for message in receiver.messages] == [
        ("incident.opened", "etl failed twice")
    ]
    [event] = desk.events("tocsin.delivery.redriven")
    assert (event.resource_id, event.payload["tries"], event.payload["receiver"]) == (
        f"tocsin.delivery.{redriven.delivery}", 1, "webhook",
    )  # fmt: skip


async def test_the_second_time_nothing_happens(desk: Desk, receiver: WebhookStandIn) -> None:
    receiver.fail(Fail(410))
    desk.fire("webhook")
    await desk.dispatcher.run_due()
    [dead] = desk.deliveries("webhook")
    assert again(desk, dead.id).put == "trigger"
    assert again(desk, dead.id).why == "its newest word (trigger) is on its way already"
    await desk.dispatcher.run_due()
    assert again(desk, dead.id).why == "its newest word (trigger) has arrived"
    assert (len(receiver.messages), len(desk.events("tocsin.delivery.redriven"))) == (1, 1)


async def test_of_several_at_once_one_does_it(desk: Desk, receiver: WebhookStandIn) -> None:
    receiver.fail(Fail(410))
    desk.fire("webhook")
    await desk.dispatcher.run_due()
    [dead] = desk.deliveries("webhook")
    now = desk.clock.now()
    found = await asyncio.gather(*[desk.store.run(lambda session: redrive(session, dead.id, now)) for _ in range(6)])
    assert sorted(one.put or "" for one in found) == ["", "", "", "", "", "trigger"]
    assert len(desk.events("tocsin.delivery.redriven")) == 1


async def test_what_is_over_and_was_never_told_is_not_told(desk: Desk, receiver: WebhookStandIn) -> None:
    receiver.fail(Fail(410))
    desk.fire("webhook")
    await desk.dispatcher.run_due()
    desk.pass_time(1)
    desk.over("webhook")
    await desk.dispatcher.run_due()
    [dead, *_] = desk.deliveries("webhook")
    assert again(desk, dead.id).why == "over before told: nothing is owed"
    assert (await desk.dispatcher.run_due(), receiver.messages) == (0, [])


async def test_an_end_that_died_is_owed_whatever_is_silenced(desk: Desk, receiver: WebhookStandIn) -> None:
    desk.fire("webhook")
    await desk.dispatcher.run_due()
    receiver.fail(Fail(410))
    desk.pass_time(1)
    desk.over("webhook")
    await desk.dispatcher.run_due()
    assert desk.states("webhook") == ["trigger delivered", "resolve dead"]
    now = desk.clock.now()
    with desk.store.begin() as session:
        ends = now + timedelta(hours=2)
        add_silence(session, read_matchers('flow="etl"'), starts=now, ends=ends, author="ann", comment="", now=now)
    assert again(desk, desk.deliveries("webhook")[1].id).put == "resolve"
    await desk.dispatcher.run_due()
    assert [message["type"] for message in receiver.messages] == ["incident.opened", "incident.resolved"]


async def test_what_is_silenced_stays_quiet(desk: Desk, receiver: WebhookStandIn) -> None:
    receiver.fail(Fail(410))
    desk.fire("webhook")
    await desk.dispatcher.run_due()
    now = desk.clock.now()
    with desk.store.begin() as session:
        ends = now + timedelta(hours=2)
        add_silence(session, read_matchers('flow="etl"'), starts=now, ends=ends, author="ann", comment="", now=now)
    found = again(desk, desk.deliveries("webhook")[0].id)
    assert (found.put, found.why) == (
        None, "nothing may be said of it: silenced by ann until 2026-03-02 11:00:00Z",
    )  # fmt: skip


async def test_all_that_died_is_sent_again_by_receiver_and_time(
    desk: Desk, receiver: WebhookStandIn, slack: SlackStandIn
) -> None:
    for key, at in (("a", 0), ("b", 60), ("c", 60)):
        receiver.fail(Fail(410))
        slack.fail(Fail(404, "no_service"))
        desk.pass_time(at)
        desk.fire("webhook", "hook", key=key)
        await desk.dispatcher.run_due()
    since = desk.clock.now() - timedelta(seconds=60)

    def count(receiver: str | None, **more: object) -> int:
        with desk.store.begin() as session:
            found = redrive_dead(session, desk.clock.now(), receiver=receiver, **more)  # type: ignore[arg-type]
            put = [one for one in found if one.put]
            session.rollback()
            return len(put)

    assert (count(None), count("webhook"), count("webhook", since=since), count("slack")) == (6, 3, 2, 0)
    with pytest.raises(NotFound, match='unknown notifier "slak"'):
        count("slak")
    with pytest.raises(NotFound, match="tocsin delivery ls --state dead"):
        again(desk, uuid4())


async def test_who_is_gone_is_told_nothing(desk: Desk, receiver: WebhookStandIn) -> None:
    receiver.fail(Fail(410))
    desk.fire("webhook")
    await desk.dispatcher.run_due()
    with desk.store.begin() as session:
        remove_notifier(session, "webhook")
    found = again(desk, desk.deliveries("webhook")[0].id)
    assert (found.put, found.why) == (None, 'notifier "webhook" was removed; put it on record again first')

"""Presses by Socket Mode: a dispatcher listens for every Slack app that has notifiers with an app token."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from tests.server.pressing import CLOCK, block, by_socket, deliver, state_of, tell
from tocsin.notifiers.blocks import Slack
from tocsin.notifiers.registry import put_notifier, remove_notifier
from tocsin.notifiers.standins import SlackStandIn
from tocsin.server.slack_listening import Listening
from tocsin.server.slacking import Presses, answer_hosts
from tocsin.store.engine import Store


@pytest.fixture
def slack() -> Iterator[SlackStandIn]:
    with SlackStandIn(resend_s=0.3) as stand_in:
        yield stand_in


@asynccontextmanager
async def listening(store: Store) -> AsyncIterator[None]:
    stop = asyncio.Event()
    service = Listening(store, CLOCK, every=timedelta(seconds=0.05), pause_s=0.05)
    serving = asyncio.create_task(service.serve(stop))
    try:
        yield
    finally:
        stop.set()
        await serving


async def until(slack: SlackStandIn, condition: Callable[[], bool]) -> None:
    assert await asyncio.to_thread(slack.socket.wait, condition, 30)


async def test_a_press_by_socket_mode_is_carried_out(store: Store, slack: SlackStandIn) -> None:
    message = await tell(store, slack, block(slack, **by_socket(slack)))
    async with listening(store):
        slack.press(message, "tocsin.acknowledge")
        await until(slack, lambda: len(slack.socket.acknowledged) == 1)
        assert state_of(store, message) == "acknowledged"
        slack.press(message, "tocsin.silence", value="1 hour")
        assert await asyncio.to_thread(slack.wait, lambda: len(slack.responses) == 1, 30)
    await deliver(store)
    assert slack.thread(message)[0].text.startswith("👀 Acknowledged by ann")
    assert slack.responses[0]["text"].startswith("Silenced for 1 h.")
    assert slack.violations == []


async def test_one_app_has_one_connection(store: Store, slack: SlackStandIn) -> None:
    for name in ("a", "b", "c"):
        with store.begin() as session:
            put_notifier(session, block(slack, name, **by_socket(slack)))
    message = await tell(store, slack, block(slack, "d", **by_socket(slack)))
    async with listening(store):
        slack.press(message, "tocsin.acknowledge")
        await until(slack, lambda: len(slack.socket.acknowledged) == 1)
    assert slack.socket.connections == 1
    assert state_of(store, message) == "acknowledged"


async def test_a_notifier_that_comes_or_goes_is_noticed(store: Store, slack: SlackStandIn) -> None:
    async with listening(store):
        with store.begin() as session:
            put_notifier(session, block(slack, **by_socket(slack)))
        await until(slack, lambda: slack.socket.is_open)
        with store.begin() as session:
            remove_notifier(session, "oncall")
        await until(slack, lambda: not slack.socket.is_open)


async def test_notifiers_without_an_app_token_are_not_listened_for(store: Store, slack: SlackStandIn) -> None:
    with store.begin() as session:
        put_notifier(session, block(slack, "quiet"))
        put_notifier(session, block(slack, "other", app_token=SecretStr("xapp-wrong-wrong")))
    async with listening(store):
        assert await asyncio.to_thread(slack.wait, lambda: slack.requests >= 2, 30)
    assert slack.socket.connections == 0


async def test_a_press_again_is_done_once_and_answered_alike(store: Store, slack: SlackStandIn) -> None:
    notifier = block(slack, **by_socket(slack))
    message = await tell(store, slack, notifier)
    presses = Presses(store, CLOCK)
    payload = slack.payload(message, "tocsin.silence", value="1 hour")

    def proven(other: Slack) -> bool:
        return other.app_token == notifier.app_token

    replies = await asyncio.gather(*(presses.take(payload, notifier, proven) for _ in range(3)))
    assert len({reply.text for reply in replies}) == 1
    with store.read() as session:
        assert len(_silences(session)) == 1


def _silences(session: Any) -> list[Any]:
    from tocsin.notifiers.silences import list_silences

    return list(list_silences(session, CLOCK.now()))


SLACK, GOV, HERE = "https://slack.com/api/", "https://slack-gov.com/api/", "http://127.0.0.1:7777/api/"


@pytest.mark.parametrize(
    ("url", "api_url", "hosts"),
    [
        ("https://hooks.slack.com/actions/T/1/x", SLACK, ()),
        ("https://hooks.slack-gov.com/actions/T/1/x", GOV, ()),
        ("https://hooks.slack.com/actions/T/1/x", GOV, None),
        ("http://hooks.slack.com/actions/T/1/x", SLACK, None),
        ("https://hooks.slack.com.evil.example/x", SLACK, None),
        ("https://evilslack.com/x", SLACK, None),
        ("https://slack.com@evil.example/x", SLACK, None),
        ("", SLACK, None),
        ("http://127.0.0.1:7777/actions/x", HERE, ("127.0.0.1:7777",)),
        ("http://127.0.0.1:7778/actions/x", HERE, None),
        ("http://127.0.0.1:7777/actions/x", SLACK, None),
    ],
)
def test_an_answer_goes_to_slack_only(url: str, api_url: str, hosts: tuple[str, ...] | None) -> None:
    assert answer_hosts(url, api_url) == hosts

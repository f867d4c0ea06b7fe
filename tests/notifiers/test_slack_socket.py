"""Socket Mode against its stand-in: every press is stored before Slack is told, whatever happens to the connection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tocsin.notifiers.slack_socket import SlackListener
from tocsin.notifiers.standins import Error, Reset, SlackStandIn

PRESS = {"type": "block_actions", "n": 1}


@pytest.fixture
def slack() -> Iterator[SlackStandIn]:
    with SlackStandIn(resend_s=0.2) as stand_in:
        yield stand_in


class Keeper:
    """Stores payloads, or cannot for as often as it is told."""

    def __init__(self, slack: SlackStandIn) -> None:
        self.stored: list[dict[str, Any]] = []
        self.unstored = 0
        self.told_early: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._slack = slack

    async def take(self, payload: dict[str, Any]) -> bool:
        await self.gate.wait()
        self.told_early += self._slack.socket.acknowledged
        if self.unstored:
            self.unstored -= 1
            return False
        self.stored.append(payload)
        return True


@asynccontextmanager
async def listening(slack: SlackStandIn, keeper: Keeper, token: str = "") -> AsyncIterator[None]:
    stop = asyncio.Event()
    listener = SlackListener(token or slack.app_token, slack.api_url, keeper.take, pause_s=0.05, ping_s=1.0)
    serving = asyncio.create_task(listener.serve(stop))
    try:
        yield
    finally:
        stop.set()
        await serving


async def until(slack: SlackStandIn, condition: Callable[[], bool]) -> None:
    assert await asyncio.to_thread(slack.socket.wait, condition, 30)


async def test_a_press_is_stored_and_then_acknowledged(slack: SlackStandIn) -> None:
    keeper = Keeper(slack)
    async with listening(slack, keeper):
        envelope = slack.socket.send(PRESS)
        await until(slack, lambda: slack.socket.acknowledged == [envelope])
    assert keeper.stored == [PRESS]
    assert keeper.told_early == []


async def test_what_cannot_be_stored_is_not_acknowledged_and_comes_again(slack: SlackStandIn) -> None:
    keeper = Keeper(slack)
    keeper.unstored = 2
    async with listening(slack, keeper):
        envelope = slack.socket.send(PRESS)
        await until(slack, lambda: slack.socket.acknowledged == [envelope])
    assert slack.socket.sent == [envelope] * 3
    assert keeper.stored == [PRESS]


async def test_other_envelopes_are_acknowledged_and_nothing_else(slack: SlackStandIn) -> None:
    keeper = Keeper(slack)
    async with listening(slack, keeper):
        envelope = slack.socket.send({"event": {}}, kind="events_api")
        await until(slack, lambda: slack.socket.acknowledged == [envelope])
    assert keeper.stored == []


@pytest.mark.parametrize("lose", ["disconnect", "drop"])
async def test_a_lost_connection_is_opened_anew(slack: SlackStandIn, lose: str) -> None:
    keeper = Keeper(slack)
    async with listening(slack, keeper):
        await until(slack, lambda: slack.socket.connections == 1 and slack.socket.is_open)
        await asyncio.to_thread(getattr(slack.socket, lose))
        await until(slack, lambda: slack.socket.connections >= 2 and slack.socket.is_open)
        envelope = slack.socket.send(PRESS)
        await until(slack, lambda: envelope in slack.socket.acknowledged)
    assert PRESS in keeper.stored


async def test_what_is_under_way_is_finished_on_the_old_connection(slack: SlackStandIn) -> None:
    keeper = Keeper(slack)
    async with listening(slack, keeper):
        keeper.gate.clear()
        envelope = slack.socket.send(PRESS)
        await until(slack, lambda: slack.socket.sent == [envelope])
        await asyncio.to_thread(slack.socket.disconnect)
        await until(slack, lambda: slack.socket.connections == 2)
        keeper.gate.set()
        await until(slack, lambda: envelope in slack.socket.acknowledged)
    assert keeper.stored


async def test_it_goes_on_asking_while_slack_does_not_let_it_in(
    slack: SlackStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    slack.fail(Error("internal_error"), Reset(), Error("ratelimited"))
    async with listening(slack, Keeper(slack)):
        await until(slack, lambda: slack.socket.connections == 1)
    assert "internal_error" in caplog.text


async def test_a_wrong_token_is_said_in_the_log(slack: SlackStandIn, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(slack, Keeper(slack), token="xapp-wrong-wrong"):
        assert await asyncio.to_thread(slack.wait, lambda: slack.requests >= 2, 30)
    assert "invalid_auth" in caplog.text
    assert slack.socket.connections == 0


async def test_a_url_lets_in_once(slack: SlackStandIn) -> None:
    url = slack.socket.url()
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as socket:
            assert (await socket.receive_json())["type"] == "hello"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)


async def test_a_refused_connection_is_tried_again_and_its_ticket_is_not_logged(
    slack: SlackStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    slack.socket.lets_in = False
    async with listening(slack, Keeper(slack)):
        assert await asyncio.to_thread(slack.wait, lambda: len(slack.socket.tickets) >= 2, 30)
        slack.socket.lets_in = True
        await until(slack, lambda: slack.socket.is_open)
    assert "ticket=(redacted)" in caplog.text
    assert not [ticket for ticket in slack.socket.tickets if ticket in caplog.text]

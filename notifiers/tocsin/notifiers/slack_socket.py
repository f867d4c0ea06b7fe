"""Presses of buttons by Socket Mode: a WebSocket that we open, for whoever has no public address.

slack-sdk speaks the protocol (`apps.connections.open`, hello, pings, envelopes); when to connect, and when an envelope
is acknowledged, is decided here: a new connection stands before the old one is let go, and an envelope is acknowledged
when what it asks for is stored.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from tocsin.notifiers.http import Door, proxy_for
from tocsin.notifiers.redact import MASK, redacted_logger

PING_S: Final = 5.0
CONNECT_SHARE: Final = 0.9
"""Of the time between pings: the SDK tries a URL again after that time, and Slack lets one in only once."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
STEADY_S: Final = 30.0
FINISH_S: Final = 3.0

# Any: the payload of an interaction, as it came.
Take = Callable[[dict[str, Any]], Awaitable[bool]]

_TICKET: Final = re.compile(r"\bticket=[^&'\"\s]+")
_LOG = redacted_logger("tocsin.notifiers.slack_socket")
_SDK = redacted_logger("tocsin.notifiers.slack_socket.sdk")


class _NoTickets(logging.Filter):
    """Takes the ticket out of URLs, which lets whoever has it into the app's stream."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _TICKET.sub(f"ticket={MASK}", str(record.msg))
        record.exc_text = _TICKET.sub(f"ticket={MASK}", record.exc_text) if record.exc_text else None
        return True


_SDK.addFilter(_NoTickets())  # after the redactor, which has put message and traceback into words
_SDK.setLevel(logging.INFO)  # its DEBUG shows payloads, and with them addresses through which anybody may answer


class SlackListener:
    """Listens for one Slack app. `take` carries a payload out, and says whether it is stored for good."""

    def __init__(
        self, app_token: str, api_url: str, take: Take, *, pause_s: float = FIRST_PAUSE_S, ping_s: float = PING_S
    ) -> None:
        self._token, self._api_url, self._take = app_token, api_url, take
        self._first_pause_s, self._ping_s = pause_s, ping_s
        self._busy: set[asyncio.Task[Any]] = set()  # Any: what the SDK's tasks give

    async def serve(self, stop: asyncio.Event) -> None:
        """Listen until `stop`; connects again, ever more slowly, for as long as Slack does not let it in."""
        pause_s, line, loop = self._first_pause_s, None, asyncio.get_running_loop()
        async with Door() as door:
            try:
                while not stop.is_set():
                    fresh, since = await self._open(door), loop.time()
                    if fresh is not None:
                        await self._retire(line)
                        line = fresh
                        await _either(stop, line.gone)
                    if loop.time() - since > STEADY_S:
                        pause_s = self._first_pause_s
                    elif not stop.is_set() and not (fresh and fresh.asked):
                        await _either(stop, timeout_s=pause_s)
                        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            finally:
                await self._retire(line)

    async def _open(self, door: Door) -> "_Line | None":
        """A connection that stands; None, with the reason in the log, when there is none to be had."""
        web = AsyncWebClient(base_url=self._api_url, session=door.session(), retry_handlers=[], logger=_LOG)
        web.proxy = proxy_for(self._api_url)
        try:
            url = str((await web.apps_connections_open(app_token=self._token))["url"])
        except SlackApiError as error:
            _LOG.warning("Slack opens no Socket Mode connection: %s", error.response.get("error"))
            return None
        except Exception as error:  # whatever a socket or the SDK raises
            _LOG.warning("no Socket Mode connection: %s", type(error).__name__)
            return None
        line = _Line(self._token, _SDK, web, ping_interval=self._ping_s)
        line.wss_uri, line.proxy = url, proxy_for(url.replace("ws", "http", 1))
        line.socket_mode_request_listeners.append(self._hear)
        try:
            async with asyncio.timeout(CONNECT_SHARE * self._ping_s):
                await line.connect()  # type: ignore[no-untyped-call]
        except TimeoutError:
            await line.close()
            return None
        _LOG.info("listens for presses by Socket Mode")
        return line

    async def _hear(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        """Carry an envelope out, then acknowledge it; one that cannot be stored is not, and Slack tells the user."""
        task = asyncio.current_task()
        if task is not None:
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)
        if request.type == "interactive" and not await self._take(request.payload):
            return
        await client.send_socket_mode_response({"envelope_id": request.envelope_id})

    async def _retire(self, line: "_Line | None") -> None:
        """Let go of a connection, after what came by it is finished."""
        if line is None:
            return
        if self._busy:
            await asyncio.wait(set(self._busy), timeout=FINISH_S)
        await line.close()


class _Line(SocketModeClient):
    """One connection. The SDK's own way to a new one lets the old go first, and may try a used URL for ever."""

    def __init__(self, app_token: str, logger: Any, web: AsyncWebClient, *, ping_interval: float) -> None:
        super().__init__(app_token, logger, web, ping_interval=ping_interval)
        self.gone = asyncio.Event()
        self.asked = False

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        """Called when the connection is lost, or (`force`) when Slack asks for a new one."""
        self.asked = self.asked or force
        self.gone.set()

    async def close(self) -> None:
        """Close the connection and wait for the SDK's tasks."""
        tasks = (self.message_processor, self.current_session_monitor, self.message_receiver)
        if self.current_session is None:
            self.closed = True
            await self.aiohttp_client_session.close()
            self.message_processor.cancel()
        else:
            await super().close()  # type: ignore[no-untyped-call]
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)


async def _either(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

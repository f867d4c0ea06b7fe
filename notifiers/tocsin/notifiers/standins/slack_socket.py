"""Socket Mode's other end: a WebSocket on loopback that sends envelopes, takes their acknowledgements, and hangs up.

Like Slack it greets with `hello`, hands each envelope to one of the open connections, sends it again when nobody
acknowledges it, and asks for a new connection with `disconnect` now and then. A URL lets in once.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar
from uuid import uuid4

from aiohttp import WSMsgType, web

RESENDS: Final = 3
# Any: envelopes are JSON.
Json = dict[str, Any]
T = TypeVar("T")


class SlackSocket:
    """A server of its own thread and loop; `url()` gives the address for one connection.

    `acknowledged` lists envelope ids as they came back, `sent` the envelopes with every repeat, `tickets` what was
    given out in URLs; `connections` counts who ever came in. An envelope without an answer is sent again after
    `resend_s`. With `lets_in` false every connection is refused.
    """

    def __init__(self, resend_s: float = 1.0) -> None:
        self.acknowledged: list[str] = []
        self.sent: list[str] = []
        self.tickets: list[str] = []
        self.connections = 0
        self.lets_in = True
        self._resend_s = resend_s
        self._changed = threading.Condition()
        self._unused: set[str] = set()
        self._open: list[web.WebSocketResponse] = []
        self._transports: list[asyncio.Transport] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner, self._port = self._call(self._start()).result()

    def url(self) -> str:
        """Where to connect, once."""
        ticket = uuid4().hex
        self.tickets.append(ticket)
        self._unused.add(ticket)
        return f"ws://127.0.0.1:{self._port}/link/?ticket={ticket}"

    def send(self, payload: Json, kind: str = "interactive") -> str:
        """Send an envelope, again and again until it is acknowledged; its id."""
        envelope = uuid4().hex
        self._call(self._deliver(envelope, {"type": kind, "payload": payload}))
        return envelope

    def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask every connection to be renewed; like Slack, hang up a little later."""
        self._call(self._disconnect(reason)).result(10)

    def drop(self) -> None:
        """Tear every connection down without a word."""
        self._call(self._drop()).result(10)

    def wait(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
        """Wait until `condition` holds, looking again after whatever happens here; whether it did in time."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    @property
    def is_open(self) -> bool:
        """Whether somebody is connected."""
        return bool(self._open)

    def close(self) -> None:
        """Hang up and stop the thread."""
        if self._loop.is_closed():
            return
        self._call(self._stop()).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _start(self) -> tuple[web.AppRunner, int]:
        application = web.Application()
        application.router.add_get("/link/", self._serve)
        runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        return runner, port

    async def _stop(self) -> None:
        await self._drop()
        await self._runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if not self.lets_in or ticket not in self._unused:
            return web.Response(status=401, text="the ticket was used, or never given")
        self._unused.discard(ticket)
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": len(self._open) + 1, "debug_info": {}})
        transport = request.transport
        self._came(socket)
        self._transports += [transport] if transport else []
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._take(json.loads(message.data))
        finally:
            self._transports = [other for other in self._transports if other is not transport]
            self._note(lambda: self._open.remove(socket))
        return socket

    def _came(self, socket: web.WebSocketResponse) -> None:
        self.connections += 1
        self._note(lambda: self._open.append(socket))

    def _take(self, answer: Json) -> None:
        envelope = answer.get("envelope_id")
        if isinstance(envelope, str):
            self._note(lambda: self.acknowledged.append(envelope))

    async def _deliver(self, envelope: str, content: Json) -> None:
        for attempt in range(RESENDS + 1):
            await self._somebody()
            again = {"retry_attempt": attempt, "retry_reason": "timeout"} if attempt else {}
            self._note(lambda: self.sent.append(envelope))
            whole = {**content, "envelope_id": envelope, "accepts_response_payload": False, **again}
            try:
                await self._open[-1].send_json(whole)
            except ConnectionError:
                continue
            await asyncio.sleep(self._resend_s)
            if envelope in self.acknowledged:
                return

    async def _somebody(self) -> None:
        """Wait until somebody is connected; the thread's condition cannot be awaited."""
        while not self._open:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def _disconnect(self, reason: str) -> None:
        for socket in list(self._open):
            await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {}})

    async def _drop(self) -> None:
        for transport in list(self._transports):
            transport.abort()

    def _note(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

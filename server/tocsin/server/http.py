"""The API on a socket: uvicorn inside the process's own loop."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from tocsin.events.errors import Unavailable
from tocsin.server.api.app import create_app
from tocsin.server.api.state import Context
from tocsin.server.feed import Feed
from tocsin.server.hooking import Hooks
from tocsin.server.intake import Intake
from tocsin.server.settings import Settings, check_binding
from tocsin.server.slacking import Presses
from tocsin.server.wiring import Parts

BACKLOG: Final = 2048
GRACE_S: Final = 8

logger = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """Leaves the signals to the process, which has more than this to stop, and stops when told, not at a tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """Take no more requests, answer those under way, and end."""
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        """Return when it is to leave; each tick makes the answers' Date anew."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._leaving.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(parts: Parts, stop: asyncio.Event, listener: socket.socket | None = None) -> None:
    """Serve the API until `stop` on `listener` (default: what the settings say); requests under way are answered.

    Raises Invalid (open to others without a key) and Unavailable (the address is taken).
    """
    listener = listener or listen(parts.settings)
    here = _context(parts)
    server = _Server(_config(create_app(here)))
    serving = asyncio.create_task(server.serve([listener]))
    behind = [asyncio.create_task(here.intake.serve()), asyncio.create_task(here.feed.serve())]
    stopped = asyncio.create_task(stop.wait())
    logger.info("listens", url=address(listener), key="required" if parts.settings.api_key else "none (loopback)")
    try:
        await here.hooks.warn()
        await asyncio.wait({serving, stopped, *behind}, return_when=asyncio.FIRST_COMPLETED)
        here.feed.close()  # the tails would keep their connections for ever
        server.leave()
        await serving
        here.intake.close()
        await asyncio.gather(*behind)
    finally:
        for task in (serving, stopped, *behind):
            task.cancel()
        listener.close()


def _context(parts: Parts) -> Context:
    intake = Intake(parts.store)
    hooks = Hooks(parts.store, parts.clock, intake)
    presses = Presses(parts.store, parts.clock)
    return Context(parts.store, parts.settings, parts.clock, intake, Feed(parts.store), hooks, presses)


def listen(settings: Settings) -> socket.socket:
    """A socket bound as the settings say. Raises Invalid when it would be open to others without a key, and
    Unavailable, naming the setting, when the address cannot be had."""
    check_binding(settings)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
            "stop what listens there, or set TOCSIN_PORT (0 takes a free one)"
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def address(listener: socket.socket) -> str:
    """The URL under which this machine reaches a listener."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",  # httptools is quicker, and reads headers without any bound
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        backlog=BACKLOG,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_S,
        ws="none",
    )

"""Socket Mode as a service: for every Slack app that a notifier has an app token of, one connection."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlmodel import Session, col, select

from tocsin.events.clock import Clock
from tocsin.events.errors import Invalid
from tocsin.notifiers.blocks import Slack
from tocsin.notifiers.http import Door
from tocsin.notifiers.redact import redact
from tocsin.notifiers.registry import read_row
from tocsin.notifiers.slack_socket import SlackListener
from tocsin.notifiers.tables import NotifierRow
from tocsin.server.slacking import Presses
from tocsin.store.engine import AWAY, Store

EVERY: Final = timedelta(seconds=5)

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class App:
    """A Slack app that is listened to by Socket Mode; `block` is one of its notifiers."""

    token: str
    block: Slack


class Listening:
    """Listens by Socket Mode for every Slack notifier with an app token, one connection an app.

    Any number of dispatchers may: Slack hands each press to one of them.
    """

    def __init__(self, store: Store, clock: Clock, *, every: timedelta = EVERY, pause_s: float = 1.0) -> None:
        self._store, self._every, self._pause_s = store, every, pause_s
        self._presses = Presses(store, clock)
        self._replies: set[asyncio.Task[None]] = set()

    async def serve(self, stop: asyncio.Event) -> None:
        """Listen until `stop`; a notifier that is put, changed or removed is noticed within seconds."""
        listening: dict[tuple[str, str], tuple[asyncio.Event, asyncio.Task[None]]] = {}
        async with Door() as door:
            try:
                while not stop.is_set():
                    await self._follow(listening, door)
                    await _pause(stop, self._every)
            finally:
                for leave, _ in listening.values():
                    leave.set()
                ends = [task for _, task in listening.values()]
                await asyncio.gather(*ends, *self._replies, return_exceptions=True)

    async def _follow(
        self, listening: dict[tuple[str, str], tuple[asyncio.Event, asyncio.Task[None]]], door: Door
    ) -> None:
        """Begin to listen to new apps, leave those that are gone."""
        try:
            apps = {(app.token, app.block.api_url): app for app in await self._store.look(_apps)}
        except AWAY as error:
            logger.warning("the database does not answer, trying again", reason=type(error).__name__)
            return
        for key, (leave, task) in list(listening.items()):
            if key not in apps or task.done():
                leave.set()
                for failed in await asyncio.gather(task, return_exceptions=True):
                    if isinstance(failed, Exception):
                        logger.error("listening to Slack failed, beginning anew", exc_info=failed)
                del listening[key]
        for key, app in apps.items():
            if key not in listening:
                leave = asyncio.Event()
                listening[key] = leave, asyncio.create_task(self._listener(app, door).serve(leave))

    def _listener(self, app: App, door: Door) -> SlackListener:
        # Any: JSON as it came.
        async def take(payload: dict[str, Any]) -> bool:
            try:
                reply = await self._presses.take(payload, app.block, lambda block: _is_of(block, app.token))
            except Exception as error:  # not acknowledged: Slack tells whoever pressed, who may press again
                logger.error("a press in Slack cannot be stored", reason=redact(f"{type(error).__name__}: {error}"))
                return False
            task = asyncio.create_task(reply.send(door))
            self._replies.add(task)
            task.add_done_callback(self._replies.discard)
            return True

        return SlackListener(app.token, app.block.api_url, take, pause_s=self._pause_s)


def _apps(session: Session) -> list[App]:
    rows = session.exec(select(NotifierRow).where(NotifierRow.kind == "slack").order_by(col(NotifierRow.name))).all()
    return [app for row in rows if (app := _app(row)) is not None]


def _app(row: NotifierRow) -> App | None:
    try:
        block = read_row(row)
    except Invalid as error:
        logger.error("a notifier cannot be read", notifier=row.name, reason=redact(str(error)))
        return None
    if not isinstance(block, Slack) or block.app_token is None:
        return None
    return App(block.app_token.get_secret_value(), block)


def _is_of(block: Slack, app_token: str) -> bool:
    return block.app_token is not None and block.app_token.get_secret_value() == app_token


async def _pause(stop: asyncio.Event, span: timedelta) -> None:
    try:
        async with asyncio.timeout(span.total_seconds()):
            await stop.wait()
    except TimeoutError:
        return

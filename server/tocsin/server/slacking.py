"""Presses of buttons in Slack, from both ways in (HTTP and Socket Mode) to what they do.

A press is stored before Slack is told that it came. What the message itself will not show (a silence, a refusal) is
said to whoever pressed, through the `response_url` that came with the press.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from sqlmodel import Session

from tocsin.events.clock import Clock
from tocsin.events.errors import Conflict, Invalid, NotFound
from tocsin.notifiers import past
from tocsin.notifiers.act import Resolve
from tocsin.notifiers.acts import act
from tocsin.notifiers.blocks import Slack
from tocsin.notifiers.case import LIVE
from tocsin.notifiers.fit import escape
from tocsin.notifiers.http import Answer, Door
from tocsin.notifiers.redact import redact
from tocsin.notifiers.registry import read_row
from tocsin.notifiers.slack_acts import Press, Strange, done, read_press
from tocsin.notifiers.tables import NotifierRow
from tocsin.store.engine import Store
from tocsin.triggers.allowance import Allowance, take

SAID: Final = 1_000
REMEMBERED: Final = 1_000
COMPLAINTS: Final = 60
"""Lines a minute in the log about requests that are refused."""
_NOT_OURS: Final = "This button is not from a message of this tocsin, or its notifier was changed. Nothing was done."
_NOT_KNOWN: Final = (
    "This tocsin knows no such incident: it was told by another one, or was cleaned up. Nothing was done."
)
_OVER: Final = "This incident is over. Nothing was done."

logger = structlog.get_logger(__name__)

Proof = Callable[[Slack], bool]
"""Whether a press was proven with the secret of this notifier."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A word for whoever pressed; `api_url` of the notifier says where Slack's answers may go."""

    text: str
    to: str
    api_url: str

    async def send(self, door: Door) -> None:
        """Post it, once; a reply that is lost harms nobody."""
        allow = answer_hosts(self.to, self.api_url)
        if not self.text or allow is None:
            return
        text = escape(redact(self.text), SAID)
        body = {"response_type": "ephemeral", "replace_original": False, "text": text}
        headers = {"Content-Type": "application/json"}
        result = await door.post(self.to, json.dumps(body).encode(), headers, allow=allow)
        if not isinstance(result, Answer) or result.status >= 300:
            logger.info("a reply to a press in Slack was not taken", reason=redact(str(result))[:200])


class Presses:
    """Carries presses out, each once in this process; the acts themselves change nothing when they are repeated."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._done: OrderedDict[UUID, str] = OrderedDict()
        self._one = asyncio.Lock()
        self._said: Allowance | None = None

    def refused(self, notifier: str, client: str) -> None:
        """Say in the log that a request is not taken; not more than so often, whoever knocks."""
        self._said, wait = take(self._said, self._clock.now(), COMPLAINTS)
        if not wait:
            logger.warning(
                "a request is not from Slack, or not for this notifier's app: look at its signing_secret",
                notifier=notifier[:100],
                client=client,
            )

    async def find(self, name: str) -> Slack | None:
        """The Slack notifier of this name. Raises Invalid when its secrets cannot be read."""
        return await self._store.look(lambda session: _slack(session, name))

    async def take(self, payload: Any, block: Slack, proof: Proof) -> Reply:  # Any: JSON as it came
        """Carry out what an interaction asks for; comes back after the commit. Raises what the database raises."""
        read = read_press(payload)
        match read:
            case None:
                return Reply("", "", block.api_url)
            case Strange(reason, answer_to):
                return Reply(reason, answer_to, block.api_url)
            case Press():
                return Reply(await self._carry_out(read, proof), read.answer_to, block.api_url)

    async def _carry_out(self, press: Press, proof: Proof) -> str:
        async with self._one:
            if press.id not in self._done:
                self._done[press.id] = await self._try(press, proof)
                if len(self._done) > REMEMBERED:
                    self._done.popitem(last=False)
            return self._done[press.id]

    async def _try(self, press: Press, proof: Proof) -> str:
        try:
            return await self._store.run(lambda session: self._act(session, press, proof))
        except (NotFound, Conflict, Invalid) as error:
            return str(error)

    def _act(self, session: Session, press: Press, proof: Proof) -> str:
        block = _slack(session, press.notifier)
        if block is None or not proof(block):
            return _NOT_OURS
        if not past.was_concerned(session, press.incident, press.notifier):
            return _NOT_KNOWN
        incident = act(session, press.incident, press.act, self._clock.now())
        if incident.state not in LIVE and not isinstance(press.act, Resolve):
            return _OVER
        logger.info("a press in Slack", act=type(press.act).__name__, by=press.act.by, incident=str(press.incident))
        return done(press.act)


def answer_hosts(url: str, api_url: str) -> tuple[str, ...] | None:
    """The allow-list for a reply to `url`; None when it is not Slack's own (`hooks.slack.com` beside `slack.com`)."""
    there, ours = urlsplit(url), urlsplit(api_url)
    if ours.scheme == "http":  # a stand-in on this machine: nothing else may be http
        return (ours.netloc,) if there.netloc == ours.netloc else None
    host = there.hostname or ""
    return () if there.scheme == "https" and host.endswith(f".{ours.hostname}") else None


def _slack(session: Session, name: str) -> Slack | None:
    row = session.get(NotifierRow, name)
    if row is None or row.kind != "slack":
        return None
    block = read_row(row)
    return block if isinstance(block, Slack) else None

"""What the API keeps for hooks: their definitions at hand, how much may still come, what becomes of a post."""

import hashlib
from collections import OrderedDict
from datetime import datetime, timedelta
from math import ceil
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from tocsin.events.bus import DeadLetter, Record
from tocsin.events.clock import Clock, micros
from tocsin.events.errors import Invalid, Unavailable
from tocsin.events.topics import EXTERNAL
from tocsin.notifiers.redact import learn
from tocsin.server.intake import Intake
from tocsin.store.engine import Store
from tocsin.store.log import publish
from tocsin.store.tables import LogEntry
from tocsin.triggers.allowance import Allowance, take
from tocsin.triggers.hook import Hook
from tocsin.triggers.hook_posts import Meant, Post
from tocsin.triggers.hook_tables import HookRow
from tocsin.triggers.hooks import LETTERS, list_hooks, read_row

_BURIED: Final = 1_000
_COMPLAINTS: Final = 60
"""Lines a minute in the log about posts that are refused."""

logger = structlog.get_logger(__name__)


class Hooks:
    """The hooks of one server. Rates are counted by each process for itself."""

    def __init__(self, store: Store, clock: Clock, intake: Intake) -> None:
        self._store, self._clock, self._intake = store, clock, intake
        self._read: dict[str, tuple[datetime, Hook]] = {}
        self._left: dict[str, Allowance] = {}
        self._said: Allowance | None = None
        self._buried: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def warn(self) -> None:
        """Say in the log which hooks take posts from anybody."""
        try:
            listed = await self._store.look(list_hooks)
        except (SQLAlchemyError, OSError) as error:
            logger.error("the hooks cannot be read", reason=str(error))
            return
        for hook in listed:
            if hook.verified_by == "insecure":
                logger.warning("an insecure hook: anybody may post to it", hook=hook.name)

    async def find(self, name: str) -> Hook | None:
        """The hook of this name as it is stored now. Raises Unavailable when its secret cannot be opened."""
        try:
            return await self._store.look(lambda session: self._found(session, name))
        except Invalid as error:
            logger.error("a hook cannot be read", hook=name, reason=str(error))
            raise Unavailable("this hook cannot be read at the moment; the reason is in the server's log") from error

    def wait_s(self, hook: Hook) -> int:
        """Seconds to wait until the hook takes another post; 0: it takes this one, which is counted."""
        self._left[hook.name], wait = take(self._left.get(hook.name), self._clock.now(), hook.per_minute)
        return ceil(wait)

    async def keep(self, meant: Meant, hook: Hook, size: int) -> UUID:
        """Store the event of a post, once; the id under which it is stored. Raises Full and Unavailable."""
        if meant.earlier is not None and await self._is_repeat(meant.earlier, hook):
            return meant.earlier
        await self._intake.put([meant.event], size)
        return meant.event.id

    async def bury(self, hook: Hook, post: Post, reason: str) -> None:
        """Put what cannot be read or mapped among the dead letters; the same body again, for as long as this process
        remembers, is not put there twice."""
        known = (hook.name, hashlib.sha256(post.body).hexdigest())
        if known in self._buried:
            return
        lies = Record(f"hook/{hook.name}", hook.name, post.body, "http", 0, micros(self._clock.now()))
        letter = DeadLetter.of(lies, LETTERS, reason).message()
        await self._store.run(lambda session: publish(session, [letter], self._clock.now()))
        self._buried[known] = None
        if len(self._buried) > _BURIED:
            self._buried.popitem(last=False)

    def refused(self, name: str, reason: str, client: str) -> None:
        """Say in the log why a post is not taken; not more than so often, whoever knocks."""
        self._said, wait = take(self._said, self._clock.now(), _COMPLAINTS)
        if not wait:
            logger.warning("a post to a hook is refused", hook=name[:100], reason=reason, client=client)

    def _found(self, session: Session, name: str) -> Hook | None:
        row = session.get(HookRow, name)
        if row is None:
            self._read.pop(name, None)
            return None
        known = self._read.get(name)
        if known is None or known[0] != row.updated:
            known = self._read[name] = row.updated, read_row(row)
            learn(*(known[1].verify.secrets if known[1].verify else ()))
        return known[1]

    async def _is_repeat(self, number: UUID, hook: Hook) -> bool:
        since = self._clock.now() - timedelta(seconds=hook.same_body_s)
        known = select(LogEntry.seq).where(
            LogEntry.id == number, LogEntry.topic == EXTERNAL, col(LogEntry.recorded) > since
        )
        return await self._store.look(lambda session: session.exec(known).first()) is not None

"""Events from outside on their way into the log: many small posts share one commit, too many are refused, none is lost.

```text
post ──┐
post ──┼─▶ waiting (bounded) ──▶ one transaction ──▶ every post of the group is answered
post ──┘                              │
         while it commits, the next group gathers
```
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from tocsin.events.errors import TocsinError, Unavailable
from tocsin.events.model import Event
from tocsin.events.topics import EXTERNAL
from tocsin.store.engine import Store
from tocsin.store.log import append

MAX_WAITING: Final = 10_000
MAX_WAITING_BYTES: Final = 64_000_000
MAX_GROUP: Final = 2_000

logger = structlog.get_logger(__name__)


class Full(Unavailable):
    """The intake holds as much as it may; nothing of this post was kept. `retry_after_s` says when to come back."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"{waiting:,} events are waiting to be stored; send these again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(slots=True, eq=False)
class _Post:
    events: Sequence[Event]
    size: int
    stored: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Intake:
    """Stores posts in groups; `put` returns when the post's own events are durable."""

    def __init__(
        self,
        store: Store,
        *,
        max_waiting: int = MAX_WAITING,
        max_bytes: int = MAX_WAITING_BYTES,
        max_group: int = MAX_GROUP,
    ) -> None:
        self._store = store
        self._max_waiting, self._max_bytes, self._max_group = max_waiting, max_bytes, max_group
        self._posts: deque[_Post] = deque()
        self._waiting = 0
        self._bytes = 0
        self._rate = float(max_group)
        self._arrived = asyncio.Event()
        self._closed = False

    async def put(self, events: Sequence[Event], size: int = 0) -> None:
        """Return when all of `events`, `size` bytes as posted, are in the log, or were there already by their ids.

        Raises Full, with nothing kept, when too many wait; Unavailable when the database does not answer.
        """
        if self._closed:
            raise Unavailable("the server is stopping; send these again")
        over = self._waiting + len(events) > self._max_waiting or self._bytes + size > self._max_bytes
        if self._waiting and over:
            raise Full(self._waiting, max(1, ceil(self._waiting / self._rate)))
        post = _Post(events, size)
        self._posts.append(post)
        self._waiting += len(events)
        self._bytes += size
        self._arrived.set()
        await post.stored

    @property
    def waiting(self) -> int:
        """How many events are accepted for storing and not stored yet."""
        return self._waiting

    @property
    def full(self) -> bool:
        """Whether the next post is refused."""
        return self._waiting >= self._max_waiting or self._bytes >= self._max_bytes

    async def serve(self) -> None:
        """Store what arrives, group by group, until `close` was called and nothing waits."""
        while self._posts or not self._closed:
            await self._arrived.wait()
            self._arrived.clear()
            while self._posts:
                await self._store_group(self._next_group())

    def close(self) -> None:
        """Take no more; `serve` returns when what waits is stored."""
        self._closed = True
        self._arrived.set()

    def _next_group(self) -> list[_Post]:
        group = [self._posts.popleft()]
        size = len(group[0].events)
        while self._posts and size + len(self._posts[0].events) <= self._max_group:
            post = self._posts.popleft()
            size += len(post.events)
            group.append(post)
        return group

    async def _store_group(self, group: list[_Post]) -> None:
        size = sum(len(post.events) for post in group)
        began = asyncio.get_running_loop().time()
        error = await self._write([event for post in group for event in post.events])
        if error is None:
            spent = max(asyncio.get_running_loop().time() - began, 1e-4)
            self._rate = 0.8 * self._rate + 0.2 * size / spent
            _answer(group, None)
        elif len(group) == 1 or isinstance(error, Unavailable):
            _answer(group, error)
        else:
            for post in group:  # one post's events must not refuse the others'
                _answer([post], await self._write(post.events))
        self._waiting -= size
        self._bytes -= sum(post.size for post in group)

    async def _write(self, events: Sequence[Event]) -> TocsinError | None:
        """None when stored, else why not."""
        try:
            # `append` passes over ids that the log knows, the group's own among them.
            await self._store.run(lambda session: append(session, events, EXTERNAL))
        except TocsinError as error:
            return error
        except (SQLAlchemyError, OSError) as error:
            logger.error("events not stored", count=len(events), reason=str(error))
            return Unavailable("the database does not take events at the moment; send these again")
        return None


def _answer(group: Sequence[_Post], error: TocsinError | None) -> None:
    for post in group:
        if post.stored.done():  # the client went away
            continue
        if error is None:
            post.stored.set_result(None)
        else:
            post.stored.set_exception(error)

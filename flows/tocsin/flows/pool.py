"""Where submitted tasks run: threads, and one event loop for coroutines; at most `limit` at work at once.

A task that submits tasks and waits for them would fill a bounded pool with waiters and stop it for good. So whoever
waits lends its place (`lent`) and gets one back, before any new task does, when it goes on:

    place 1   outer ── waits: lent ───────────────┐ goes on
    place 1          inner ── ends: given back ───┘
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context, ContextVar
from typing import Any, Final

LIMIT: Final = 32

Job = Callable[[], None]
Work = Callable[[], Coroutine[Any, Any, None]]  # Any: what a coroutine sends and yields


class Pool:
    """Places for `limit` tasks. Daemon threads, made as they are needed, that go when there is nothing to do."""

    def __init__(self, limit: int = LIMIT, idle_s: float = 2.0) -> None:
        self.limit, self._idle_s = limit, idle_s
        self._waiting: deque[Job] = deque()
        self._returning: deque[Job] = deque()
        self._ready: deque[Job] = deque()
        self._changed = threading.Condition()
        self._working = 0
        self._idle = 0

    def put(self, job: Job) -> None:
        """Have a thread do the job; jobs begin in the order in which they were put. A job may not raise."""
        self._queue(self._waiting, lambda: self._staff(job))

    def put_back(self, job: Job) -> None:
        """The same, before all that was put: for the rest of something that had begun."""
        self._queue(self._returning, lambda: self._staff(job))

    def put_coroutine(self, work: Work, context: Context) -> None:
        """Run what `work()` gives in the event loop, in the order of `put` and under its limit. It may not raise."""
        self._queue(self._waiting, lambda: LOOP.put(lambda: self._placed(work), context))

    @property
    def quiet(self) -> bool:
        """Whether there is no other work than that of whoever asks; a guess, nobody is held up for it."""
        return self._working <= 1 and not self._waiting and not self._returning

    def close(self) -> None:
        """Let idle threads go now, and the others when they have done their work; what waits is still done."""
        with self._changed:
            self._idle_s = 0.0
            self._changed.notify_all()

    def give_back(self) -> None:
        """One place is free."""
        with self._changed:
            self._working -= 1
            self._fill()

    def take_again(self, then: Callable[[], None]) -> None:
        """Call `then`, which may not block, as soon as there is a place for whoever lent his."""
        self._queue(self._returning, then)

    def _queue(self, where: deque[Job], start: Job) -> None:
        with self._changed:
            where.append(start)
            self._fill()

    def _fill(self) -> None:
        while self._working < self.limit and (queue := self._returning or self._waiting):
            self._working += 1
            queue.popleft()()

    def _staff(self, job: Job) -> None:
        self._ready.append(job)
        if self._idle >= len(self._ready):
            self._changed.notify()
        else:
            threading.Thread(target=self._work, name="tocsin-task", daemon=True).start()

    def _work(self) -> None:
        _here.place = Place(self)
        while (job := self._next()) is not None:
            job()
            self.give_back()

    def _next(self) -> Job | None:
        """The next job that has a place; None: the thread shall go."""
        with self._changed:
            if not self._ready:
                self._idle += 1
                self._changed.wait_for(lambda: self._ready or not self._idle_s, self._idle_s)
                self._idle -= 1
            return self._ready.popleft() if self._ready else None

    async def _placed(self, work: Work) -> None:
        _place.set(Place(self))
        try:
            await work()
        finally:
            self.give_back()


class Place:
    """One of a pool's places, while somebody has it. `waits`: how many parts of his work wait for something."""

    __slots__ = ("pool", "waits")

    def __init__(self, pool: Pool) -> None:
        self.pool, self.waits = pool, 0

    def lend(self) -> None:
        """Let others have it while all that its holder does is wait."""
        self.waits += 1
        if self.waits == 1:
            self.pool.give_back()

    def returned(self, then: Callable[[], None]) -> None:
        """Call `then` when its holder may go on."""
        self.waits -= 1
        if self.waits == 0:
            self.pool.take_again(then)
        else:
            then()


_here = threading.local()
_place: ContextVar[Place | None] = ContextVar("tocsin_place", default=None)


def _held() -> Place | None:
    """The place of the thread at hand, else that of the coroutine."""
    place: Place | None = getattr(_here, "place", None)
    return place or _place.get()


def keep_place(context: Context) -> None:
    """Let code that another thread runs in this context lend, and get back, the place of the code at hand."""
    context.run(_place.set, _held())


@contextmanager
def lent() -> Iterator[None]:
    """While inside, this thread does not count as at work; it goes on when there is a place for it."""
    place = _held()
    if place is None:
        yield
        return
    place.lend()
    try:
        yield
    finally:
        again = threading.Event()
        place.returned(again.set)
        again.wait()


@asynccontextmanager
async def lent_here() -> AsyncIterator[None]:
    """The same for a coroutine: its loop stays free."""
    place = _held()
    if place is None:
        yield
        return
    place.lend()
    try:
        yield
    finally:
        loop, again = asyncio.get_running_loop(), asyncio.Event()
        place.returned(lambda: _wake(loop, again))
        await again.wait()


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)


class Loop:
    """One event loop in a daemon thread, for coroutine tasks that are submitted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def put(self, work: Work, context: Context) -> None:
        """Run what `work()` gives, in a copy of the context. It may not raise."""
        context.run(asyncio.run_coroutine_threadsafe, work(), self.started())

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then`, which may not block, in so many seconds."""
        loop = self.started()
        loop.call_soon_threadsafe(loop.call_later, seconds, then)

    def is_here(self) -> bool:
        """Whether this is the loop's own thread: then nothing may block."""
        return threading.current_thread() is self._thread

    def started(self) -> asyncio.AbstractEventLoop:
        """The loop, which runs."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="tocsin-loop", daemon=True)
                self._thread.start()
            return self._loop

    def stop(self) -> None:
        """End the thread and close the loop, if it was started; nothing is left to run in it."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


POOL = Pool()
LOOP = Loop()


def _forget() -> None:
    POOL.__init__()  # type: ignore[misc]  # a forked child has none of the threads
    LOOP.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

"""Threads for submitted tasks. At most `limit` work at once; one that only waits for another task does not count.

A task that submits tasks and waits for them would fill a bounded pool with waiters and stop it for good. So a thread
of the pool that waits lends its place (`lent`) to another one until it goes on.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

LIMIT: Final = 32
_here = threading.local()

Job = Callable[[], None]


class Pool:
    """Daemon threads, made as they are needed, that go when there is nothing to do."""

    def __init__(self, limit: int = LIMIT, idle_s: float = 2.0) -> None:
        self.limit, self._idle_s = limit, idle_s
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._working = 0
        self._idle = 0

    def put(self, job: Job) -> None:
        """Have a thread do the job; jobs begin in the order in which they were put. A job may not raise."""
        with self._changed:
            self._jobs.append(job)
            self._staff()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """While inside, this thread of the pool does not count; for other threads nothing happens."""
        if getattr(_here, "pool", None) is not self:
            yield
            return
        with self._changed:
            self._working -= 1
            self._staff()
        try:
            yield
        finally:
            with self._changed:
                self._working += 1

    def _staff(self) -> None:
        if self._working >= self.limit:
            return
        if self._idle:
            self._changed.notify()
        elif len(self._jobs) > 0:
            self._working += 1
            threading.Thread(target=self._work, name="tocsin-task", daemon=True).start()

    def _work(self) -> None:
        _here.pool = self
        while (job := self._next()) is not None:
            job()

    def _next(self) -> Job | None:
        """The next job for a thread that has done its last one; None: it shall go."""
        with self._changed:
            self._working -= 1
            self._idle += 1
            ready = self._changed.wait_for(lambda: self._jobs and self._working < self.limit, self._idle_s)
            self._idle -= 1
            if not ready:
                return None
            self._working += 1
            job = self._jobs.popleft()
            if self._jobs and self._working < self.limit:
                self._staff()
            return job


class Loop:
    """One event loop in a daemon thread, for coroutine tasks that are submitted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def put(self, coroutine: Callable[[], Coroutine[Any, Any, None]]) -> None:  # Any: what a coroutine sends and yields
        """Run what `coroutine()` gives. It may not raise."""
        asyncio.run_coroutine_threadsafe(coroutine(), self._started())

    def is_here(self) -> bool:
        """Whether this is the loop's own thread: then nothing may block."""
        return threading.current_thread() is self._thread

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="tocsin-loop", daemon=True)
                self._thread.start()
            return self._loop


POOL = Pool()
LOOP = Loop()


def _forget() -> None:
    POOL.__init__()  # type: ignore[misc]  # a forked child has none of the threads
    LOOP.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

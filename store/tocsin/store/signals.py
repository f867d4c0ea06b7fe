"""Who waits for a change hears of it: at once inside the process, within 25 ms from another one."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, Protocol


class Probe(Protocol):
    """Tells whether another process may have changed the database."""

    def __call__(self, seen: int | None) -> int | None:
        """A number that differs from `seen` when something may have changed; None where nothing can be told."""
        ...


class Hub:
    """Passes the channels that a committed transaction touched on to the watches of this process."""

    def __init__(self, probe: Probe, interval: timedelta) -> None:
        self.probe, self.interval = probe, interval
        self._watches: set[Watch] = set()
        self._lock = threading.Lock()

    def watch(self, channels: Iterable[str]) -> "Watch":
        """A new watch on these channels; close it, or use it as a context manager."""
        watch = Watch(self, frozenset(channels))
        with self._lock:
            self._watches.add(watch)
        return watch

    def tell(self, channels: frozenset[str]) -> None:
        """Wake every watch on one of `channels`; callable from any thread."""
        with self._lock:
            woken = [watch for watch in self._watches if watch.channels & channels]
        for watch in woken:
            watch.wake()

    def forget(self, watch: "Watch") -> None:
        """Pass nothing on to `watch` any more."""
        with self._lock:
            self._watches.discard(watch)


class Watch:
    """One waiter for some channels, inside one event loop."""

    def __init__(self, hub: Hub, channels: frozenset[str]) -> None:
        self.channels = channels
        self._hub, self._seen = hub, hub.probe(None)
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop hearing."""
        self._hub.forget(self)

    def wake(self) -> None:
        """Make `wait` return; callable from any thread."""
        _call(self._loop, self._woken.set)

    async def wait(self, timeout: timedelta) -> bool:
        """Return True as soon as a channel may have changed since the last `wait`, False after `timeout`."""
        end = self._loop.time() + timeout.total_seconds()
        while not self._changed():
            rest = end - self._loop.time()
            if rest <= 0:
                return False
            await self._doze(min(rest, self._hub.interval.total_seconds()))
        self._woken.clear()
        return True

    async def _doze(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            if self._seen is None:
                self._woken.set()

    def _changed(self) -> bool:
        if self._woken.is_set():
            self._seen = self._hub.probe(self._seen)
            return True
        before, self._seen = self._seen, self._hub.probe(self._seen)
        return self._seen != before


async def first(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when the first of these is over; the others are cancelled. Nobody looks at the answers."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        return  # the loop is closed: nobody waits there any more

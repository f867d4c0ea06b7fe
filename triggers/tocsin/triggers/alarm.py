"""The alarm clock: APScheduler wakes us, and decides nothing.

Its own triggers lose and double ticks where clocks are changed, and its stores at a crash; so it is given two jobs that
only ring: one at the next due time, and a sweep that comes whatever happens.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

SWEEP: Final = timedelta(seconds=2)
FARTHEST: Final = timedelta(days=1)
_NEXT, _SWEEP = "next", "sweep"


class Ahead(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires `period` after now, never for what is past; without a period, not again."""

    __slots__ = ("period",)

    def __init__(self, period: timedelta | None) -> None:
        self.period = period

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """When to fire next, seen from `now` alone."""
        return now + self.period if self.period is not None else None


class Alarm:
    """Rings after the span it was set to, at least at every sweep, and when told; rings in between count as one.

    Timers run on the machine's monotonic clock: that a wall clock was set, or the machine slept, shows at the sweep.
    """

    def __init__(self, sweep: timedelta = SWEEP) -> None:
        self._rung = asyncio.Event()
        self._scheduler = AsyncIOScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": AsyncIOExecutor()},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=UTC,
        )
        self._sweep = sweep

    def __enter__(self) -> Self:
        self._scheduler.start()
        self._add(_SWEEP, Ahead(self._sweep), self._sweep)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown(wait=False)

    def set(self, delay: timedelta) -> None:
        """Ring after `delay`, and not at the time set before; a far time counts as a day."""
        self._add(_NEXT, Ahead(None), max(timedelta(0), min(delay, FARTHEST)))

    def ring(self) -> None:
        """Ring now."""
        self._rung.set()

    async def wait(self) -> None:
        """Return when it has rung since the last `wait`."""
        await self._rung.wait()
        self._rung.clear()

    def _add(self, job: str, trigger: Ahead, delay: timedelta) -> None:
        at = datetime.now(UTC) + delay
        self._scheduler.add_job(self._on_time, trigger, id=job, replace_existing=True, next_run_time=at)

    async def _on_time(self) -> None:  # a coroutine: APScheduler would run a plain function in a thread
        self.ring()

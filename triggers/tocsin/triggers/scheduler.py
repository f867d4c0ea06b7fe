"""The scheduler: wakes when something is due and has it logged. Run as many of it as you like; there is no leader."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session

from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import TocsinError
from tocsin.store.engine import AWAY, Store
from tocsin.triggers import ticks
from tocsin.triggers.alarm import SWEEP, Alarm
from tocsin.triggers.store import CHANNEL

logger = logging.getLogger(__name__)

WHILE_OTHERS_WORK: Final = timedelta(milliseconds=50)
BETWEEN_LOOKS_S: Final = 0.05
AHEAD: Final = timedelta(milliseconds=250)
"""So long before the next tick its transaction is begun; when less than a tenth of that is left, it is not worth it."""
ZONES_READ_AGAIN: Final = timedelta(days=1)


class ClockPutBack(TocsinError):
    """What was due in a moment is not: the clock was put back meanwhile."""


class Scheduler:
    """Logs the ticks of the schedules in `store` when they are due by `clock`."""

    def __init__(self, store: Store, clock: Clock | None = None, *, sweep: timedelta = SWEEP) -> None:
        self._store, self._clock, self._sweep = store, clock or SystemClock(), sweep
        # SQLite has one writer: a transaction that waits would keep all others from writing.
        self._ahead = AHEAD if store.dialect == "postgresql" else timedelta(0)

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. A database that is away is asked again at the next sweep."""
        with Alarm(self._sweep) as alarm:
            async with asyncio.TaskGroup() as helpers:
                tasks = [helpers.create_task(self._listen(alarm)), helpers.create_task(_ring_at(stop, alarm))]
                await self._serve(stop, alarm)
                for task in tasks:
                    task.cancel()

    async def turn(self) -> timedelta | None:
        """Log what is due; how long it is until the next tick (zero: at once), None when there is none to come."""
        wait = await self._until_next()
        if wait is None or wait > timedelta(0):
            return wait
        logged = await self._store.run(lambda session: ticks.claim(session, self._clock.now()))
        return timedelta(0) if logged else WHILE_OTHERS_WORK

    async def turn_ahead(self, at: datetime) -> bool:
        """Have everything ready for what is due at `at`, and log it then; False when others are at it."""
        return bool(await self._store.run(lambda session: ticks.claim_ahead(session, at, lambda: self._come(at))))

    async def refresh(self) -> None:
        """Read the rules of zones again and reckon every schedule's next time by them."""
        ticks.forget_zones()
        after: str | None = ""
        while after is not None:
            after = await self._store.run(_refresh_behind(after))

    async def _serve(self, stop: asyncio.Event, alarm: Alarm) -> None:
        refreshed: datetime | None = None
        while not stop.is_set():
            try:
                if refreshed is None or self._clock.now() - refreshed >= ZONES_READ_AGAIN:
                    await self.refresh()
                    refreshed = self._clock.now()
                wait = await self._rest(await self.turn())
            except AWAY as error:
                reason = getattr(error, "orig", None) or error
                logger.warning("scheduler: the database failed, next try at the next sweep: %s", reason)
                wait = None
            if wait is None or wait > timedelta(0):
                alarm.set(wait or self._sweep)
                await alarm.wait()

    async def _rest(self, wait: timedelta | None) -> timedelta | None:
        """How long to rest when the next tick is due after `wait`: none when it has been made ready and logged."""
        if wait is None or not self._ahead or wait < self._ahead / 10:
            return wait
        if wait > self._ahead:
            return wait - self._ahead
        try:
            done = await self.turn_ahead(self._clock.now() + wait)
        except ClockPutBack:
            return WHILE_OTHERS_WORK
        return timedelta(0) if done else wait + WHILE_OTHERS_WORK

    def _come(self, at: datetime) -> datetime:
        """Return when `at` has come, with the time it is; runs in a thread of the store."""
        end = time.monotonic() + 2 * AHEAD.total_seconds()
        while True:
            ended = time.monotonic() > end  # looked at first: a machine that stalls in between puts back no clock
            if (now := self._clock.now()) >= at:
                return now
            if ended:
                raise ClockPutBack(f"{at.isoformat()} does not come")
            time.sleep(min((at - now).total_seconds(), BETWEEN_LOOKS_S))

    async def _until_next(self) -> timedelta | None:
        at = await self._store.look(ticks.earliest)
        return at - self._clock.now() if at is not None else None

    async def _listen(self, alarm: Alarm) -> None:
        """Ring when a schedule was put, paused or removed: by this process or by another."""
        with self._store.watch(CHANNEL) as watch:
            while True:
                if await watch.wait(self._sweep):
                    alarm.ring()
                    await asyncio.sleep(BETWEEN_LOOKS_S)


async def _ring_at(stop: asyncio.Event, alarm: Alarm) -> None:
    await stop.wait()
    alarm.ring()


def _refresh_behind(after: str) -> Callable[[Session], str | None]:
    return lambda session: ticks.refresh(session, after)

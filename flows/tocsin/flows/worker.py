"""The worker: takes due runs of one pool, has each started where the pool says, sees how it ends.

due run ──claim──▶ PENDING under our lease ──start──▶ handle ──wait──▶ exit ──▶ CRASHED, if it had not ended
                                                        ▲
      cancelled, suspended, given up by others ── terminate, after the grace time kill
"""

import asyncio
import logging
import os
import socket
from collections.abc import Collection, Coroutine
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import TocsinError
from tocsin.events.ids import uuid7
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event
from tocsin.flows import claims
from tocsin.flows.beat import Heart
from tocsin.flows.infrastructure import Exit, Handle, Infrastructure, Job, template_of
from tocsin.flows.jobs import jobs_of
from tocsin.flows.orders import Order, is_over, order_for, standing_of
from tocsin.flows.pools import DEFAULT, create_pool
from tocsin.flows.tables import WorkerRow
from tocsin.flows.waking import waking
from tocsin.store import log
from tocsin.store.engine import Store
from tocsin.store.signals import first

NET: Final = timedelta(seconds=5)
"""The longest time between two looks at the database, whatever woke nobody."""
BREATH_S: Final = 0.01
"""The shortest: a busy database wakes the worker for every commit of anybody."""
GRACE: Final = timedelta(seconds=10)
HASTE: Final = timedelta(seconds=1)
"""The same when somebody is in a hurry."""
LINGER: Final = timedelta(seconds=30)
"""How long a process may stay when its run is over."""
HOOKS: Final = timedelta(minutes=1)
"""How long the hooks of a run whose process is gone may take."""
LIMIT: Final = 10
TERMINATED: Final = 143

logger = logging.getLogger(__name__)


class Hand:
    """One attempt that this worker has at work."""

    def __init__(self, job: Job, handle: Handle) -> None:
        self.job = job
        self.run_id, self.attempt, self.name = job.run_id, job.attempt, str(job.run["name"])
        self.handle = handle
        self.following: asyncio.Task[None] | None = None
        self.ending: asyncio.Task[None] | None = None
        self.stuck = False
        self.over_since: datetime | None = None

    @property
    def key(self) -> tuple[UUID, int]:
        """What tells it from others: a zombie may be another attempt of the same run."""
        return self.run_id, self.attempt


class Worker:
    """Serves one pool with at most `limit` runs at once; `queues`: only these of its queues."""

    def __init__(
        self,
        store: Store,
        pool: str = DEFAULT,
        *,
        limit: int = LIMIT,
        queues: Collection[str] | None = None,
        clock: Clock | None = None,
        name: str | None = None,
        grace: timedelta = GRACE,
        drain: timedelta = timedelta(),
    ) -> None:
        """`grace`: between asking a run to stop and killing it; `drain`: how long runs may go on after a stop."""
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{uuid7().hex[-4:]}"
        self.hurry = asyncio.Event()
        """Set: whoever drains stops draining."""
        self._store, self._pool, self._limit = store, pool, limit
        self._queues = sorted(queues) if queues else None
        self._clock, self._grace, self._drain = clock or SystemClock(), grace, drain
        self._heart = Heart(store, self._clock, "worker")
        self._hands: dict[tuple[UUID, int], Hand] = {}
        self._starting: set[tuple[UUID, int]] = set()
        self._watching: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._unsure = False
        url = store.engine.url.render_as_string(hide_password=False)
        self._environment = {"TOCSIN_DATABASE_URL": url, "TOCSIN_WORKER": self.name}

    @property
    def at_work(self) -> int:
        """How many runs it has at work."""
        return len(self._hands)

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until `stop`; then let runs go on for the drain time, ask the others to end, and at last end them."""
        await asyncio.to_thread(self._heart.start)
        try:
            infrastructure = await self._store.run(lambda session: self._register(session, self._clock.now()))
            await infrastructure.open()
            try:
                await self._work(infrastructure, stop)
                await self._let_finish()
                await self._wind_down()
            finally:
                for hand in self._hands.values():
                    hand.handle.kill()
                await infrastructure.close()
            await self._store.run(lambda session: self._sign_off(session, self._clock.now()))
        finally:
            await asyncio.to_thread(self._heart.stop)

    async def _work(self, infrastructure: Infrastructure, stop: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        with closing(waking(self._store)) as watch:
            while not stop.is_set():
                began = clock()
                wait = await self._turn_safely(infrastructure)
                await first(watch.wait(wait), self._freed.wait(), stop.wait())
                self._freed.clear()
                if (rest := BREATH_S - (clock() - began)) > 0:
                    await first(asyncio.sleep(rest), stop.wait())

    async def _turn_safely(self, infrastructure: Infrastructure) -> timedelta:
        try:
            return await self._turn(infrastructure)
        except SQLAlchemyError as error:
            logger.warning("worker %s: the database does not answer, trying again: %s", self.name, error)
            self._unsure = True
            return timedelta(seconds=1)

    async def _turn(self, infrastructure: Infrastructure) -> timedelta:
        """Start what is due, stop what is to stop; how long to wait for the next turn at the most."""
        now = self._clock.now()
        if self._unsure:  # a claim may have been stored, and its answer lost: nobody starts these runs
            held = frozenset(self._hands)
            await self._store.run(lambda session: claims.hand_back(session, self._heart.name, held, now))
            self._unsure = False
        ready, at = await self._store.look(lambda session: claims.due(session, self._pool, now, self._queues))
        free = self._limit - len(self._hands)
        if ready and free > 0:
            jobs = await self._store.run(lambda session: self._claim(session, free, now))
            await asyncio.gather(*(self._start(infrastructure, job) for job in jobs))
        await self._heed(now)
        if ready or at is None:
            return NET
        return max(timedelta(), min(NET, at - now))

    def _claim(self, session: Session, free: int, now: datetime) -> list[Job]:
        runs = claims.claim(
            session, self._pool, free, lease=self._heart.name, worker=self.name, now=now, queues=self._queues
        )
        return jobs_of(session, self._pool, runs, self._environment, now) if runs else []

    async def _start(self, infrastructure: Infrastructure, job: Job) -> None:
        self._starting.add((job.run_id, job.attempt))
        try:
            await self._begin(infrastructure, job)
        finally:
            self._starting.discard((job.run_id, job.attempt))

    async def _begin(self, infrastructure: Infrastructure, job: Job) -> None:
        try:
            handle = await infrastructure.start(job)
        except (OSError, TocsinError) as error:
            logger.error("run %s: it could not be started: %s", job.run["name"], error)
            await self._ended(job.run_id, job.attempt, Exit(os.EX_OSERR, f"it could not be started: {error}"))
            return
        logger.info("run %s: attempt %s started as %s", job.run["name"], job.attempt, handle.place)
        hand = Hand(job, handle)
        self._hands[hand.key] = hand
        hand.following = self._watch(self._follow(infrastructure, hand))

    async def _follow(self, infrastructure: Infrastructure, hand: Hand) -> None:
        how = await hand.handle.wait()
        logger.info("run %s: %s ended with %s", hand.name, hand.handle.place, how.code)
        unsaid = await self._ended(hand.run_id, hand.attempt, how)
        self._hands.pop(hand.key, None)
        self._freed.set()
        if unsaid and infrastructure.apart:
            self._telling.add(self._watch(self._tell_hooks(infrastructure, replace(hand.job, afterwards=True))))

    async def _tell_hooks(self, infrastructure: Infrastructure, job: Job) -> None:
        """The process is gone, and could not tell the hooks of its flow: another one does."""
        try:
            handle = await infrastructure.start(job)
            try:
                async with asyncio.timeout(HOOKS.total_seconds()):
                    await handle.wait()
            finally:
                handle.kill()
        except (OSError, TocsinError, TimeoutError) as error:
            why = "they took too long" if isinstance(error, TimeoutError) else error
            logger.error("run %s: its hooks could not be told: %s", job.run["name"], why)

    async def _ended(self, run_id: UUID, attempt: int, how: Exit) -> bool:
        """Put the end on record; whether the run had not done so itself."""
        while True:
            try:
                if await self._store.look(lambda s: is_over(s, run_id)):
                    return False
                lease = self._heart.name if self._alone(run_id, attempt) else None
                return await self._store.run(
                    lambda s: claims.ended(s, run_id, attempt, how, self._clock.now(), lease=lease)  # noqa: B023 - awaited
                )
            except SQLAlchemyError as error:
                logger.warning("run %s: its end could not be stored, trying again: %s", run_id, error)
                await asyncio.sleep(1)
            except TocsinError as error:
                logger.error("run %s: its end was not stored: %s", run_id, error)
                return False

    def _alone(self, run_id: UUID, attempt: int) -> bool:
        """Whether no other attempt of the run is at work here, or about to be."""
        return not any(run == run_id and number != attempt for run, number in {*self._hands, *self._starting})

    async def _heed(self, now: datetime) -> None:
        """Stop the runs that are to stop, and those that are not ours any more."""
        if not (hands := list(self._hands.values())):
            return
        found = await self._store.look(lambda session: standing_of(session, [hand.run_id for hand in hands]))
        for hand in hands:
            match order_for(found.get(hand.run_id), hand.job.run, self._heart.name):
                case Order.STOP:
                    self._stop(hand)
                case Order.LEAVE:
                    hand.over_since = hand.over_since or now
                    if now - hand.over_since > LINGER:
                        self._stop(hand)
                case Order.KEEP:
                    hand.over_since = None

    def _stop(self, hand: Hand) -> None:
        if hand.ending is None:
            hand.ending = self._watch(self._end(hand))

    async def _end(self, hand: Hand) -> None:
        hand.handle.terminate()
        grace = min(self._grace, HASTE) if self.hurry.is_set() else self._grace
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await hand.handle.wait()
        except TimeoutError:
            hand.stuck = not hand.handle.kill()
            if hand.stuck:
                logger.warning("run %s: %s has not stopped yet, and cannot be killed", hand.name, hand.handle.place)

    async def _let_finish(self) -> None:
        """Return when no run is at work, when the drain time is over, or when somebody is in a hurry."""
        end = self._clock.now() + self._drain
        with closing(waking(self._store)) as watch:
            while self._hands and not self.hurry.is_set() and (left := end - self._clock.now()) > timedelta():
                await self._heed_safely()
                await first(watch.wait(min(left, NET)), self._freed.wait(), self.hurry.wait())
                self._freed.clear()

    async def _heed_safely(self) -> None:
        try:
            await self._heed(self._clock.now())
        except SQLAlchemyError as error:
            logger.warning("worker %s: the database does not answer: %s", self.name, error)

    async def _wind_down(self) -> None:
        for hand in self._hands.values():
            self._stop(hand)
        await asyncio.gather(*(hand.ending for hand in self._hands.values() if hand.ending))
        await asyncio.gather(*(hand.following for hand in self._hands.values() if hand.following and not hand.stuck))
        for hand in self._hands.values():
            await self._ended(hand.run_id, hand.attempt, Exit(TERMINATED, "its worker stopped, and it did not"))
        if telling := self._telling & self._watching:
            await asyncio.wait(telling, timeout=(HASTE if self.hurry.is_set() else self._grace).total_seconds())
        for task in self._watching:
            task.cancel()

    def _watch(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":  # Any: what coroutines send and yield
        task = asyncio.create_task(work)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return task

    def _register(self, session: Session, now: datetime) -> Infrastructure:
        pool = create_pool(session, self._pool, now=now)
        row = WorkerRow(
            name=self.name,
            work_pool=self._pool,
            queues=self._queues,
            slots=self._limit,
            lease=self._heart.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=now,
        )
        session.merge(row)
        log.append(session, [self._event("started", now)])
        return template_of(pool.type, pool.template).infrastructure(self._store)

    def _sign_off(self, session: Session, now: datetime) -> None:
        session.get_one(WorkerRow, self.name).stopped = now
        log.append(session, [self._event("stopped", now)])

    def _event(self, what: str, now: datetime) -> Event:
        pool = {RESOURCE_ID: f"tocsin.work-pool.{self._pool}", RESOURCE_ROLE: "work-pool", RESOURCE_NAME: self._pool}
        resource = {RESOURCE_ID: f"tocsin.worker.{self.name}", RESOURCE_NAME: self.name}
        return Event(event=f"tocsin.worker.{what}", occurred=now, resource=resource, related=[pool])

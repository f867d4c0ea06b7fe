"""The process worker: takes due runs from a pool, starts a process for each, sees how it ends."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import suppress
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
from tocsin.flows.changes import RUNS, Columns, being_stopped
from tocsin.flows.pools import DEFAULT, create_pool
from tocsin.flows.tables import WorkerRow
from tocsin.store import log
from tocsin.store.engine import Store
from tocsin.store.signals import first

NET: Final = timedelta(seconds=5)
"""The longest time between two looks at the database, whatever woke nobody."""
PAUSE_S: Final = 0.03
"""The shortest: a busy database wakes the worker for every commit of anybody."""
GRACE: Final = timedelta(seconds=10)
LIMIT: Final = 10

logger = logging.getLogger(__name__)


class Child:
    """The process of one attempt of a run."""

    def __init__(self, run: Columns, process: asyncio.subprocess.Process, lifeline: int) -> None:
        self.run_id: UUID = run["id"]
        self.attempt: int = run["attempt"]
        self.process = process
        self.stopping = False
        self._lifeline = lifeline

    async def wait(self) -> int:
        """The exit code, negative for a signal."""
        try:
            return await self.process.wait()
        finally:
            os.close(self._lifeline)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Worker:
    """Serves one pool with at most `limit` processes at once."""

    def __init__(
        self,
        store: Store,
        pool: str = DEFAULT,
        *,
        limit: int = LIMIT,
        clock: Clock | None = None,
        name: str | None = None,
        grace: timedelta = GRACE,
    ) -> None:
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{uuid7().hex[-4:]}"
        self._store, self._pool, self._limit = store, pool, limit
        self._clock, self._grace = clock or SystemClock(), grace
        self._heart = Heart(store, self._clock, "worker")
        self._children: dict[UUID, Child] = {}
        self._watching: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then ask the runs to end, and after the grace time end them."""
        await asyncio.to_thread(self._heart.start)
        try:
            await self._store.run(lambda session: self._register(session, self._clock.now()))
            with self._store.watch(RUNS) as watch:
                while not stop.is_set():
                    wait = await self._turn_safely()
                    await first(watch.wait(wait), self._freed.wait(), stop.wait())
                    self._freed.clear()
                    await first(asyncio.sleep(PAUSE_S), stop.wait())
            await self._wind_down()
            await self._store.run(lambda session: self._sign_off(session, self._clock.now()))
        finally:
            for child in self._children.values():
                child.send(signal.SIGKILL)
            await asyncio.to_thread(self._heart.stop)

    async def _turn_safely(self) -> timedelta:
        try:
            return await self._turn()
        except SQLAlchemyError as error:
            logger.warning("worker %s: the database does not answer, trying again: %s", self.name, error)
            return timedelta(seconds=1)

    async def _turn(self) -> timedelta:
        """Start what is due, stop what is cancelled; how long to wait for the next turn at the most."""
        now = self._clock.now()
        ready, at = await self._store.look(lambda session: claims.due(session, self._pool, now))
        free = self._limit - len(self._children)
        if ready and free > 0:
            await self._start(await self._store.run(lambda session: self._claim(session, free, now)))
        if self._children:
            for run_id in await self._store.look(lambda session: being_stopped(session, self._heart.name)):
                self._cancel(run_id)
        if ready or at is None:
            return NET
        return max(timedelta(), min(NET, at - now))

    def _claim(self, session: Session, free: int, now: datetime) -> list[Columns]:
        return claims.claim(session, self._pool, free, lease=self._heart.name, worker=self.name, now=now)

    async def _start(self, runs: list[Columns]) -> None:
        for run in runs:
            try:
                child = await self._spawn(run)
            except OSError as error:
                logger.error("run %s: no process could be started: %s", run["name"], error)
                await self._ended(run["id"], run["attempt"], os.EX_OSERR)
                continue
            self._children[child.run_id] = child
            self._watch(self._follow(child))

    async def _spawn(self, run: Columns) -> Child:
        theirs, ours = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "tocsin.flows.execute", str(run["id"]), str(run["attempt"])),
                env=self._environment(theirs),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs,),
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        logger.info("run %s: attempt %s started as process %s", run["name"], run["attempt"], process.pid)
        return Child(run, process, ours)

    def _environment(self, lifeline: int) -> dict[str, str]:
        url = self._store.engine.url.render_as_string(hide_password=False)
        return {**os.environ, "TOCSIN_DATABASE_URL": url, "TOCSIN_LIFELINE": str(lifeline), "TOCSIN_WORKER": self.name}

    async def _follow(self, child: Child) -> None:
        code = await child.wait()
        logger.info("run %s: process %s ended with %s", child.run_id, child.process.pid, code)
        await self._ended(child.run_id, child.attempt, code)
        self._children.pop(child.run_id, None)
        self._freed.set()

    async def _ended(self, run_id: UUID, attempt: int, code: int) -> None:
        while True:
            try:
                await self._store.run(lambda s: claims.ended(s, run_id, attempt, code, self._clock.now()))
            except SQLAlchemyError as error:
                logger.warning("run %s: its end could not be stored, trying again: %s", run_id, error)
                await asyncio.sleep(1)
            except TocsinError as error:
                logger.error("run %s: its end was not stored: %s", run_id, error)
                return
            else:
                return

    def _cancel(self, run_id: UUID) -> None:
        child = self._children.get(run_id)
        if child is not None and not child.stopping:
            child.stopping = True
            self._watch(self._end(child))

    async def _end(self, child: Child) -> None:
        child.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._grace.total_seconds()):
                await child.process.wait()
        except TimeoutError:
            child.send(signal.SIGKILL)

    async def _wind_down(self) -> None:
        for run_id in list(self._children):
            self._cancel(run_id)
        while self._watching:
            await asyncio.wait(self._watching)

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:  # Any: what coroutines send and yield
        task = asyncio.create_task(work)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    def _register(self, session: Session, now: datetime) -> None:
        create_pool(session, self._pool, now=now)
        row = WorkerRow(
            name=self.name,
            work_pool=self._pool,
            lease=self._heart.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=now,
        )
        session.merge(row)
        log.append(session, [self._event("started", now)])

    def _sign_off(self, session: Session, now: datetime) -> None:
        session.get_one(WorkerRow, self.name).stopped = now
        log.append(session, [self._event("stopped", now)])

    def _event(self, what: str, now: datetime) -> Event:
        pool = {RESOURCE_ID: f"tocsin.work-pool.{self._pool}", RESOURCE_ROLE: "work-pool", RESOURCE_NAME: self._pool}
        resource = {RESOURCE_ID: f"tocsin.worker.{self.name}", RESOURCE_NAME: self.name}
        return Event(event=f"tocsin.worker.{what}", occurred=now, resource=resource, related=[pool])

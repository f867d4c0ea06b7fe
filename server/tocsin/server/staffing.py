"""`tocsin worker --scale MIN:MAX`: starts and stops workers of one pool on this machine as its demand goes."""

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import structlog
from sqlmodel import Session

from tocsin.events.clock import Clock
from tocsin.events.errors import Invalid
from tocsin.flows.scaling import Bounds, Demand, Staff, demand_of, wanted
from tocsin.flows.workers import list_workers
from tocsin.store.engine import AWAY, Store
from tocsin.store.signals import first

EVERY: Final = timedelta(seconds=1)

logger = structlog.get_logger(__name__)


def bounds_of(text: str, slots: int) -> Bounds:
    """`MIN:MAX` as bounds. Raises Invalid."""
    minimum, _, maximum = text.partition(":")
    if not (minimum.isdigit() and maximum.isdigit() and int(minimum) <= int(maximum) and int(maximum) > 0):
        raise Invalid(f"--scale {text}: write MIN:MAX, such as 1:4")
    return Bounds(int(minimum), int(maximum), slots)


class Staffing:
    """Keeps as many workers as are wanted. `command` starts one; one too many is stopped when it has nothing to do."""

    def __init__(self, store: Store, clock: Clock, pool: str, bounds: Bounds, command: Sequence[str]) -> None:
        self._store, self._clock, self._pool = store, clock, pool
        self._bounds, self._command = bounds, command
        self._staff = Staff(bounds.minimum, clock.now())
        self.workers: list[asyncio.subprocess.Process] = []

    async def serve(self, stop: asyncio.Event) -> None:
        """Look once a second until `stop`; then stop all workers and wait for them."""
        try:
            while not stop.is_set():
                await self._look()
                await first(stop.wait(), asyncio.sleep(EVERY.total_seconds()))
        finally:
            for worker in self.workers:
                _tell(worker)
            await asyncio.gather(*(worker.wait() for worker in self.workers))

    async def _look(self) -> None:
        try:
            demand, at_work = await self._store.look(self._read)
        except AWAY as error:
            logger.warning("the database does not answer, trying again", reason=type(error).__name__)
            return
        self.workers = [worker for worker in self.workers if worker.returncode is None]
        self._staff = wanted(demand, self._bounds, self._staff, self._clock.now())
        for _ in range(self._staff.workers - len(self.workers)):
            self.workers.append(await asyncio.create_subprocess_exec(*self._command))
            logger.info("a worker is started", pool=self._pool, pid=self.workers[-1].pid, waiting=demand.waiting)
        for worker in surplus(self.workers, at_work, self._staff.workers):
            logger.info("a worker is stopped: there is nothing to do", pool=self._pool, pid=worker.pid)
            _tell(worker)

    def _read(self, session: Session) -> tuple[Demand, dict[int, int]]:
        now = self._clock.now()
        known = list_workers(session, now, pool=self._pool, gone=False)
        return demand_of(session, self._pool, now), {worker.pid: worker.at_work for worker in known}


def surplus(
    workers: Sequence[asyncio.subprocess.Process], at_work: Mapping[int, int], wanted: int
) -> list[asyncio.subprocess.Process]:
    """Workers that may go: those above the number wanted that are known to have nothing to do, the youngest first."""
    idle = [worker for worker in reversed(workers) if at_work.get(worker.pid) == 0]
    return idle[: max(0, len(workers) - wanted)]


def command_of(options: Sequence[str]) -> list[str]:
    """How one worker is started with these options."""
    return [sys.executable, "-m", "tocsin.server", "worker", *options]


def _tell(worker: asyncio.subprocess.Process) -> None:
    if worker.returncode is None:
        worker.send_signal(signal.SIGTERM)

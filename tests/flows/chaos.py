"""A whole deployment that is killed at random: children, workers, the dispatcher, and PostgreSQL itself."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, func, select

from tests.flows.killed_flows import GIVES
from tests.postgres.cluster import Cluster
from tocsin.events.errors import TocsinError
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.limits import LimitChange, put_limit
from tocsin.flows.pools import create_pool
from tocsin.flows.runs import create_run, retry_run
from tocsin.flows.tables import FlowRun
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry

FLOWS = Path(__file__).with_name("killed_flows.py")
POOLS = {"default": "process", "light": "thread"}
SLOTS = 2


def now() -> datetime:
    return datetime.now(UTC)


class Supervised:
    """A role in a process of its own, started again whenever it ends."""

    def __init__(self, role: str, environment: dict[str, str], log: Path) -> None:
        self.role, self._environment, self._log = role, environment, log
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None

    def keep_up(self) -> None:
        """Start it, unless it runs."""
        if self.process is None or self.process.poll() is not None:
            self.starts += 1
            with self._log.open("ab") as log:
                command = [sys.executable, "-m", "tocsin.server", self.role]
                self.process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; whether it was there."""
        if self.process is None or self.process.poll() is not None:
            return False
        self.process.send_signal(number)
        return True

    def children(self) -> list[int]:
        """The processes that it has started, and those that these have."""
        return [] if self.process is None else _below(self.process.pid)

    def stop(self) -> None:
        """End it in order, or at least end it."""
        if self.process is None:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _below(pid: int) -> list[int]:
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(each for child in children for each in _below(child))]


class City:
    """PostgreSQL, a worker for each pool twice, a dispatcher; and somebody who lets crashed runs start again."""

    def __init__(self, cluster: Cluster, folder: Path, seed: int) -> None:
        self.cluster, self.witness, self.log = cluster, folder / "witness", folder / "log"
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.url = cluster.create()
        self.store = Store.open(self.url, create=True)
        shared = {
            **os.environ,
            "TOCSIN_DATABASE_URL": self.url,
            "WITNESS": str(self.witness),
            "TOCSIN_WORKER_LIMIT": "3",
        }
        pools = [pool for pool in POOLS for _ in range(2)]
        self.workers = [Supervised("worker", {**shared, "TOCSIN_WORK_POOL": pool}, self.log) for pool in pools]
        self.dispatcher = Supervised("dispatcher", shared, self.log)
        self.stopped = threading.Event()
        self._seen = 0
        self._deploy()

    def _deploy(self) -> None:
        with self.store.begin() as session:
            for pool, kind in POOLS.items():
                create_pool(session, pool, kind=kind, now=now())
                for name in GIVES:
                    place = Deployment(
                        name=f"{name}-{pool}", entrypoint=f"{FLOWS}:{name}", flow_name=name, work_pool=pool
                    )
                    put_deployment(session, place, now())
            put_limit(session, "tag", "scarce", LimitChange(slots=SLOTS), now())

    def ask(self, count: int) -> list[UUID]:
        """So many runs, of every flow on every pool."""
        names = [f"{flow}-{pool}" for flow in GIVES for pool in POOLS]
        with self.store.begin() as session:
            return [create_run(session, names[at % len(names)], now=now()).id for at in range(count)]

    @property
    def roles(self) -> list[Supervised]:
        return [*self.workers, self.dispatcher]

    @contextmanager
    def living(self) -> Iterator[None]:
        """Everything runs, is started again when it ends, and crashed runs are retried."""
        keeper = threading.Thread(target=self._keep_up, daemon=True)
        keeper.start()
        try:
            yield
        finally:
            self.stopped.set()
            keeper.join()
            for role in self.roles:
                role.stop()
            self.store.close()

    def _keep_up(self) -> None:
        while not self.stopped.wait(0.1):
            for role in self.roles:
                role.keep_up()
            try:
                self._retry()
            except (SQLAlchemyError, TocsinError):
                continue  # PostgreSQL is away

    def _retry(self) -> None:
        with self.store.read() as session:
            ended = col(FlowRun.state_type).in_(["CRASHED", "FAILED"]) & col(FlowRun.deployment).is_not(None)
            crashed = session.exec(select(FlowRun.id, FlowRun.version).where(ended)).all()
        for run_id, version in crashed:
            with self.store.begin() as session:
                retry_run(session, run_id, scheduled=now(), key=f"{run_id}:{version}", now=now())

    def done(self) -> tuple[int, int]:
        """How many runs are completed, of how many."""
        with self.store.read() as session:
            states = session.exec(select(FlowRun.state_type).where(col(FlowRun.deployment).is_not(None))).all()
        return states.count("COMPLETED"), len(states)

    def until_done(self, stalled_s: float) -> bool:
        """Whether all runs were completed in the end; False when nothing has happened for so long."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < stalled_s:
            completed, of = self.done()
            if completed == of:
                return True
            with self.store.read() as session:
                last = session.exec(select(func.max(LogEntry.seq))).one() or 0
            if last != seen:
                seen, since = last, time.monotonic()
            self.stopped.wait(0.3)
        return False

    def until_something_begins(self, patience_s: float) -> None:
        """Return when a task has begun since the last time, or after so long."""
        end = time.monotonic() + patience_s
        while self._witnessed() == self._seen and time.monotonic() < end:
            self.stopped.wait(0.02)
        self._seen = self._witnessed()

    def _witnessed(self) -> int:
        return self.witness.stat().st_size if self.witness.exists() else 0

    # --- what goes wrong ---

    def harm(self) -> None:
        """Kill something."""
        what, weight = zip(*_HARMS, strict=True)
        [harm] = self.random.choices(what, weight)
        if getattr(self, harm)():
            self.kills[harm] += 1

    def child(self) -> bool:
        """`kill -9` of the process of a run, or of one from which these come."""
        children = [child for worker in self.workers for child in worker.children()]
        if not children:
            return False
        try:
            os.kill(self.random.choice(children), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def worker(self) -> bool:
        """`kill -9` of a worker."""
        return self.random.choice(self.workers).send(signal.SIGKILL)

    def worker_asked(self) -> bool:
        """A worker is told to stop, as by a new release."""
        return self.random.choice(self.workers).send(signal.SIGTERM)

    def watchdog(self) -> bool:
        """`kill -9` of the dispatcher, the watchdog in it."""
        return self.dispatcher.send(signal.SIGKILL)

    def connections(self) -> bool:
        """Every connection to the database is cut."""
        address = self.url.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(address, autocommit=True) as connection:
            others = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = "
            )
            connection.execute(others + "current_user AND backend_type = 'client backend'")
        return True

    def database(self) -> bool:
        """`kill -9` of PostgreSQL, which comes back."""
        self.cluster.kill()
        self.cluster.restart()
        return True

    def database_restart(self) -> bool:
        """PostgreSQL is stopped in order, connections or not, and comes back."""
        self.cluster.restart()
        return True

    def frozen(self) -> bool:
        """A worker stands still beyond its lease, and then goes on: a zombie."""
        worker = self.random.choice(self.workers)
        if not worker.send(signal.SIGSTOP):
            return False
        process = worker.process
        assert process is not None
        timer = threading.Timer(14, process.send_signal, (signal.SIGCONT,))
        timer.daemon = True
        timer.start()
        return True


_CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_HARMS = (
    ("child", 40),
    ("worker", 18),
    ("worker_asked", 6),
    ("watchdog", 8),
    ("connections", 12),
    ("database", 6),
    ("database_restart", 4),
    ("frozen", 4),
)

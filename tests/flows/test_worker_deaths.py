"""Who is killed, and who sees it: a run's process, its worker, a worker that stands still; each on both databases."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from uuid import UUID

import pytest

from tests.flows.yard import Yard, environment, now, program
from tocsin.flows import beat
from tocsin.flows.runs import get_run, retry_run
from tocsin.flows.tables import FlowRun
from tocsin.flows.vigil import GONE, Vigil
from tocsin.flows.watchdog import sweep

pytestmark = pytest.mark.faults

SEEN = timedelta(seconds=2)
SLACK = timedelta(seconds=8)
"""Other programs may keep the machine busy; bench/workers.py measures the promise."""


@contextmanager
def worker(pool: str, store_url: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(program(pool), env=environment(store_url))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def vigil(yard: Yard) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(Vigil(yard.store).serve(stop))
    try:
        yield
    finally:
        stop.set()
        await task


def seen_after(yard: Yard, run: UUID, since: float) -> timedelta:
    with yard.store.read() as session:
        return timedelta(seconds=get_run(session, run).state_at.timestamp() - since)


async def test_a_child_that_is_killed_is_seen_at_once(yard: Yard, store_url: str) -> None:
    run = yard.ask("holds_here")
    with worker("default", store_url):
        await yard.met(yard.marks)
        killed = now().timestamp()
        os.kill(int(yard.marks()[0]), signal.SIGKILL)
        crashed = await yard.until(run, "Crashed", "Completed")
    assert crashed.state_message == "killed by signal 9 (SIGKILL)"
    assert seen_after(yard, run, killed) < SEEN + SLACK


@pytest.mark.parametrize("kind", ["process", "thread"])
async def test_a_worker_that_is_killed_is_seen_by_its_lock(yard: Yard, store_url: str, kind: str) -> None:
    run = yard.ask("holds_here", kind)
    async with vigil(yard):
        with worker("default" if kind == "process" else kind, store_url) as victim:
            await yard.met(yard.marks)
            if kind == "process":
                os.kill(int(yard.marks()[0]), signal.SIGSTOP)  # a child that stands still cannot speak for itself
            killed = now().timestamp()
            victim.kill()
            crashed = await yard.until(run, "Crashed", "Completed")
    assert crashed.state_message == GONE
    assert seen_after(yard, run, killed) < SEEN + SLACK
    if kind == "process":
        os.kill(int(yard.marks()[0]), signal.SIGKILL)


async def given_up(yard: Yard, run: UUID, zombie: subprocess.Popen[bytes]) -> FlowRun:
    """The run, after its worker has stood still beyond its lease and somebody has asked for another try."""
    zombie.send_signal(signal.SIGSTOP)
    with yard.store.begin() as session:
        assert sweep(session, now() + 2 * beat.TTL) == [run]
        again = retry_run(session, run, scheduled=now() + timedelta(hours=1), key="later", now=now())
    assert isinstance(again, FlowRun)
    zombie.send_signal(signal.SIGCONT)
    return again


async def test_a_zombie_ends_the_processes_of_runs_that_were_given_up(yard: Yard, store_url: str) -> None:
    run = yard.ask("holds_here")
    with worker("default", store_url) as zombie:
        await yard.met(yard.marks)
        again = await given_up(yard, run, zombie)
        await yard.met(lambda: gone(int(yard.marks()[0])))
        assert (yard.run(run).state_name, yard.run(run).version) == ("AwaitingRetry", again.version)
    assert yard.untold() == []


async def test_what_the_threads_of_a_zombie_report_is_refused(yard: Yard, store_url: str) -> None:
    run = yard.ask("long_run", "thread")
    with worker("thread", store_url) as zombie:
        await yard.met(yard.holds)
        again = await given_up(yard, run, zombie)
        yard.sign("go")
        other = await yard.until(yard.ask("greet", "thread"), "Completed", "Failed", "Crashed")
        assert other.state_name == "Completed", "it is at work again"
    assert (yard.run(run).state_name, yard.run(run).version) == ("AwaitingRetry", again.version)
    assert "b" not in yard.marks()
    assert yard.untold() == []


def gone(pid: int) -> bool:
    """Whether there is no such process any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False

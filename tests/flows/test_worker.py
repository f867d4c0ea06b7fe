"""The worker with real processes: what it starts, how fast, and what it sees when one is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest
from sqlmodel import select

from tests.flows.yard import Serving, Yard, environment, now, program
from tocsin.flows.claims import claim
from tocsin.flows.deployments import Deployment, put_deployment
from tocsin.flows.runs import cancel_run, create_run, pause_run, resume_run, retry_run, suspend_run
from tocsin.flows.tables import FlowRun, WorkerRow
from tocsin.flows.watchdog import sweep
from tocsin.store.tables import Lease, LogEntry

AN_HOUR = timedelta(hours=1)


async def test_a_run_is_done_by_a_process_of_its_own(small_yard: Yard, serving: Serving) -> None:
    yard = small_yard
    first = yard.ask("greet", parameters={"name": "you", "count": 2})
    async with serving(yard) as worker:
        done = await yard.until(first, "Completed", "Failed")
        second = await yard.until(yard.ask("greet_async"), "Completed", "Failed")
    assert (done.state_name, done.attempt, done.worker) == ("Completed", 1, worker.name)
    assert done.result == {"kind": "json", "text": '"YOU YOU"'}
    assert second.result == {"kind": "json", "text": '"WORLD"'}
    with yard.store.read() as session:
        row = session.get_one(WorkerRow, worker.name)
        assert row.stopped is not None
        assert session.get(Lease, row.lease) is None
        names = session.exec(select(LogEntry.event)).all()
    assert [name for name in names if name.startswith("tocsin.worker.")] == [
        "tocsin.worker.started",
        "tocsin.worker.stopped",
    ]


async def test_a_run_is_claimed_when_it_is_asked_for(
    yard: Yard, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself the worker would look in five minutes."""
    monkeypatch.setattr("tocsin.flows.worker.NET", timedelta(minutes=5))
    yard.deploy("greet")
    async with serving(yard) as worker:
        for _ in range(2):
            done = await yard.until(yard.ask("greet"), "Completed", "Failed", "Crashed")
            assert done.state_name == "Completed"
            await yard.met(lambda: not worker.at_work)


async def test_what_goes_wrong_is_told_by_the_run(small_yard: Yard, serving: Serving) -> None:
    yard = small_yard
    with yard.store.begin() as session:
        put_deployment(session, Deployment(name="lost", entrypoint="nowhere.py:f", flow_name="f"), now())
        lost = create_run(session, "lost", now=now()).id
    misled = yard.ask("greet", parameters={"count": "many"})
    unknown = yard.ask("greet", parameters={"cuont": 1})
    failing, leaving = yard.ask("fails_once"), yard.ask("exits")
    async with serving(yard, limit=2):
        asked = (lost, misled, unknown, failing, leaving)
        ends = {run: await yard.until(run, "Failed", "Crashed", "Completed") for run in asked}
    messages = {run: (end.state_name, end.state_message) for run, end in ends.items()}
    assert "nowhere.py is not there" in messages[lost][1]
    assert "parameter 'count'" in messages[misled][1]
    assert "no parameter 'cuont'" in messages[unknown][1]
    assert messages[failing] == ("Failed", "ValueError: not yet")
    assert messages[leaving] == ("Crashed", "its process exited with code 7 before the run had ended")
    assert any("Traceback" in line and "not yet" in line for line in yard.lines())


async def test_the_hooks_of_a_run_that_died_are_told_by_another_process(small_yard: Yard, serving: Serving) -> None:
    yard = small_yard
    run = yard.ask("dies")
    async with serving(yard):
        await yard.until(run, "Crashed", "Completed", "Failed")
        await yard.met(lambda: yard.marks() == ["told:Crashed"])


@pytest.mark.faults
async def test_a_killed_process_is_seen_and_its_retry_resumes(yard: Yard, serving: Serving) -> None:
    run = yard.ask("killed_once")
    async with serving(yard):
        crashed = await yard.until(run, "Crashed", "Completed", "Failed")
        assert (crashed.state_name, crashed.state_message) == ("Crashed", "killed by signal 9 (SIGKILL)")
        with yard.store.begin() as session:
            retry_run(session, run, scheduled=now(), key="again", now=now())
        done = await yard.until(run, "Completed", "Failed")
    assert (done.state_name, done.attempt, done.reruns) == ("Completed", 2, 1)
    assert yard.marks() == ["a", "b", "gate", "gate", "c"]
    assert yard.untold() == []
    assert yard.tasks()["kills_itself-0"] == "Completed"


@pytest.mark.faults
@pytest.mark.parametrize("kills", [(1, 3), (2,), (4,)], ids=str)
async def test_wherever_a_run_is_killed_what_was_done_is_not_done_again(
    small_yard: Yard, serving: Serving, kills: tuple[int, ...]
) -> None:
    yard, run = small_yard, small_yard.ask("many_steps")
    async with serving(yard):
        for count in kills:
            child = int(await yard.met(lambda count=count: pid_at(yard.marks(), count)))  # type: ignore[misc]
            os.kill(child, signal.SIGKILL)
            await yard.until(run, "Crashed")
            with yard.store.begin() as session:
                retry_run(session, run, scheduled=now(), key=f"after {count}", now=now())
        done = await yard.until(run, "Completed", "Failed")
    assert (done.state_name, done.attempt) == ("Completed", len(kills) + 1)
    steps = Counter(mark.partition(":")[0] for mark in yard.marks())
    again = {f"step{count}" for count in kills}
    assert {name for name, times in steps.items() if times > 1} <= again, "only the step under way may be done again"
    assert set(steps) == {f"step{number}" for number in range(1, 7)}
    assert yard.untold() == []


def pid_at(marks: list[str], count: int) -> str | None:
    """The process that is at step `count`."""
    found = [mark.partition(":")[2] for mark in marks if mark.startswith(f"step{count}:")]
    return found[-1] if found else None


@pytest.mark.faults
async def test_a_dead_worker_takes_its_runs_with_it(yard: Yard, store_url: str, serving: Serving) -> None:
    run = yard.ask("long_run")
    worker = subprocess.Popen(program(), env=environment(store_url))
    await yard.met(lambda: "holding" in yard.marks())
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    crashed = await yard.until(run, "Crashed")
    assert crashed.state_message == "terminated by signal 15"
    yard.sign("go")
    with yard.store.begin() as session:
        retry_run(session, run, scheduled=now(), key="again", now=now())
    async with serving(yard):
        done = await yard.until(run, "Completed", "Failed")
    assert done.state_name == "Completed"
    assert yard.marks() == ["a", "holding", "holding", "b"]
    assert yard.untold() == []


@pytest.mark.faults
async def test_a_silent_host_is_found_by_the_watchdog_and_its_zombie_is_refused(yard: Yard, store_url: str) -> None:
    run = yard.ask("long_run")
    with yard.store.begin() as session:
        (taken,) = claim(session, "default", 1, lease="worker:far-away", worker="far", now=now())
        session.add(Lease(name="worker:far-away", owner="far", fence=1, expires=now() + AN_HOUR))
    command = [sys.executable, "-m", "tocsin.flows.execute", str(run), str(taken["attempt"])]
    zombie = subprocess.Popen(command, env=environment(store_url), stderr=subprocess.PIPE, text=True)
    await yard.met(yard.holds)
    with yard.store.begin() as session:
        assert sweep(session, now()) == []
        assert sweep(session, now() + AN_HOUR) == [run]
    crashed = yard.run(run)
    assert (crashed.state_name, crashed.state_message) == ("Crashed", "its process fell silent: the lease is over")
    yard.sign("go")
    _, said = zombie.communicate(timeout=60)
    assert zombie.returncode == 3
    assert "was given up" in said or "is CRASHED at attempt 1" in said
    assert yard.run(run).version == crashed.version
    assert yard.marks() == ["a", "holding"]
    assert yard.tasks() == {"step-0": "Completed", "holds-0": "Crashed"}


async def test_a_run_that_is_cancelled_is_stopped(small_yard: Yard, serving: Serving) -> None:
    yard = small_yard
    run = yard.ask("long_run")
    async with serving(yard):
        await yard.met(lambda: "holding" in yard.marks())
        with yard.store.begin() as session:
            cancel_run(session, run, reason="by hand", now=now())
        cancelled = await yard.until(run, "Cancelled", "Crashed", "Failed")
    assert (cancelled.state_name, cancelled.state_message) == ("Cancelled", "by hand")


async def test_a_run_that_is_suspended_goes_on_with_what_it_has_completed(small_yard: Yard, serving: Serving) -> None:
    yard = small_yard
    run = yard.ask("long_run")
    async with serving(yard):
        await yard.met(yard.holds)
        with yard.store.begin() as session:
            suspend_run(session, run, reason="by hand", now=now())
        await yard.met(lambda: yard.run(run).lease is None)
        assert yard.run(run).state_name == "Suspended"
        assert yard.tasks() == {"step-0": "Completed", "holds-0": "Crashed"}
        yard.sign("go")
        with yard.store.begin() as session:
            resume_run(session, run, now=now())
        done = await yard.until(run, "Completed", "Crashed", "Failed")
    assert (done.state_name, done.attempt, yard.marks()) == ("Completed", 2, ["a", "holding", "holding", "b"])
    assert yard.untold() == []


async def test_a_run_that_its_process_tries_again_is_left_at_work(small_yard: Yard, serving: Serving) -> None:
    yard = small_yard
    run = yard.ask("second_try")
    async with serving(yard):
        await yard.met(lambda: "holding" in yard.marks())
        await yard.until(yard.ask("greet"), "Completed")  # the worker has looked at what it has at work
        assert (yard.run(run).state_name, yard.run(run).attempt) == ("Retrying", 2)
        yard.sign("go")
        done = await yard.until(run, "Completed", "Crashed", "Failed")
    assert (done.state_name, done.attempt, yard.marks()) == ("Completed", 2, ["try", "try", "holding", "world", "b"])


async def test_a_process_that_dies_in_its_second_try_has_crashed(small_yard: Yard, serving: Serving) -> None:
    yard = small_yard
    run = yard.ask("second_try")
    async with serving(yard) as worker:
        await yard.met(lambda: "holding" in yard.marks())
        [hand] = worker._hands.values()
        hand.handle.kill()
        done = await yard.until(run, "Completed", "Crashed", "Failed")
    assert (done.state_name, done.attempt) == ("Crashed", 2)


async def test_the_process_of_a_paused_run_stays_and_goes_on_when_it_is_resumed(
    small_yard: Yard, serving: Serving
) -> None:
    yard = small_yard
    run = yard.ask("long_run")
    async with serving(yard, limit=2):
        await yard.met(yard.holds)
        with yard.store.begin() as session:
            pause_run(session, run, now=now())
        await yard.until(yard.ask("greet"), "Completed", "Crashed", "Failed")  # the worker has looked meanwhile
        yard.sign("go")
        await yard.met(lambda: yard.tasks()["holds-0"] in ("Completed", "Crashed"))
        assert yard.run(run).state_name == "Paused"
        with yard.store.begin() as session:
            resume_run(session, run, now=now())
        done = await yard.until(run, "Completed", "Crashed", "Failed")
    assert (done.attempt, yard.marks()) == (1, ["a", "holding", "world", "b"])


async def test_a_worker_that_stops_ends_its_runs_first(small_yard: Yard, serving: Serving) -> None:
    yard = small_yard
    run = yard.ask("long_run")
    async with serving(yard):
        await yard.met(lambda: "holding" in yard.marks())
    ended = yard.run(run)
    assert (ended.state_name, ended.state_message) == ("Crashed", "terminated by signal 15")


@pytest.mark.parametrize(
    ("flow", "marks"), [("later", "a gate b"), ("task_later", "a gate gate")], ids=["flow", "task"]
)
async def test_a_far_retry_waits_in_the_database_and_frees_the_worker(
    small_yard: Yard, serving: Serving, flow: str, marks: str
) -> None:
    yard = small_yard
    run = yard.ask(flow)
    async with serving(yard):
        waiting = await yard.until(run, "AwaitingRetry", "Failed", "Completed")
        await yard.met(lambda: yard.run(run).lease is None)
    assert (waiting.state_name, waiting.worker) == ("AwaitingRetry", None)
    assert waiting.scheduled is not None
    assert timedelta(minutes=55) < waiting.scheduled - now() <= timedelta(hours=1)
    with yard.store.begin() as session:
        assert isinstance(retry_run(session, run, scheduled=now(), key="now", now=now()), FlowRun)
    async with serving(yard):
        done = await yard.until(run, "Completed", "Failed")
    assert (done.state_name, done.attempt, done.reruns) == ("Completed", 2, 0)
    assert yard.marks() in (marks.split(), ["a", "gate", "gate", "b"])


async def test_workers_at_the_same_pool_never_claim_the_same_run(yard: Yard) -> None:
    yard.deploy("greet")
    with yard.store.begin() as session:
        asked = [create_run(session, "greet", now=now()).id for _ in range(60)]
    taken: list[UUID] = []
    start, at = threading.Barrier(4), now()

    def work(number: int) -> None:
        start.wait(30)
        while True:
            with yard.store.begin() as session:
                runs = claim(session, "default", 3, lease=f"worker:{number}", worker=str(number), now=at)
            if not runs:
                return
            taken.extend(run["id"] for run in runs)

    await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(4)))
    assert sorted(taken) == sorted(asked)
    with yard.store.read() as session:
        assert {run.attempt for run in session.exec(select(FlowRun)).all()} == {1}

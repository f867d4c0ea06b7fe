"""The worker with threads: the same runs and states, in its own process; stopping is cooperative."""

import asyncio
from datetime import timedelta

import pytest

from tests.flows.yard import Serving, Yard, now
from tocsin.events.errors import Invalid
from tocsin.flows import ledger as ledgers
from tocsin.flows.runs import cancel_run, resume_run, suspend_run
from tocsin.flows.worker import Worker


@pytest.fixture
def threads(yard: Yard, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Yard:
    """A yard on the store that runs of this process are written into."""
    monkeypatch.setenv("TOCSIN_DATABASE_URL", store_url)
    return yard


async def test_runs_are_done_by_threads_side_by_side(threads: Yard, serving: Serving) -> None:
    asked = [threads.ask("greet", "thread", parameters={"name": str(number)}) for number in range(6)]
    asked.append(threads.ask("greet_async", "thread"))
    async with serving(threads, pool="thread") as worker:
        done = [await threads.until(run, "Completed", "Failed", "Crashed") for run in asked]
        await threads.met(lambda: not worker.at_work)
    assert {(run.state_name, run.attempt, run.worker) for run in done} == {("Completed", 1, worker.name)}
    assert done[-1].result == {"kind": "json", "text": '"WORLD"'}
    assert threads.untold() == []


async def test_what_goes_wrong_in_a_thread_is_told_by_the_run(threads: Yard, serving: Serving) -> None:
    failing = threads.ask("fails_once", "thread")
    misled = threads.ask("greet", "thread", parameters={"count": "many"})
    leaving = threads.ask("leaves", "thread")
    async with serving(threads, pool="thread"):
        ends = [await threads.until(run, "Completed", "Failed", "Crashed") for run in (failing, misled, leaving)]
    assert [(end.state_name, end.state_message) for end in ends[:1]] == [("Failed", "ValueError: not yet")]
    assert "parameter 'count'" in ends[1].state_message
    assert (ends[2].state_name, ends[2].state_message) == ("Crashed", "interrupted by SystemExit: 7")


@pytest.mark.parametrize("flow", ["long_run", "long_async"])
async def test_a_cancelled_run_stops_where_it_looks_up(threads: Yard, serving: Serving, flow: str) -> None:
    run = threads.ask(flow, "thread")
    async with serving(threads, pool="thread", grace=timedelta(milliseconds=10)) as worker:
        await threads.met(lambda: "holding" in threads.marks())
        with threads.store.begin() as session:
            cancel_run(session, run, reason="by hand", now=now())
        if flow == "long_run":
            await threads.met(lambda: run in ledgers.current().cancelling)
            assert threads.run(run).state_name == "Cancelling"
            threads.sign("go")
        cancelled = await threads.until(run, "Cancelled", "Crashed", "Failed", "Completed")
        await threads.met(lambda: not worker.at_work)
    assert (cancelled.state_name, cancelled.state_message) == ("Cancelled", "by hand")
    assert "b" not in threads.marks()


async def test_a_suspended_run_goes_on_with_what_it_has_completed(threads: Yard, serving: Serving) -> None:
    run = threads.ask("long_run", "thread")
    async with serving(threads, pool="thread"):
        await threads.met(threads.holds)
        with threads.store.begin() as session:
            suspend_run(session, run, reason="by hand", now=now())
        threads.sign("go")
        await threads.met(lambda: threads.run(run).lease is None)
        with threads.store.begin() as session:
            resume_run(session, run, now=now())
        done = await threads.until(run, "Completed", "Crashed", "Failed")
    assert (done.state_name, done.attempt) == ("Completed", 2)
    assert threads.marks().count("a") == 1
    assert threads.untold() == []


async def test_a_thread_that_does_not_stop_is_left_behind_by_its_worker(threads: Yard, serving: Serving) -> None:
    run = threads.ask("long_run", "thread")
    async with serving(threads, pool="thread", grace=timedelta(milliseconds=10)):
        await threads.met(threads.holds)
    crashed = threads.run(run)
    assert (crashed.state_name, crashed.state_message) == ("Crashed", "its worker stopped, and it did not")
    threads.sign("go")


async def test_threads_work_on_the_store_of_their_process_only(yard: Yard) -> None:
    yard.deploy("greet", "thread")
    ledgers.current()
    with pytest.raises(Invalid, match="runs of this process are written into"):
        await Worker(yard.store, "thread").serve(asyncio.Event())
    ledgers.close()

"""Flows that tests deploy: they leave marks in the file `MARKS`, so that a test can count what ran."""

import asyncio
import os
import signal
import time
from pathlib import Path

from tocsin.flows import flow, task
from tocsin.flows.run_states import RunState


def mark(name: str) -> int:
    """Add a line to the marks; how often it stands there now."""
    file = Path(os.environ["MARKS"])
    with file.open("a") as marks:
        marks.write(f"{name}\n")
    return file.read_text().splitlines().count(name)


def wait_for(name: str) -> None:
    """Return when the test has put up this sign."""
    while not Path(os.environ["MARKS"]).with_name(name).exists():
        time.sleep(0.005)


@task
def step(name: str) -> str:
    """Leave a mark."""
    mark(name)
    return name.upper()


@flow
def greet(name: str = "world", count: int = 1) -> str:
    """The simplest of flows."""
    return " ".join([step(name)] * count)


@flow
async def greet_async(name: str = "world") -> str:
    """The same for coroutines."""
    await asyncio.sleep(0)
    return step(name)


@flow
def fails_once() -> list[str]:
    """Fails the first time, behind two tasks that were done."""
    done = [step("a"), step("b")]
    if mark("gate") == 1:
        raise ValueError("not yet")
    return [*done, step("c")]


@task
def kills_itself() -> None:
    """The first time, ends its process as the kernel's memory killer would."""
    if mark("gate") == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@flow
def killed_once() -> list[str]:
    """Killed the first time, behind two tasks that were done, tuples among their results."""
    done = [step(name) for name in ("a", "b")]
    kills_itself()
    return [*done, step("c")]


@task
def holds() -> None:
    """Works until the test puts up the sign `go`."""
    mark("holding")
    wait_for("go")


@flow
def long_run() -> str:
    """Two tasks, the second one long."""
    step("a")
    holds()
    return step("b")


@flow(retries=1)
def second_try() -> str:
    """Fails at first; its second try, in the same process, works until the test puts up the sign `go`."""
    if mark("try") == 1:
        raise ValueError("once")
    holds()
    return step("b")


@task
def slow_step(number: int) -> int:
    """Leave a mark with the process, and take a moment."""
    mark(f"step{number}:{os.getpid()}")
    time.sleep(0.05)
    return number


@flow
def many_steps() -> int:
    """Six steps, each behind the one before."""
    return sum(slow_step(number) for number in range(1, 7))


@flow
def exits() -> None:
    """Leaves without a word."""
    os._exit(7)


@flow(retries=1, retry_delay_seconds=3600)
def later() -> str:
    """Fails once, and is due again in an hour."""
    step("a")
    if mark("gate") == 1:
        raise ConnectionError("away")
    return step("b")


@task(retries=1, retry_delay_seconds=3600)
def fails_for_an_hour() -> int:
    """Fails once, and is due again in an hour."""
    if mark("gate") == 1:
        raise ConnectionError("away")
    return 3


@flow
def task_later() -> int:
    """Has a task that is due again in an hour."""
    step("a")
    return fails_for_an_hour()


def not_a_flow() -> None:
    """What an entrypoint may not lead to."""


@flow
async def long_async() -> str:
    """A task, a wait that nothing ends, another task."""
    step("a")
    mark("holding")
    await asyncio.Event().wait()
    return step("b")


@flow
def leaves() -> None:
    """Asks its interpreter to end."""
    raise SystemExit(7)


@flow
def holds_here() -> None:
    """Says which process it is in, and never ends."""
    mark(str(os.getpid()))
    time.sleep(3600)


@flow
def looks_around() -> list[str]:
    """Where it runs, and with what."""
    return [os.environ["REGION"], os.getcwd()]


def told(flow: object, run: object, state: RunState) -> None:
    """Leave a mark with the state's name."""
    mark(f"told:{state.name}")


@flow(on_crashed=[told], on_cancellation=[told])
def dies() -> None:
    """Leaves without a word; its hooks are told by others."""
    os._exit(7)

"""Flows for tests that kill what runs them. Every task says when it begins, in a file that nobody rolls back."""

import asyncio
import os
import random
import signal
import time

from tocsin.flows import flow, task
from tocsin.flows.context import flow_context, task_context


def witness(place: str) -> None:
    """One line: flow run, place in the flow, task run, process, and the time. At the place KILLED_AT it is the last."""
    inside, at = flow_context.get(), task_context.get()
    assert inside is not None
    assert at is not None
    line = f"{inside.id} {place} {at.run['id']} {os.getpid()} {time.time_ns()}\n"
    file = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)
    if os.environ.get("KILLED_AT") == place:
        os.kill(os.getpid(), signal.SIGKILL)


def moment() -> float:
    """A few milliseconds to be killed in."""
    return random.uniform(0.005, 0.06)


@task
def step(place: str, number: int) -> int:
    """The next number, after a moment."""
    witness(place)
    time.sleep(moment())
    return number + 1


@task(tags=["scarce"], retries=1)
def scarce(place: str, number: int) -> int:
    """The same, under a limit that all runs share."""
    witness(place)
    time.sleep(moment())
    return number + 1


@task
async def async_step(place: str, number: int) -> int:
    """The same for coroutines."""
    witness(place)
    await asyncio.sleep(moment())
    return number + 1


@flow
def chain() -> int:
    """Five steps, each behind the one before, one of them under the limit. Gives 5."""
    number = step("chain-1", 0)
    number = step("chain-2", number)
    number = scarce("chain-3", number)
    number = step("chain-4", number)
    return step("chain-5", number)


@flow
def spread() -> int:
    """Six mapped steps beside a submitted one. Gives 22."""
    alone = scarce.submit("spread-alone", 0)
    places = [f"spread-{number}" for number in range(6)]
    return sum(step.map(places, list(range(6))).result()) + alone.result()


@flow
def inner(name: str) -> int:
    """Two steps of a subflow. Gives 2."""
    return step(f"{name}-2", step(f"{name}-1", 0))


@flow
def nested() -> int:
    """Two subflows with a step between. Gives 5."""
    first = inner("first")
    between = step("between", first)
    return between + inner("second")


@flow
async def awaiting() -> int:
    """Coroutines, one after the other and side by side. Gives 5."""
    first = await async_step("await-1", 0)
    others = await asyncio.gather(async_step("await-2", first), async_step("await-3", first))
    return first + sum(others)


@flow(retries=2)
def moody() -> int:
    """Fails by itself now and then, and tries again. Gives 2."""
    number = step("moody-1", 0)
    if random.random() < 0.3:
        raise ConnectionError("not now")
    return step("moody-2", number)


GIVES = {"chain": 5, "spread": 22, "nested": 5, "awaiting": 5, "moody": 2}
"""What each flow gives, however often it was killed."""

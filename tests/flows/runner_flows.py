"""Flows for the tests of task runners: in a module, so that other processes can import them."""

import asyncio
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tocsin.flows import flow, get_run_logger, task
from tocsin.flows.cache_policies import INPUTS

LOCK = threading.Lock()
"""Nothing that could be pickled: tasks of a module are found by their names, with all that stands around them."""


def mark(folder: str, name: str) -> int:
    """Leave a mark; how many of this name there are by now."""
    with Path(folder, name).open("a") as file:
        file.write("x")
    return Path(folder, name).stat().st_size


@task
def double(number: int) -> int:
    with LOCK:
        return 2 * number


@task
async def increment(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


@task
def total(numbers: list[int], extra: dict[str, int]) -> int:
    return sum(numbers) + sum(extra.values())


@task
def picky(number: int) -> int:
    if number == 2:
        raise ValueError(f"{number} is not for me")
    return number


@task(retries=2)
def flaky(folder: str) -> int:
    tries = mark(folder, "flaky")
    if tries < 3:
        raise ConnectionError(f"try {tries}")
    return tries


@task
def outer(number: int) -> int:
    return sum(double.map([number, number + 1]).result()) + increment.submit(number).result()


@task(log_prints=True)
def talk(name: str) -> str:
    print("printed by", name)
    get_run_logger().warning("logged by %s", name)
    logging.getLogger("somebody.elses").info("heard of %s", name)
    return name


@task(cache_policy=INPUTS)
def costly(folder: str, number: int) -> int:
    mark(folder, "costly")
    return number


@task
def where(_: Any = None) -> int:
    return os.getpid()


@task
def dies(folder: str) -> int:
    if mark(folder, "dies") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


@task
def stubborn(note: str) -> None:
    draft = Path(f"{note}.draft")
    draft.write_text(str(os.getpid()))
    draft.rename(note)
    while True:
        time.sleep(60)


@task
async def patient() -> None:
    await asyncio.sleep(3600)


@flow
def chained() -> list[int]:
    doubled = double.map(range(4))
    more = increment.map(doubled)
    summed = total.submit(more, {"one": double.submit(1), "two": 2})
    return [*doubled.result(), *more.result(), summed.result()]


@flow
def failing() -> str:
    results = picky.map([1, 2, 3])
    after = double.map(results)
    errors = [type(each.exception()).__name__ for each in after]
    return f"{errors} {after[1].exception()}"


@flow
def trying(folder: str) -> int:
    return flaky.submit(folder).result()


@flow
def nesting() -> list[int]:
    return outer.map([1, 2, 3]).result()


@flow
def talking() -> list[str]:
    return talk.map(["ann", "bob"]).result()


@flow
def caching(folder: str) -> list[int]:
    return [*costly.map(folder, [1, 2]).result(), *costly.map(folder, [1, 2]).result()]


@flow(retries=1)
def resuming(folder: str) -> list[int]:
    results = [each.result() for each in [costly.with_options(cache_policy=None).submit(folder, n) for n in (1, 2)]]
    if mark(folder, "attempts") == 1:
        raise RuntimeError("once more")
    return results

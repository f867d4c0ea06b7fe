"""What the tests of the stream host are made of: a store, members at work, waiting for what they write."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Set
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.automations.parts import firings, invocations
from tocsin.store.engine import Store

if TYPE_CHECKING:
    from tocsin.automations.stream_host import StreamHost
    from tocsin.events.kafka import KafkaBus

PATIENCE_S = 60.0
LOOK_S = 0.02


@asynccontextmanager
async def streaming(store: Store, bus: "KafkaBus", members: int = 1) -> AsyncIterator[list["StreamHost"]]:
    """So many members at work, until the block ends; each must end in order."""
    from tocsin.automations.stream_host import StreamHost

    stop = asyncio.Event()
    hosts = [StreamHost(store, bus) for _ in range(members)]
    tasks = [asyncio.create_task(host.serve(stop)) for host in hosts]
    try:
        yield hosts
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*tasks)


async def until(done: Callable[[], bool]) -> None:
    """Wait for a condition, patiently."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, "it does not come"
        await asyncio.sleep(LOOK_S)


Facts = tuple[Set[tuple[object, ...]], Set[tuple[object, ...]]]


def facts(store: Store) -> Facts:
    """What was decided: firings and invocations, all but when they were recorded."""
    fired: set[tuple[object, ...]] = {
        (one.id, one.automation, tuple(one.key), one.state, one.at, one.event_id) for one in firings(store)
    }
    planned: set[tuple[object, ...]] = {
        (one.id, one.firing_id, one.position, one.action, str(one.arguments)) for one in invocations(store)
    }
    return fired, planned

"""Faust inside our program: it may be started and stopped as often as one likes, and it never stops our event loop."""

import asyncio
from typing import TYPE_CHECKING

from tocsin.events.bus import Message
from tocsin.events.topics import SIGNALS

if TYPE_CHECKING:
    from tocsin.automations.stream_lane import Arrived
    from tocsin.events.kafka import KafkaBus


class Holder:
    """Notes what it is handed, and acknowledges nothing by itself."""

    def __init__(self) -> None:
        self.owned: set[int] = set()
        self.given: list[tuple[int, Arrived]] = []
        self.came = asyncio.Event()

    def dealt(self, partitions: set[int]) -> None:
        self.owned = partitions

    def revoked(self) -> None:
        self.owned = set()

    async def put(self, partition: int, arrived: "Arrived") -> None:
        self.given.append((partition, arrived))
        self.came.set()

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.given) < count:
                await self.came.wait()
                self.came.clear()


async def test_what_was_not_said_to_be_done_comes_again_after_a_restart(kafka_bus: "KafkaBus") -> None:
    from tocsin.automations.stream import Intake

    await kafka_bus.publish([Message(SIGNALS, "same", b"%d" % number) for number in range(6)])
    for left in (6, 4, 0):
        holder = Holder()
        intake = Intake(kafka_bus.address, kafka_bus.prefix, holder)
        await intake.start()
        await holder.wait(left)
        assert [one.body for _, one in holder.given] == [b"%d" % number for number in range(6 - left, 6)]
        assert holder.owned == set(range(8))
        for _, one in holder.given[: 2 if left == 6 else left]:
            one.done()
        await intake.stop()


async def test_a_consumer_thread_that_needs_us_to_end_is_not_waited_for_with_the_whole_loop(
    kafka_bus: "KafkaBus",
) -> None:
    """Faust's own way to stop is to let the loop stand still until the thread has ended: for ever, then."""
    from tocsin.automations.stream import Intake, LeavableThread

    before = set(LeavableThread.running)
    intake = Intake(kafka_bus.address, kafka_bus.prefix, Holder())
    await intake.start()
    [thread] = LeavableThread.running - before
    ours = asyncio.get_running_loop()

    async def needs_us() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), ours))

    asyncio.run_coroutine_threadsafe(needs_us(), thread.service.thread_loop)
    async with asyncio.timeout(60):
        await intake.stop()
    assert thread.is_stopped.is_set()

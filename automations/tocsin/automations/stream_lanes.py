"""The partitions that a member holds: who owns which, how they fare, and when one of them stands still."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tocsin.automations.stream_lane import Arrived, Lane, Room
from tocsin.automations.stream_shard import Shard
from tocsin.events.errors import TocsinError

STALL_S: Final = 60.0


class Stalled(TocsinError):
    """A partition has work and does not move: the process must end, so that another member takes it over."""


@dataclass(frozen=True)
class Figures:
    """How a member fares: its partitions, those taken over so far, what they remember, and how far they are behind.

    `places` and `size` (bytes) are over all partitions, `lag` is in packed records, `signals` counts since the start.
    """

    partitions: int
    ready: int
    places: int
    size: int
    lag: int
    signals: int


@dataclass
class _Sight:
    """Where a partition was seen last, and since when it is there."""

    position: int
    since: float


class Lanes:
    """The partitions that this member holds, each with its owner at work.

    What it remembered of a partition it keeps until the next deal: if it gets it back, it reads only what is new.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._lanes: dict[int, Lane] = {}
        self._shards: dict[int, Shard] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._seen: dict[int, _Sight] = {}
        self._before = 0
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def dealt(self, partitions: set[int]) -> None:
        """Own these partitions and no others; each is taken over on its own."""
        self.revoked()
        self._shards = {number: self._shards.get(number, Shard(number)) for number in sorted(partitions)}
        for number, shard in self._shards.items():
            lane = self._lanes[number] = Lane(self._room, shard)
            task = self._tasks[number] = asyncio.create_task(lane.serve(), name=f"lane {number}")
            task.add_done_callback(self._ended)

    def revoked(self) -> None:
        """Own nothing; what is under way is dropped, and done again by the next owner."""
        for number, task in self._tasks.items():
            task.cancel()
            self._ending.add(task)
            self._lanes[number].close()
            self._before += self._lanes[number].count
            self._shards[number] = self._lanes[number].shard
        self._tasks.clear()
        self._lanes.clear()
        self._seen.clear()

    async def put(self, partition: int, arrived: Arrived) -> None:
        """Hand a record to the owner of its partition; one of a partition that is no longer ours is dropped."""
        if (lane := self._lanes.get(partition)) is not None:
            await lane.put(arrived)

    @property
    def signals(self) -> int:
        """How many were decided so far."""
        return self._before + sum(lane.count for lane in self._lanes.values())

    @property
    def ready(self) -> int:
        """How many partitions are taken over."""
        return sum(lane.recovered for lane in self._lanes.values())

    @property
    def settled(self) -> bool:
        """Whether something was dealt, and all of it is taken over."""
        return self.ready == len(self._lanes) > 0

    async def close(self) -> None:
        """Wait until nobody works any more."""
        self.revoked()
        await asyncio.gather(*self._ending, return_exceptions=True)
        if self.failed.done():
            self.failed.exception()

    async def figures(self) -> Figures:
        """How the partitions fare now. Raises `Unavailable` when the broker is away, `Stalled`."""
        numbers = list(self._lanes)
        bounds = await self._room.signals.bounds(numbers) if numbers else {}
        lanes = {number: self._lanes[number] for number in numbers if number in self._lanes}
        self._look(lanes, {number: end for number, (_, end) in bounds.items()}, time.monotonic())
        return Figures(
            partitions=len(lanes),
            ready=self.ready,
            places=sum(len(lane.shard) for lane in lanes.values()),
            size=sum(lane.shard.size for lane in lanes.values()),
            lag=sum(max(0, bounds[number][1] - max(lane.next, bounds[number][0])) for number, lane in lanes.items()),
            signals=self.signals,
        )

    def _look(self, lanes: Mapping[int, Lane], ends: Mapping[int, int], now: float) -> None:
        """Note which lanes move. One that is taking its partition over moves as long as it reads its changelog."""
        for number, lane in lanes.items():
            position = lane.next if lane.recovered else lane.shard.read
            sight = self._seen.setdefault(number, _Sight(position, now))
            idle = lane.recovered and lane.next >= ends[number]
            if position != sight.position or idle:
                sight.position, sight.since = position, now
            elif now - sight.since > STALL_S:
                raise Stalled(
                    f"partition {number} of the signals has stood still for {STALL_S:.0f} s at {lane.next}, "
                    f"its end is at {ends[number]}; another member takes it over"
                )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            self.failed.set_exception(error)

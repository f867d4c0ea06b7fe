"""What a member of a consumer group holds: records handed out and not yet committed, partition by partition.

start        low          end
  │ committed │ handed out │ not fetched yet        offsets of one partition, since the member was dealt it
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from tocsin.events.bus import Record

Place = tuple[str, int]
"""A stream and one of its partitions."""


@dataclass(slots=True)
class Hold:
    """Offsets of one partition: from `start` to before `low` committed, from there to before `end` handed out."""

    start: int
    low: int
    end: int


class Holdings:
    """The partitions of one member; forgets everything when they are dealt anew."""

    def __init__(self) -> None:
        self._holds: dict[Place, Hold] = {}

    def hand_out(self, place: Place, offset: int) -> None:
        """The member is given the record at `offset`."""
        hold = self._holds.setdefault(place, Hold(offset, offset, offset))
        hold.end = max(hold.end, offset + 1)

    def moves(self, records: Iterable[Record]) -> tuple[dict[Place, int], bool]:
        """Where a commit of `records` moves each partition, and whether all of them are still held.

        A partition that is already committed that far is left out.
        """
        wanted: dict[Place, int] = {}
        for record in records:
            place = record.stream, record.partition
            wanted[place] = max(wanted.get(place, 0), record.offset + 1)
        ours = {place: offset for place, offset in wanted.items() if self._held(place, offset)}
        forward = {place: offset for place, offset in ours.items() if offset > self._holds[place].low}
        return forward, len(ours) == len(wanted)

    def committed(self, offsets: Mapping[Place, int]) -> None:
        """The commit of these offsets (the first not handled) is kept by the broker."""
        for place, offset in offsets.items():
            if hold := self._holds.get(place):
                hold.low = max(hold.low, offset)

    def positions(self) -> dict[Place, int]:
        """Where each partition goes on after a rewind."""
        return {place: hold.low for place, hold in self._holds.items()}

    @property
    def settled(self) -> bool:
        """Whether everything that was handed out is committed."""
        return all(hold.low >= hold.end for hold in self._holds.values())

    def forget(self) -> None:
        """The partitions are no longer the member's."""
        self._holds.clear()

    def _held(self, place: Place, offset: int) -> bool:
        hold = self._holds.get(place)
        return hold is not None and hold.start < offset <= hold.end


class Membership:
    """Whether a member may read now, and how it hands over what it holds when its group is dealt anew."""

    def __init__(self, handover: timedelta) -> None:
        self.holdings = Holdings()
        self._handover = handover
        self._dealt = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    def dealt(self) -> None:
        """The partitions have been dealt: records that come from now on are the member's."""
        self._dealt.set()

    async def revoked(self) -> None:
        """Return when everything handed out is committed, or the time for it is over; then nothing is held."""
        self._dealt.clear()
        if not self.holdings.settled:
            self._settled.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._handover.total_seconds()):
                await self._settled.wait()
        self.holdings.forget()

    def committed(self, offsets: Mapping[Place, int]) -> None:
        """The broker keeps the commit of these offsets."""
        self.holdings.committed(offsets)
        if self.holdings.settled:
            self._settled.set()

    def left(self) -> None:
        """The member has left its group; whoever waits for it goes on."""
        self._dealt.clear()
        self._settled.set()
        self.holdings.forget()

    @property
    def reading(self) -> bool:
        """Whether partitions are dealt, be it none."""
        return self._dealt.is_set()

    async def wait(self, timeout_s: float) -> bool:
        """Whether partitions are dealt within `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._dealt.wait()
        return self.reading

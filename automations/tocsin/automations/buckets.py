"""What stands in one row of the index: interests that need nothing more, and those that have something left to ask.

    bucket ──▶ plain: met by whatever event comes here
           ──▶ asks ──▶ groups: by the condition that is left to ask, which is asked once for all of a group
                    ──▶ ladders: by a number that the event's must be above or below; at each number a bucket

A row with a single interest that has nothing left to ask holds its `Entry` alone: most rows do.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
from operator import attrgetter
from typing import Final

import msgspec

from tocsin.automations.ladders import Ladder, Rung, Side
from tocsin.automations.residual import Condition
from tocsin.automations.shapes import Row
from tocsin.events.model import Event
from tocsin.triggers.steps import Key


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An interest of an automation; `key` reads what an event counts under, `fires` is that of its signals."""

    automation: str
    hits: tuple[int, ...]
    key: Callable[[Event], Key]
    fires: tuple[str, ...] | None = None

    @property
    def rank(self) -> tuple[str, tuple[int, ...]]:
        """By what a bucket is sorted."""
        return self.automation, self.hits


class Left(msgspec.Struct, frozen=True, gc=False):
    """What is left to ask of an event in the row: how a number compares, then a condition."""

    rung: Rung | None = None
    condition: Condition | None = None


NOTHING: Final = Left()


class Bucket(msgspec.Struct, gc=False):
    """Entries of one row. `asks` are those that something is left to ask for."""

    plain: list[Entry] = []
    asks: "Asks | None" = None

    @property
    def empty(self) -> bool:
        """Whether nothing is filed here."""
        return not self.plain and self.asks is None

    def put(self, entry: Entry, left: Left) -> None:
        """File an entry that is not here yet."""
        if left == NOTHING:
            insort(self.plain, entry, key=_rank)
        else:
            self.asks = self.asks or Asks()
            self.asks.put(entry, left)

    def drop(self, entry: Entry, left: Left) -> None:
        """Take out what `put` with the same arguments filed."""
        if left == NOTHING:
            _remove(self.plain, entry)
        elif self.asks is not None:
            self.asks.drop(entry, left)
            self.asks = self.asks if self.asks.groups or self.asks.ladders else None


Held = Entry | Bucket
Rows = dict[Row, Held]


class Group(msgspec.Struct, gc=False):
    """Entries that ask the same. `failures`: how often that failed and none of them was told yet; the last `reason`."""

    entries: list[Entry] = []
    failures: int = 0
    reason: str = ""


class Asks(msgspec.Struct, gc=False):
    """Entries by what is left to ask for them."""

    groups: dict[Condition, Group] = {}
    ladders: dict[Side, Ladder[Bucket]] = {}

    def put(self, entry: Entry, left: Left) -> None:
        """File an entry that is not here yet."""
        if left.rung is not None:
            side = left.rung.side
            ladder = self.ladders.get(side) or self.ladders.setdefault(side, Ladder(side))
            ladder.at(left.rung, Bucket).put(entry, Left(None, left.condition))
        elif left.condition is not None:
            group = self.groups.get(left.condition) or self.groups.setdefault(left.condition, Group())
            insort(group.entries, entry, key=_rank)

    def drop(self, entry: Entry, left: Left) -> None:
        """Take out what `put` with the same arguments filed."""
        if left.rung is not None:
            ladder = self.ladders[left.rung.side]
            bucket = ladder.at(left.rung, Bucket)
            bucket.drop(entry, Left(None, left.condition))
            if bucket.empty:
                ladder.forget(left.rung)
            if not len(ladder):
                del self.ladders[left.rung.side]
        elif left.condition is not None:
            group = self.groups[left.condition]
            _remove(group.entries, entry)
            if not group.entries:
                del self.groups[left.condition]


def file(rows: Rows, row: Row, entry: Entry, left: Left) -> None:
    """File an entry that is not in this row yet."""
    held = rows.get(row)
    if held is None and left == NOTHING:
        rows[row] = entry
        return
    if not isinstance(held, Bucket):
        held = rows[row] = Bucket([] if held is None else [held])
    held.put(entry, left)


def take_out(rows: Rows, row: Row, entry: Entry, left: Left) -> None:
    """Take out what `file` with the same arguments filed."""
    held = rows[row]
    if isinstance(held, Bucket):
        held.drop(entry, left)
    if not isinstance(held, Bucket) or held.empty:
        del rows[row]


_rank = attrgetter("rank")


def _remove(entries: list[Entry], entry: Entry) -> None:
    del entries[bisect_left(entries, entry.rank, key=_rank)]

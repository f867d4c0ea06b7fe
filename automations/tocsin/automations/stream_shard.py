"""What one partition remembers, and its changelog. Pure: records in, records out; who carries them is elsewhere.

States lie here as the JSON that the changelog holds, in buckets. A delta holds the states that one batch changed. A
chunk holds a whole bucket; one is written for every so many bytes of deltas, round and round:

    claim  delta delta  chunk 7  delta delta delta  chunk 8  delta …        what lies before the oldest bucket's chunk
      │                    └─── everything of bucket 7 ──▶                  is of no use any more, and is cut off
      └── epoch 5, by A

An owner claims the partition with an epoch above all others and goes on when it has read its own claim: what an
earlier owner writes behind it is not read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from sys import intern
from typing import Final

import msgspec

from tocsin.automations.evaluate import Place
from tocsin.automations.stream_pack import Seen, hash_of
from tocsin.events.errors import BadEvent
from tocsin.triggers.steps import Key, Micros

BUCKETS: Final = 64
ROLL_BYTES: Final = 64_000
"""A chunk is written after so many bytes of deltas, or as many as its bucket has if that is more."""

RECORD_BYTES: Final = 1_000_000


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered at a place: nothing any more when `state` is null. `due`: when it must be told the time."""

    automation: str
    key: Key
    due: Micros | None
    state: msgspec.Raw


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record of the changelog, written by the owner `by` in its `epoch`.

    `handled`: the first offset of the signals that is not in the states yet. `rules`: the revision of the automations
    that they follow. `sources`: how far each source of events is in them. `bucket`: whose chunk it is, -1 for a delta.
    `more`: how many records of the same chunk follow; it holds when the last is there.
    """

    epoch: int
    by: str
    handled: int = 0
    rules: int = -1
    sources: dict[str, Seen] = {}
    bucket: int = -1
    more: int = 0
    entries: tuple[Entry, ...] = ()


class Held(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A state as JSON, and when it is due."""

    state: bytes
    due: Micros | None


_NULL: Final = b"null"
_NONE: Final[Mapping[str, Seen]] = {}
_decoder: Final = msgspec.json.Decoder(Change)


@dataclass
class Shard:
    """The states of one partition. `read` is the first offset of the changelog that is not in it yet."""

    number: int
    epoch: int = 0
    by: str = ""
    handled: int = 0
    rules: int = -1
    sources: dict[str, Seen] = field(default_factory=dict)
    read: int = 0
    size: int = 0
    count: int = 0
    buckets: list[dict[Place, Held]] = field(default_factory=lambda: [{} for _ in range(BUCKETS)])
    sizes: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    chunks: dict[int, int] = field(default_factory=dict)
    unrolled: int = 0
    next_bucket: int = 0
    _wheel: list[tuple[Micros, Place]] = field(default_factory=list)
    _part: list[Entry] = field(default_factory=list)
    _part_at: int | None = None

    def __len__(self) -> int:
        """How many places remember something."""
        return self.count

    def get(self, place: Place) -> Held | None:
        """What is remembered at a place."""
        return self.buckets[_bucket(place)].get(place)

    def places(self) -> Iterator[tuple[Place, Held]]:
        """Everything that is remembered."""
        for bucket in self.buckets:
            yield from bucket.items()

    def keep(self, place: Place, held: Held | None) -> None:
        """Remember, or forget."""
        number = _bucket(place)
        bucket = self.buckets[number]
        before = bucket.pop(place, None) if held is None else bucket.get(place)
        grown = _weight(place, held) - _weight(place, before)
        self.size += grown
        self.sizes[number] += grown
        self.count += (held is not None) - (before is not None)
        if held is None:
            return
        bucket[place] = held
        if held.due is not None and (before is None or before.due is None or held.due < before.due):
            heappush(self._wheel, (held.due, place))

    def overdue(self, clock: Micros, limit: int) -> list[Place]:
        """Places whose deadline is not after `clock`, at most `limit`, the earliest first.

        The wheel holds each place at its deadline or before it: one that was put off is put back when it turns up.
        """
        found: dict[Place, Micros] = {}
        while self._wheel and self._wheel[0][0] <= clock and len(found) < limit:
            at, place = heappop(self._wheel)
            held = self.get(place)
            if held is None or held.due is None or place in found:
                continue
            if held.due == at:
                found[place] = at
            else:
                heappush(self._wheel, (held.due, place))
        for place, at in found.items():
            heappush(self._wheel, (at, place))
        return list(found)

    def apply(self, body: bytes, offset: int) -> None:
        """Take in a record of the changelog; one of an owner that had been superseded changes nothing.

        Raises `BadEvent` for one that cannot be read.
        """
        self.read = offset + 1
        try:
            change = _decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadEvent(f"not a record of the changelog: {error}") from error
        if change.epoch < self.epoch or (change.epoch == self.epoch and change.by != self.by):
            return
        if (change.epoch, change.by) != (self.epoch, self.by):
            self.epoch, self.by = change.epoch, change.by
            self._part, self._part_at = [], None
        self.handled, self.rules = max(self.handled, change.handled), max(self.rules, change.rules)
        self.sources |= change.sources
        if change.bucket < 0:
            self._put(change.entries)
            return
        self._part += change.entries
        self._part_at = offset if self._part_at is None else self._part_at
        if change.more == 0:
            self._replace(change.bucket, self._part_at)

    def wrote(self, records: Sequence[bytes], bucket: int = -1) -> None:
        """Note that the owner has written these records where it had read to."""
        self.unrolled += sum(map(len, records))
        if bucket >= 0:
            self._rolled(bucket, self.read)
        self.read += len(records)

    def roll(self) -> int | None:
        """The bucket whose chunk it is time to write."""
        wanted = max(ROLL_BYTES, self.sizes[self.next_bucket])
        return self.next_bucket if self.unrolled >= wanted else None

    def useless(self) -> int | None:
        """Before which offset of the changelog everything is of no use; None while a bucket has no chunk."""
        return min(self.chunks.values()) if len(self.chunks) == BUCKETS else None

    def _rolled(self, bucket: int, offset: int) -> None:
        self.chunks[bucket] = offset
        self.next_bucket, self.unrolled = (bucket + 1) % BUCKETS, 0

    def _replace(self, bucket: int, first: int) -> None:
        """A chunk that begins at `first` is whole."""
        entries, self._part, self._part_at = self._part, [], None
        self.size -= self.sizes[bucket]
        self.sizes[bucket] = 0
        self.count -= len(self.buckets[bucket])
        self.buckets[bucket] = {}
        self._put(entries)
        self._rolled(bucket, first)

    def _put(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            state = bytes(entry.state)
            self.keep((intern(entry.automation), entry.key), None if state == _NULL else Held(state, entry.due))


def claim(shard: Shard, by: str) -> bytes:
    """The record by which `by` takes the partition over."""
    return msgspec.json.encode(Change(shard.epoch + 1, by, shard.handled, shard.rules, shard.sources))


def deltas(
    shard: Shard, changed: Mapping[Place, Held | None], handled: int, sources: Mapping[str, Seen] = _NONE
) -> list[bytes]:
    """The records of a batch: what it changed, and behind all of it how far the signals are handled.

    If the last of several is missing, the batch is done again: a signal that is repeated changes nothing.
    """
    parts: list[list[Entry]] = [[]]
    size = 0
    for place, held in changed.items():
        weight = _weight(place, held)
        if parts[-1] and size + weight > RECORD_BYTES:
            parts.append([])
            size = 0
        size += weight
        parts[-1].append(_entry(place, held))
    done = Change(shard.epoch, shard.by, handled, shard.rules, {**shard.sources, **sources})
    begun = Change(shard.epoch, shard.by, shard.handled, shard.rules)
    return [
        msgspec.json.encode(msgspec.structs.replace(done if part is parts[-1] else begun, entries=tuple(part)))
        for part in parts
    ]


def chunk(shard: Shard, bucket: int) -> list[bytes]:
    """The records of a whole bucket."""
    entries = [_entry(place, held) for place, held in shard.buckets[bucket].items()]
    parts = list(_parts(entries))
    return [
        msgspec.json.encode(
            Change(
                shard.epoch,
                shard.by,
                shard.handled,
                shard.rules,
                shard.sources,
                bucket,
                len(parts) - index,
                tuple(part),
            )
        )
        for index, part in enumerate(parts, 1)
    ]


def _parts(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    size = 0
    for entry in entries:
        weight = len(bytes(entry.state)) + 100
        if part and size + weight > RECORD_BYTES:
            yield part
            part, size = [], 0
        part.append(entry)
        size += weight
    yield part


def _entry(place: Place, held: Held | None) -> Entry:
    if held is None:
        return Entry(place[0], place[1], None, msgspec.Raw(_NULL))
    return Entry(place[0], place[1], held.due, msgspec.Raw(held.state))


def _bucket(place: Place) -> int:
    return (hash_of(*place) >> 8) % BUCKETS


def _weight(place: Place, held: Held | None) -> int:
    """Roughly the bytes of an entry of the changelog."""
    return 0 if held is None else 40 + len(place[0]) + sum(map(len, place[1])) + len(held.state)

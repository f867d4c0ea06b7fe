"""Packed signals: what travels on `tocsin.signals`. Few, full records, for each of them is dear to the stream library.

A pack belongs to one partition, chosen by automation and key. It names the automations by what they were when the
events were routed, so that a reader who knows them otherwise by now can tell.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from zlib import crc32

import msgspec

from tocsin.events.errors import BadEvent
from tocsin.events.model import Event
from tocsin.triggers.steps import Key, Micros, Signal

SIGNALS_AT_MOST: Final = 200
BYTES_AT_MOST: Final = 500_000

Named = tuple[str, str]
"""An automation's name, and the mark of its definition."""


class Hit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A signal: the places of its automation and of its event in the pack's tables."""

    automation: int
    key: Key
    event: int
    hits: tuple[int, ...]


class Carried(msgspec.Struct, frozen=True, array_like=True):
    """An event as its bytes, when it came onto the bus, and where it lay there.

    `source` is a place in the pack's table; -1: it has been routed again, and lies nowhere.
    """

    event: msgspec.Raw
    received: Micros
    source: int = -1
    offset: int = -1


class Pack(msgspec.Struct, frozen=True, omit_defaults=True):
    """Signals of one partition, in their order.

    `revision` is that of the automations they were routed by. All signals of an event lie in one pack, and events of
    one source ("topic/partition") in the order of their offsets, unless they are repeated. `told` says up to when all
    that came to which partitions of which topics has been routed and published: the clock of deadlines.
    """

    revision: int = 0
    automations: tuple[Named, ...] = ()
    sources: tuple[str, ...] = ()
    events: tuple[Carried, ...] = ()
    signals: tuple[Hit, ...] = ()
    told: tuple[tuple[Micros, dict[str, list[int]]], ...] = ()

    @property
    def reached(self) -> dict[str, Micros]:
        """How far each source is of which that is told."""
        return {
            f"{topic}/{number}": at
            for at, topics in self.told
            for topic, numbers in topics.items()
            for number in numbers
        }


_decoder: Final = msgspec.json.Decoder(Pack)
_event: Final = msgspec.json.Decoder(Event)


@dataclass
class _Open:
    """A pack that is being filled."""

    revision: int
    automations: dict[Named, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    events: list[Carried] = field(default_factory=list)
    signals: list[Hit] = field(default_factory=list)
    size: int = 0
    last: Event | None = None

    def full(self, size: int) -> bool:
        """Whether there is no room for one more with an event of `size` bytes."""
        return bool(self.signals) and (len(self.signals) >= SIGNALS_AT_MOST or self.size + size > BYTES_AT_MOST)

    def carry(self, event: Event, body: bytes, received: Micros, source: str, offset: int) -> None:
        self.last = event
        place = self.sources.setdefault(source, len(self.sources)) if source else -1
        self.events.append(Carried(msgspec.Raw(body), received, place, offset))
        self.size += len(body)

    def add(self, signal: Signal, named: Named) -> None:
        place = self.automations.setdefault(named, len(self.automations))
        self.signals.append(Hit(place, signal.key, len(self.events) - 1, signal.hits))

    def close(self) -> bytes:
        return msgspec.json.encode(
            Pack(self.revision, tuple(self.automations), tuple(self.sources), tuple(self.events), tuple(self.signals))
        )


class Packer:
    """Fills the packs of all partitions."""

    def __init__(self, width: int, revision: int, marks: Mapping[str, str]) -> None:
        self._width, self._revision, self._marks = width, revision, marks
        self._open: dict[int, _Open] = {}
        self._closed: dict[int, list[bytes]] = defaultdict(list)

    def add(self, signals: Iterable[Signal], body: bytes, source: str = "", offset: int = -1) -> None:
        """Pack the signals of one event, whose JSON is `body` and which lay at `offset` of `source`."""
        for signal in signals:
            number = partition_for(signal.automation, signal.key, self._width)
            pack = self._open.get(number)
            if pack is None:
                pack = self._open[number] = _Open(self._revision)
            if pack.last is not signal.event:
                if pack.full(len(body)):
                    self._closed[number].append(pack.close())
                    pack = self._open[number] = _Open(self._revision)
                pack.carry(signal.event, body, signal.received, source, offset)
            pack.add(signal, (signal.automation, self._marks[signal.automation]))

    def close(self) -> dict[int, list[bytes]]:
        """The packs of each partition, in their order."""
        for number, pack in self._open.items():
            self._closed[number].append(pack.close())
        self._open.clear()
        return self._closed


@lru_cache(maxsize=65_536)
def hash_of(automation: str, key: Key) -> int:
    """What decides where a place lives; it must never change, or states would be looked for elsewhere."""
    return crc32("\0".join((automation, *key)).encode("utf-8", "surrogatepass"))


def partition_for(automation: str, key: Key, width: int) -> int:
    """The partition of `tocsin.signals` that owns what `automation` remembers under `key`."""
    return hash_of(automation, key) % width


Seen = tuple[int, Micros]
"""Of a source the first offset that has not come yet, and when the latest that has was received."""

Routed = tuple[Signal, str]
"""A signal, and the mark of the automation as it was when it was routed."""


class Arrival(msgspec.Struct, frozen=True):
    """An event of a pack with its signals; `source` is empty when it has been routed again."""

    source: str
    offset: int
    received: Micros
    signals: list[Routed]


class Unpacked(msgspec.Struct, frozen=True):
    """A pack with its signals put together."""

    pack: Pack
    arrivals: tuple[Arrival, ...]

    @property
    def signals(self) -> list[Routed]:
        """All signals, in their order."""
        return [one for arrival in self.arrivals for one in arrival.signals]


def unpack(body: bytes) -> Unpacked:
    """The pack in a record. Raises `BadEvent` when it is none."""
    try:
        pack = _decoder.decode(body)
        return Unpacked(pack, tuple(_arrivals(pack)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise BadEvent(f"not a pack of signals: {error}") from error


def _arrivals(pack: Pack) -> list[Arrival]:
    events = [_event.decode(carried.event) for carried in pack.events]
    sources = (*pack.sources, "")  # the last: place -1
    found = [Arrival(sources[one.source], one.offset, one.received, []) for one in pack.events]
    for hit in pack.signals:
        name, mark = pack.automations[hit.automation]
        signal = Signal(name, hit.key, events[hit.event], hit.hits, pack.events[hit.event].received)
        found[hit.event].signals.append((signal, mark))
    return found


def seen_before(arrival: Arrival, seen: Seen | None) -> bool:
    """Whether an event has come here already. A source whose offsets begin anew (its topic was made anew) goes on."""
    return seen is not None and arrival.offset < seen[0] and arrival.received <= seen[1]


def seen_now(arrival: Arrival, seen: Seen | None) -> Seen:
    """What is known of its source after an event that has not come before."""
    goes_on = seen is not None and arrival.offset >= seen[0]
    return arrival.offset + 1, max(arrival.received, seen[1]) if seen is not None and goes_on else arrival.received


def clock_pack(reached: Mapping[str, Micros]) -> bytes:
    """A pack that only tells how far the sources are; most are equally far, and it is written often."""
    together: dict[Micros, dict[str, list[int]]] = {}
    for source, at in reached.items():
        topic, _, number = source.rpartition("/")
        together.setdefault(at, {}).setdefault(topic, []).append(int(number))
    return msgspec.json.encode(Pack(told=tuple(together.items())))


def earliest(reached: Mapping[str, Micros], sources: Sequence[str]) -> Micros | None:
    """Up to when everything has come here, from each of `sources`; None while one has not been heard of."""
    if any(source not in reached for source in sources):
        return None
    return min((reached[source] for source in sources), default=None)

"""Packed signals: what travels on `tocsin.signals`. Few, full records, for each of them is dear to the stream library.

A pack belongs to one partition, chosen by automation and key. It names the automations by what they were when the
events were routed, so that a reader who knows them otherwise by now can tell.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    """An event as its bytes, and when it came onto the bus."""

    event: msgspec.Raw
    received: Micros


class Pack(msgspec.Struct, frozen=True, omit_defaults=True):
    """Signals of one partition, in their order.

    `revision` is that of the automations they were routed by. `reached` says for each source ("topic/partition") up
    to when all that came there has been routed and published: the clock of deadlines.
    """

    revision: int = 0
    automations: tuple[Named, ...] = ()
    events: tuple[Carried, ...] = ()
    signals: tuple[Hit, ...] = ()
    reached: dict[str, Micros] = {}


_decoder: Final = msgspec.json.Decoder(Pack)
_event: Final = msgspec.json.Decoder(Event)


@dataclass
class _Open:
    """A pack that is being filled."""

    revision: int
    automations: dict[Named, int] = field(default_factory=dict)
    events: list[Carried] = field(default_factory=list)
    signals: list[Hit] = field(default_factory=list)
    size: int = 0
    last: Event | None = None

    def full(self, size: int) -> bool:
        """Whether there is no room for one more with an event of `size` bytes."""
        return bool(self.signals) and (len(self.signals) >= SIGNALS_AT_MOST or self.size + size > BYTES_AT_MOST)

    def add(self, signal: Signal, named: Named, body: bytes) -> None:
        if self.last is not signal.event:
            self.last = signal.event
            self.events.append(Carried(msgspec.Raw(body), signal.received))
            self.size += len(body)
        place = self.automations.setdefault(named, len(self.automations))
        self.signals.append(Hit(place, signal.key, len(self.events) - 1, signal.hits))

    def close(self) -> bytes:
        return msgspec.json.encode(
            Pack(self.revision, tuple(self.automations), tuple(self.events), tuple(self.signals))
        )


class Packer:
    """Fills the packs of all partitions."""

    def __init__(self, width: int, revision: int, marks: Mapping[str, str]) -> None:
        self._width, self._revision, self._marks = width, revision, marks
        self._open: dict[int, _Open] = {}
        self._closed: dict[int, list[bytes]] = defaultdict(list)

    def add(self, signals: Iterable[Signal], body: bytes) -> None:
        """Pack the signals of one event, whose JSON is `body`."""
        for signal in signals:
            number = partition_for(signal.automation, signal.key, self._width)
            pack = self._open.get(number)
            if pack is None or pack.full(len(body)):
                if pack is not None:
                    self._closed[number].append(pack.close())
                pack = self._open[number] = _Open(self._revision)
            pack.add(signal, (signal.automation, self._marks[signal.automation]), body)

    def close(self) -> dict[int, list[bytes]]:
        """The packs of each partition, in their order."""
        for number, pack in self._open.items():
            self._closed[number].append(pack.close())
        self._open.clear()
        return self._closed


def hash_of(automation: str, key: Key) -> int:
    """What decides where a place lives; it must never change, or states would be looked for elsewhere."""
    return crc32("\0".join((automation, *key)).encode("utf-8", "surrogatepass"))


def partition_for(automation: str, key: Key, width: int) -> int:
    """The partition of `tocsin.signals` that owns what `automation` remembers under `key`."""
    return hash_of(automation, key) % width


Routed = tuple[Signal, str]
"""A signal, and the mark of the automation as it was when it was routed."""


class Unpacked(msgspec.Struct, frozen=True):
    """A pack with its signals put together."""

    pack: Pack
    signals: tuple[Routed, ...]


def unpack(body: bytes) -> Unpacked:
    """The pack in a record. Raises `BadEvent` when it is none."""
    try:
        pack = _decoder.decode(body)
        return Unpacked(pack, tuple(_signals(pack)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise BadEvent(f"not a pack of signals: {error}") from error


def _signals(pack: Pack) -> Iterator[Routed]:
    events = [_event.decode(carried.event) for carried in pack.events]
    received = [carried.received for carried in pack.events]
    for hit in pack.signals:
        name, mark = pack.automations[hit.automation]
        yield Signal(name, hit.key, events[hit.event], hit.hits, received[hit.event]), mark


def clock_pack(reached: Mapping[str, Micros]) -> bytes:
    """A pack that only tells how far the sources are."""
    return msgspec.json.encode(Pack(reached=dict(reached)))


def earliest(reached: Mapping[str, Micros], sources: Sequence[str]) -> Micros | None:
    """Up to when everything has come here, from each of `sources`; None while one has not been heard of."""
    if any(source not in reached for source in sources):
        return None
    return min((reached[source] for source in sources), default=None)

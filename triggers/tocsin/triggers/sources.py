"""Sources as a service: each source on record has a reader in this process, also one that is applied later."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlmodel import Session

from tocsin.events.bus import Bus
from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import Invalid
from tocsin.events.kafka_access import OPEN, Access
from tocsin.store.engine import Store
from tocsin.triggers.source import KafkaSource, source_of
from tocsin.triggers.source_store import CHANNEL, list_rows

if TYPE_CHECKING:
    from tocsin.events.kafka import KafkaBus

LOOK: Final = timedelta(seconds=10)

_LOG = logging.getLogger("tocsin.triggers.sources")


@dataclass(frozen=True)
class _Running:
    updated: datetime
    stop: asyncio.Event
    task: asyncio.Task[None]


class Sources:
    """The readers of one process.

    Dead letters go to `bus`. `address`: the Kafka of sources that name none of their own, reached by `access`; no other
    cluster is shown that. `group_prefix` stands before the consumer groups. Kafka's library is not loaded before there
    is a source.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        *,
        address: str | None = None,
        access: Access = OPEN,
        group_prefix: str = "",
        clock: Clock | None = None,
    ) -> None:
        self._store, self._bus, self._clock = store, bus, clock or SystemClock()
        self._address, self._access, self._group_prefix = address, access, group_prefix
        self._outside: dict[str, KafkaBus] = {}
        self._running: dict[str, _Running] = {}

    async def serve(self, stop: asyncio.Event) -> None:
        """Keep one reader for each source on record until `stop` is set."""
        stopping = asyncio.create_task(stop.wait())
        try:
            with self._store.watch(CHANNEL) as watch:
                while not stop.is_set():
                    await self._follow(await self._store.look(_listed))
                    hearing = asyncio.create_task(watch.wait(LOOK))
                    await asyncio.wait({stopping, hearing}, return_when=asyncio.FIRST_COMPLETED)
                    hearing.cancel()
        finally:
            stopping.cancel()
            await self._end(list(self._running))
            for bus in self._outside.values():
                await bus.close()

    async def _follow(self, wanted: dict[str, tuple[datetime, KafkaSource]]) -> None:
        """End the readers of sources that are gone or changed, begin those that are new."""
        gone = [name for name, one in self._running.items() if name not in wanted or wanted[name][0] != one.updated]
        await self._end(gone)
        for name, (updated, source) in wanted.items():
            if name not in self._running:
                self._begin(name, updated, source)

    def _begin(self, name: str, updated: datetime, source: KafkaSource) -> None:
        from tocsin.events.kafka import KafkaBus
        from tocsin.triggers.source_reader import SourceReader

        address = source.bootstrap_servers or self._address
        if address is None:
            _LOG.warning("source %s: no Kafka is set; give it bootstrap_servers", source.name)
            return
        access = self._access if same_cluster(address, self._address) else OPEN
        outside = self._outside.setdefault(address, KafkaBus(address, access=access))
        reader = SourceReader(
            source, self._store, self._bus, outside, group_prefix=self._group_prefix, clock=self._clock
        )
        stop = asyncio.Event()
        self._running[name] = _Running(updated, stop, asyncio.create_task(reader.serve(stop), name=source.consumer))
        _LOG.info("source %s: reads %s at %s", name, source.topic, address)

    async def _end(self, names: list[str]) -> None:
        ending = [self._running.pop(name) for name in names]
        for one in ending:
            one.stop.set()
        await asyncio.gather(*(one.task for one in ending))


def same_cluster(address: str, ours: str | None) -> bool:
    """Whether every server of `address` is one of `ours`: only then it may see how we log in there."""
    return _servers(address) <= _servers(ours or "")


def _servers(address: str) -> set[str]:
    return {one.strip() for one in address.split(",")}


def _listed(session: Session) -> dict[str, tuple[datetime, KafkaSource]]:
    found = {}
    for row in list_rows(session):
        try:
            found[row.name] = (row.updated, source_of(row.spec))
        except Invalid as error:  # written by another version
            _LOG.error("left out: %s", error)
    return found

"""A processor on its own: host and performer on one database, until it is killed.

    python host_program.py URL CLOCK [POINT:TIMES]

`CLOCK` is the file of a `world` clock, which all processes share and a test moves ahead, so that the leases of one that
was killed are over. The process kills itself when it comes to the point `POINT` for the so-manieth time:

    fetched decide decided tick ticked write written commit committed claim claimed call called record recorded
"""

import asyncio
import mmap
import os
import signal
import struct
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlmodel import Session

from tocsin.automations.calls import Call
from tocsin.automations.host import Batch, Host
from tocsin.automations.perform import Ended, Performer
from tocsin.events.bus import DEFAULT_WAIT, Record
from tocsin.events.clock import Clock
from tocsin.store.engine import Store
from tocsin.store.logbus import LogBus, LogSubscription

LEASE = timedelta(seconds=5)
"""How long a call may be under way; with the seat of the log (6 s) what a dead process may still hold."""

BATCH = 60


class World:
    """The machine's clock and some seconds, which whoever has the file may change for all."""

    def __init__(self, file: Path) -> None:
        with open(file, "r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), 8)

    @classmethod
    def new(cls, file: Path) -> "World":
        """A clock in a new file, in time with the machine's."""
        file.write_bytes(struct.pack("d", 0.0))
        return cls(file)

    @property
    def ahead(self) -> float:
        """By how many seconds."""
        found: float = struct.unpack("d", self._shared[:8])[0]
        return found

    def jump(self, seconds: float) -> None:
        """Move it ahead."""
        self._shared[:8] = struct.pack("d", self.ahead + seconds)

    def now(self) -> datetime:
        """The present there."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead)


class Fate:
    """Where this process is to die."""

    def __init__(self, told: str) -> None:
        self._point, _, times = told.partition(":")
        self._times = int(times or 1)
        self._seen: Counter[str] = Counter()

    def at(self, point: str) -> None:
        """Die, if this is the place."""
        self._seen[point] += 1
        if point == self._point and self._seen[point] == self._times:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalHost(Host):
    """May die around its deciding and its writing."""

    fate: Fate

    def decide(self, session: Session, records: Sequence[Record], until: int | None = None) -> Batch:
        """Decide; where something may be due it is a tick too."""
        self.fate.at("decide")
        if until is not None:
            self.fate.at("tick")
        batch = super().decide(session, records, until)
        if until is not None:
            self.fate.at("ticked")
        self.fate.at("decided")
        return batch

    def write(self, session: Session, batch: Batch) -> None:
        """Write; what is not committed yet dies with it."""
        self.fate.at("write")
        super().write(session, batch)
        self.fate.at("written")


class MortalBus(LogBus):
    """May die around the movement of its position."""

    fate: Fate

    def subscribe(self, group: str, topics: Sequence[str] = ()) -> LogSubscription:
        """Any: the subscription in its mortal form, which has the same methods."""
        inner: Any = MortalSubscription(super().subscribe(group, topics), self.fate)
        found: LogSubscription = inner
        return found


class MortalSubscription:
    """A subscription whose process may die."""

    def __init__(self, inner: LogSubscription, fate: Fate) -> None:
        self._inner, self._fate = inner, fate

    async def fetch(self, limit: int = 500, wait: timedelta = DEFAULT_WAIT) -> list[Record]:
        """The next records."""
        found = await self._inner.fetch(limit, wait)
        if found:
            self._fate.at("fetched")
        return found

    async def commit(self, records: Sequence[Record]) -> None:
        """Move on."""
        self._fate.at("commit")
        await self._inner.commit(records)
        self._fate.at("committed")

    async def bury(self, record: Record, reason: str) -> None:
        """As it is."""
        await self._inner.bury(record, reason)

    async def lag(self) -> int:
        """As it is."""
        return await self._inner.lag()

    async def rewind(self) -> None:
        """As it is."""
        await self._inner.rewind()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)


class MortalPerformer(Performer):
    """May die around its transactions and its calls."""

    fate: Fate

    def claim(self, session: Session) -> tuple[int, list[Call]]:
        """Claim."""
        self.fate.at("claim")
        found = super().claim(session)
        self.fate.at("claimed")
        return found

    def record(self, session: Session, ended: Sequence[Ended]) -> None:
        """Record."""
        self.fate.at("record")
        super().record(session, ended)
        self.fate.at("recorded")

    async def _make(self, call: Call) -> None:
        self.fate.at("call")
        await super()._make(call)
        self.fate.at("called")


async def main(url: str, clock: Clock, fate: Fate) -> None:
    """Serve for ever."""
    store, never = Store.open(url), asyncio.Event()
    bus = MortalBus(store, clock)
    host = MortalHost(store, bus, clock=clock, batch=BATCH)
    performer = MortalPerformer(store, clock, at_once=8, lease=LEASE)
    bus.fate = host.fate = performer.fate = fate
    print("ready", flush=True)
    await asyncio.gather(host.serve(never), performer.serve(never))


if __name__ == "__main__":
    given = [*sys.argv[1:], ""][:3]
    asyncio.run(main(given[0], World(Path(given[1])), Fate(given[2])))

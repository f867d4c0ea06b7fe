"""The automations as a member of the stream knows them: loaded from the database, anew within a second of a change."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from tocsin.automations import store as records
from tocsin.automations.model import Automation
from tocsin.automations.route import Index
from tocsin.automations.store import Changes
from tocsin.store.engine import AWAY, Store
from tocsin.store.signals import first
from tocsin.triggers.kinds import timed

LOOK: Final = timedelta(milliseconds=500)
AWAY_S: Final = 1.0


class Rules:
    """The automations at one `revision`; `marks` tell by name what each waits for, and under which key."""

    def __init__(self, revision: int = -1, index: Index | None = None) -> None:
        self.revision, self.index = revision, index or Index()
        self.marks = {name: mark(one) for name, one in self.index.automations.items()}
        self._timed = {name for name, one in self.index.automations.items() if _timed(one)}

    @property
    def book(self) -> Mapping[str, Automation]:
        """The automations by name."""
        return self.index.automations

    @property
    def timed(self) -> bool:
        """Whether the clock alone may make one of them fire."""
        return bool(self._timed)

    def learn(self, changes: Changes) -> None:
        """Follow what has changed in the database."""
        for automation in changes.put:
            self.index.put(automation)
            self.marks[automation.name] = mark(automation)
            (self._timed.add if _timed(automation) else self._timed.discard)(automation.name)
        for name in changes.removed:
            self.index.drop(name)
            self.marks.pop(name, None)
            self._timed.discard(name)
        self.revision = changes.revision


def mark(automation: Automation) -> str:
    """What tells signals that were routed under one definition from those that another one would have got."""
    over = automation.ending.fingerprint if automation.ending else ""
    return "/".join((automation.fingerprint, over, "on" if automation.enabled else "off"))


def _timed(automation: Automation) -> bool:
    closes = automation.closer is not None and timed(automation.closer)
    return closes or (automation.enabled and timed(automation.trigger))


class Rulebook:
    """Keeps `rules` up to date."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = asyncio.Lock()
        self.rules = Rules()

    async def refresh(self) -> Rules:
        """The rules as they stand in the database now."""
        async with self._turn:
            known = self.rules.revision
            changes = await self._store.look(lambda session: records.changes(session, known))
            if known < 0:  # all of them: beside the loop
                self.rules = await asyncio.to_thread(_first, changes)
            elif changes.revision != known:
                self.rules.learn(changes)
            return self.rules

    async def since(self, revision: int) -> set[str]:
        """The names of the automations that have changed or gone since `revision`."""
        changes = await self._store.look(lambda session: records.changes(session, revision))
        return {*(one.name for one in changes.put), *changes.removed}

    async def serve(self, stop: asyncio.Event) -> None:
        """Follow changes until `stop`. While the database is away the rules that are known hold."""
        with self._store.watch(records.CHANNEL) as watch:
            while not stop.is_set():
                try:
                    await self.refresh()
                except AWAY:
                    await first(stop.wait(), asyncio.sleep(AWAY_S))
                await first(stop.wait(), watch.wait(LOOK))


def _first(changes: Changes) -> Rules:
    return Rules(changes.revision, Index(changes.put))

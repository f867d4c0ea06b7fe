"""A processor and a dispatcher, each in a process of its own, that kill themselves at a point they are told.

A fate is `POINT:TIMES`: the process dies when it comes there for the so-manieth time. Around every transaction of
either: `begin`, `commit` (written, not committed yet), `committed`; around every message: `send`, `sent`; and in the
processor what `tests.automations.host_program` names.
"""

import asyncio
import os
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from sqlmodel import Session

from tests.automations.host_program import LEASE, Fate, MortalBus, MortalHost, MortalPerformer, World
from tocsin.notifiers.channel import Notifier
from tocsin.notifiers.claims import Claimed
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.outcomes import Outcome
from tocsin.notifiers.view import Message
from tocsin.store.engine import Store

T = TypeVar("T")

HOST_POINTS: Final = ("fetched", "decided", "write", "written", "committed", "commit", "begin", "tick")
DISPATCHER_POINTS: Final = ("begin", "commit", "committed", "send", "sent")
JUMP_S: Final = 16.0
"""Beyond every lease: of a delivery (15 s), of the log's seat (6 s), of a call (5 s)."""


class MortalStore(Store):
    """May die around the transactions that a service makes beside its loop."""

    fate = Fate("")

    async def run(self, work: Callable[[Session], T]) -> T:
        """The result of `work`; the process may die before it, before its commit, and behind it."""
        self.fate.at("begin")

        def mortal(session: Session) -> T:
            found = work(session)
            self.fate.at("commit")
            return found

        found = await super().run(mortal)
        self.fate.at("committed")
        return found


class MortalDispatcher(Dispatcher):
    """May die around its messages."""

    fate: Fate

    async def _send(self, channel: Notifier, message: Message, claimed: Claimed) -> Outcome:
        self.fate.at("send")
        outcome = await super()._send(channel, message, claimed)
        self.fate.at("sent")
        return outcome


def processor(url: str, home: str, clock: str, fate: str) -> None:
    """Evaluate automations until killed."""
    os.environ["TOCSIN_HOME"] = home
    asyncio.run(_process(url, World(Path(clock)), Fate(fate)))


def dispatcher(url: str, home: str, clock: str, fate: str) -> None:
    """Deliver until killed."""
    os.environ["TOCSIN_HOME"] = home
    asyncio.run(_dispatch(url, World(Path(clock)), Fate(fate)))


def some_fate(points: tuple[str, ...], dice: random.Random) -> str:
    """Where and when the next process is to die."""
    return f"{dice.choice(points)}:{dice.randint(1, 4)}"


async def _process(url: str, world: World, fate: Fate) -> None:
    store, never = MortalStore.open(url), asyncio.Event()
    store.fate = fate
    bus = MortalBus(store, world)
    host, performer = MortalHost(store, bus, clock=world), MortalPerformer(store, world, lease=LEASE)
    bus.fate = host.fate = performer.fate = fate
    await asyncio.gather(host.serve(never), performer.serve(never))


async def _dispatch(url: str, world: World, fate: Fate) -> None:
    store = MortalStore.open(url)
    store.fate = fate
    serving = MortalDispatcher(store, world, lease=timedelta(seconds=15), jitter=lambda: 0.5)
    serving.fate = fate
    await serving.serve(asyncio.Event())

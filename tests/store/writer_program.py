"""A writer in a process of its own: lanes of numbered events, in transactions that end out of order or not at all.

    python -m tests.store.writer_program URL WRITER COUNT

Each lane is a key. Every seventh transaction is rolled back with events that nobody may ever read.
"""

import random
import sys
from contextlib import ExitStack, suppress
from typing import Final

from sqlmodel import Session

from tocsin.events.model import Event
from tocsin.store.engine import Store
from tocsin.store.log import append

LANES: Final = 4
"""Transactions that are open at the same time on PostgreSQL."""

NEVER: Final = "never"


class Regret(Exception):
    """Rolls a transaction back."""


def event(writer: str, lane: int, number: int, name: str = "written") -> Event:
    return Event(event=name, resource={"tocsin.resource.id": f"{writer}-{lane}"}, payload={"n": number})


def one_by_one(store: Store, writer: str, count: int) -> None:
    """Short transactions, one after the other."""
    for number in range(count):
        if number % 7 == 0:
            with suppress(Regret), store.begin() as session:
                append(session, [event(writer, number % LANES, number, NEVER)])
                raise Regret
        with store.begin() as session:
            append(session, [event(writer, number % LANES, number)])


def interleaved(store: Store, writer: str, count: int) -> None:
    """Rounds of transactions that are open together and end in an order that chance decides."""
    chance = random.Random(writer)
    for first in range(0, count, LANES):
        with ExitStack() as stack:
            connections = [stack.enter_context(store.engine.connect()) for _ in range(LANES + 1)]
            for lane, connection in enumerate(connections):
                made = event(writer, lane, first + lane) if lane < LANES else event(writer, lane, first, NEVER)
                append(Session(connection), [made])
            chance.shuffle(order := list(range(LANES + 1)))
            for lane in order:
                connections[lane].commit() if lane < LANES else connections[lane].rollback()


def write(url: str, writer: str, count: str) -> None:
    """Write `count` events that stay."""
    store = Store.open(url)
    if store.dialect == "sqlite":
        one_by_one(store, writer, int(count))
    else:
        interleaved(store, writer, int(count))
    store.close()


if __name__ == "__main__":
    write(*sys.argv[1:])

"""Deadlines on the stream host: soon after they are due, and not before, whatever our wall clock says."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.automations.parts import define, firings, happened, rule
from tests.automations.stream_parts import until
from tocsin.automations.route import Index
from tocsin.automations.store import Changes
from tocsin.automations.stream_rules import Rules
from tocsin.events.bus import Message
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.store.engine import Store

if TYPE_CHECKING:
    from tocsin.events.kafka import KafkaBus

WAITS = {"posture": "Proactive", "after": ["start"], "expect": ["end"], "within": 1, "for_each": [RESOURCE_ID]}
SOON = timedelta(milliseconds=250)
ROUNDS = 20


class Skewed:
    """The machine's clock, so many seconds ahead."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead = timedelta(seconds=ahead_s)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead


def begun(number: int) -> list[Event]:
    """What every resource's work begins with; every second one has ended, too: at once, however slow we are."""
    now = datetime.now(UTC)
    names = ("start", "end") if number % 2 else ("start",)
    return [msgspec.structs.replace(happened(name, f"r{number}"), occurred=now) for name in names]


@pytest.mark.parametrize("ahead_s", [-5, 0, 5])
async def test_a_deadline_passes_soon_and_never_early(
    tmp_path: Path, kafka_bus: "KafkaBus", monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    from tocsin.automations.stream_host import StreamHost

    wall, wall_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: wall() + ahead_s)
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + ahead_s * 1_000_000_000)
    store, stop, seen = Store.open(f"sqlite:///{tmp_path / 'deadlines.db'}"), asyncio.Event(), dict[str, timedelta]()
    define(store, rule("overdue", trigger=WAITS))
    host = StreamHost(store, kafka_bus, clock=Skewed(ahead_s))
    serving = asyncio.create_task(host.serve(stop))

    def look(count: int) -> bool:
        for one in firings(store):
            seen.setdefault(one.key[0], datetime.now(UTC) - one.at)
        return len(seen) == count

    await until(lambda: host.ready == 8)
    for first in range(0, 20 * ROUNDS, 20):  # another round where the machine was busy with something else
        for number in range(first, first + 20):
            await kafka_bus.publish([Message.of(event) for event in begun(number)])
        await until(lambda: look(first // 2 + 10))  # noqa: B023
        if min(seen.values()) < SOON:
            break
    stop.set()
    await serving
    store.close()
    assert set(seen) == {f"r{number}" for number in range(0, 2 * len(seen), 2)}
    assert timedelta(0) < min(seen.values()) < SOON


def test_the_rulebook_knows_whether_the_clock_matters() -> None:
    rules = Rules()
    silent, counted = rule("silent", trigger=WAITS), rule("counted", trigger={"expect": ["x"]})
    off = rule("silent", trigger=WAITS, enabled=False)
    for put, timed in ((counted, False), (silent, True), (off, False), (silent, True)):
        rules.learn(Changes(rules.revision + 1, [put], []))
        assert rules.timed is timed
    rules.learn(Changes(rules.revision + 1, [], ["silent"]))
    assert not rules.timed
    assert Rules(1, Index([silent])).timed

"""Members that are killed, brokers that are: nothing is lost, and nothing is decided in another way."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.automations.parts import define, firings, happened, invocations, rule
from tests.automations.stream_parts import streaming, until
from tests.kafka.broker import ApacheBroker
from tocsin.events.bus import Message
from tocsin.events.kafka import KafkaBus
from tocsin.events.model import RESOURCE_ID
from tocsin.store.engine import Store

pytestmark = pytest.mark.faults

PROGRAM = str(Path(__file__).with_name("stream_program.py"))
KEYS = 40
TIMES = 30


@pytest.fixture
async def bus(apache_kafka: ApacheBroker, topic_prefix: str) -> AsyncIterator[KafkaBus]:
    opened = KafkaBus(apache_kafka.address, topic_prefix=topic_prefix)
    await opened.prepare()
    yield opened
    await opened.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'stream.db'}")
    define(
        opened, rule("counted", trigger={"expect": ["x"], "threshold": 3, "within": 1000, "for_each": [RESOURCE_ID]})
    )
    yield opened
    opened.close()


async def lay(bus: KafkaBus, first: int, last: int) -> None:
    """For each key the events `first` to `last - 1`."""
    await bus.publish(
        [
            Message.of(happened("x", f"key-{key}", number=1 + key * 1000 + n, at=n))
            for n in range(first, last)
            for key in range(KEYS)
        ]
    )


def all_fired_once(store: Store, times: int) -> bool:
    """Whether each key has fired at its third event, and at each third one after that, up to `times` events."""
    found = Counter((one.key[0], one.event_id.int if one.event_id else 0) for one in firings(store))
    wanted = {(f"key-{key}", 1 + key * 1000 + n) for key in range(KEYS) for n in range(2, times, 3)}
    assert found.keys() <= wanted, "a count began anew somewhere"
    return found.keys() == wanted and set(found.values()) == {1} and len(invocations(store)) == 0


class Members:
    """Processes that each run a member."""

    def __init__(self, url: str, bus: KafkaBus) -> None:
        self._command = [sys.executable, PROGRAM, url, bus.address, bus.prefix]
        self._running: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        """One more, which has not joined yet."""
        self._running.append(subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True))

    async def ready(self) -> None:
        """Until the one that was started last owns something."""
        output = self._running[-1].stdout
        assert output is not None
        assert await asyncio.to_thread(output.readline) == "ready\n"

    def kill(self) -> None:
        """`kill -9` the oldest."""
        process = self._running.pop(0)
        process.kill()
        process.communicate()

    def end(self) -> None:
        """Kill them all."""
        while self._running:
            self.kill()


async def test_members_that_are_killed_at_any_instant_lose_and_repeat_nothing(store: Store, bus: KafkaBus) -> None:
    members = Members(str(store.engine.url), bus)
    try:
        members.start()
        await members.ready()
        members.start()
        await lay(bus, 0, 10)
        await members.ready()
        await lay(bus, 10, 15)
        members.kill()  # in the middle of it
        await lay(bus, 15, 20)
        members.start()
        await until(lambda: all_fired_once(store, 20))
        await lay(bus, 20, TIMES)
        members.kill()
        await until(lambda: all_fired_once(store, TIMES))
    finally:
        members.end()


# A thread of Faust's that is ended while it waits for the broker may say so in an exception of its own.
@pytest.mark.filterwarnings("ignore:Exception in thread:pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_broker_that_goes_and_comes_back_is_waited_for(
    store: Store, bus: KafkaBus, apache_kafka: ApacheBroker
) -> None:
    async with streaming(store, bus):
        await lay(bus, 0, 7)
        await until(lambda: all_fired_once(store, 7))
        await asyncio.to_thread(apache_kafka.restart, "kill")
        await lay(bus, 7, 12)
        await until(lambda: all_fired_once(store, 12))


async def test_members_that_come_and_go_in_order_hand_over(store: Store, bus: KafkaBus) -> None:
    async with streaming(store, bus) as [first]:
        await lay(bus, 0, 5)
        await until(lambda: first.ready == 8)
        async with streaming(store, bus) as [second]:
            await lay(bus, 5, 8)
            await until(lambda: second.ready == 4 and first.ready == 4)
            await lay(bus, 8, 14)
            await until(lambda: all_fired_once(store, 14))
        await lay(bus, 14, 20)
        await until(lambda: first.ready == 8)
        await until(lambda: all_fired_once(store, 20))

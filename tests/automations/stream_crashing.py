"""Members of the stream that are killed, on a Kafka that is restarted, and at the end what the checker says.

The rules are those whose keys lie in one partition each: between partitions Kafka promises no order, so what counts
events of all of them may count them in another one than that of their reception.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.automations.checker import Heard, Report, Span, check, wanted
from tests.automations.crashing import receiving
from tests.automations.load import Load, rules
from tests.automations.parts import firings, invocations
from tests.kafka.broker import ApacheBroker
from tocsin.automations.model import Automation
from tocsin.automations.perform import Performer
from tocsin.automations.store import apply
from tocsin.events import codec
from tocsin.events.bus import Message
from tocsin.events.clock import Micros, micros
from tocsin.events.errors import Unavailable
from tocsin.events.kafka import KafkaBus
from tocsin.events.model import RESOURCE_ID
from tocsin.events.topics import EVENTS
from tocsin.store.engine import Store

PROGRAM = str(Path(__file__).with_name("stream_program.py"))
PAUSE_S = 0.12
CALM_S = 10.0
LIFE_S = (1.0, 5.0)
PATIENCE_S = 300.0


def ordered(url: str) -> list[Automation]:
    """The rules whose firings do not depend on the order between partitions."""
    return [one for one in rules(url) if one.key_labels == (RESOURCE_ID,) or not one.remembers]


class Member:
    """A process that runs a member."""

    def __init__(self, url: str, bus: KafkaBus) -> None:
        command = [sys.executable, PROGRAM, url, bus.address, bus.prefix]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    async def ready(self) -> None:
        """Until it owns a partition."""
        assert self._process.stdout is not None
        if await asyncio.to_thread(self._process.stdout.readline) != "ready\n":
            raise RuntimeError(f"a member ended with {self._process.wait()} before it was ready")

    def kill(self) -> None:
        """`kill -9`, and wait."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def members(url: str, bus: KafkaBus, count: int) -> Iterator[list[Member]]:
    """So many; whoever is in the list at the end is killed."""
    running = [Member(url, bus) for _ in range(count)]
    try:
        yield running
    finally:
        for one in running:
            one.kill()


@asynccontextmanager
async def beside(*work: asyncio.Task[None]) -> AsyncIterator[None]:
    """Tasks that go on meanwhile and are cancelled at the end."""
    try:
        yield
    finally:
        for task in work:
            task.cancel()
        for task in work:
            with suppress(asyncio.CancelledError):
                await task


async def produce(bus: KafkaBus, seed: int) -> None:
    """Publish a seeded load; what the broker may have lost is published again, under the same ids."""
    load, dice = Load(seed), random.Random(seed)
    while True:
        messages = [Message.of(one) for one in load.batch(datetime.now(UTC))]
        while True:
            try:
                await bus.publish(messages)
                break
            except Unavailable:
                await asyncio.sleep(PAUSE_S)
        await asyncio.sleep(dice.expovariate(1 / PAUSE_S))


async def laid(bus: KafkaBus) -> Heard:
    """The events on the bus, by when they were received; those of one partition in its order."""
    heard = []
    async with bus.subscribe("checker", (EVENTS,)) as subscription:
        while records := await subscription.fetch(2_000, timedelta(seconds=3)):
            heard += [(codec.decode(one.body), one.received) for one in records]
            await subscription.commit(records)
    return sorted(heard, key=lambda one: one[1])


async def trouble(url: str, bus: KafkaBus, running: list[Member], seed: int, end: float, broker: ApacheBroker) -> int:
    """Kill a member and start another every few seconds; kill the broker once, in the middle. How many died."""
    dice, deaths, half = random.Random(seed), 0, (time.monotonic() + end) / 2
    restarted = False
    while time.monotonic() < end:
        await asyncio.sleep(dice.uniform(*LIFE_S))
        match dice.randrange(3):
            case 0 if len(running) > 1:  # one leaves for good
                running.pop(dice.randrange(len(running))).kill()
            case 1 if len(running) < 3:  # one more comes
                running.append(Member(url, bus))
                continue
            case _:
                running.pop(dice.randrange(len(running))).kill()
                running.append(Member(url, bus))
        deaths += 1
        if not restarted and time.monotonic() > half:
            restarted = True
            await asyncio.to_thread(broker.restart, "kill")
    return deaths


async def trial(folder: Path, url: str, seed: int, seconds: float, late: Micros) -> tuple[int, Report]:
    """How many members died in so many seconds, and what the checker says."""
    (folder / "kafka").mkdir()
    broker = ApacheBroker(folder / "kafka")
    bus = KafkaBus(broker.address, topic_prefix=f"s{seed}.")
    store = Store.open(url, create=True)
    try:
        await bus.prepare()
        with receiving() as receiver:
            book = ordered(receiver.url)
            with store.begin() as session:
                apply(session, book, datetime.now(UTC))
            never = asyncio.Event()
            async with beside(asyncio.create_task(Performer(store).serve(never))):
                deaths, up, heard, until = await _run(store, url, bus, broker, seed, seconds, book)
            begun = heard[0][1] if heard else 0
            return deaths, check(
                store, book, heard, begun=begun, until=until, up=up, effects=receiver.seen, late=late, tallied=False
            )
    finally:
        await bus.close()
        store.close()
        broker.stop()


async def _run(
    store: Store,
    url: str,
    bus: KafkaBus,
    broker: ApacheBroker,
    seed: int,
    seconds: float,
    book: Sequence[Automation],
) -> tuple[int, list[Span], Heard, Micros]:
    """First a calm time, then trouble; then everything that should be fired is waited for."""
    with members(url, bus, 2) as running:
        for one in running:
            await one.ready()
        end = time.monotonic() + seconds
        producing = [asyncio.create_task(produce(bus, seed * 100 + one)) for one in range(2)]
        async with beside(*producing):
            calm = micros(datetime.now(UTC)) + 2_000_000
            await asyncio.sleep(CALM_S)
            up = [(calm, micros(datetime.now(UTC)))]
            deaths = await trouble(url, bus, running, seed, end, broker)
        heard, until = await laid(bus), micros(datetime.now(UTC))
        await _all_fired(store, {one for one, w in wanted(book, heard, heard[0][1], until).items() if w})
    return deaths, up, heard, until


async def _all_fired(store: Store, ids: set[object]) -> None:
    """Until all of these are on record and all is done, or patience ends: then the checker says what is lost."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        done = ids <= {one.id for one in firings(store)} and not any(one.state == "due" for one in invocations(store))
        if done:
            return
        await asyncio.sleep(1)  # other processes work, and there is nothing to wait on but their rows

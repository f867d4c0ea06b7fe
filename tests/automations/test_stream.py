"""The stream host on Kafka: what the embedded host decides, it decides too, whatever lies on the topics."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.automations.parts import a_run, calling, decided, define, firings, happened, invocations, rule, told
from tests.automations.stream_parts import facts, streaming, until
from tocsin.automations.model import Automation
from tocsin.automations.store import remove
from tocsin.events.bus import Message, Record
from tocsin.events.clock import ManualClock
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.events.topics import DEAD_LETTERS, EVENTS, EXTERNAL, INVOCATIONS, SIGNALS
from tocsin.store.engine import Store
from tocsin.store.log import HEARD

if TYPE_CHECKING:
    from tocsin.events.kafka import KafkaBus

KEYED = {"for_each": [RESOURCE_ID]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'stream.db'}")
    yield opened
    opened.close()


def run(number: int) -> str:
    return f"tocsin.flow-run.00000000-0000-0000-0000-{number:012}"


def rules() -> list[Automation]:
    """One of each kind, under keys whose events keep their order on the way."""
    steps = [{"expect": [name], **KEYED} for name in ("a", "b", "c")]
    return [
        rule("resolved", resolve_on={"expect": ["tocsin.flow-run.Completed"]}),
        calling("called", "a", "c"),
        rule("counted", trigger={"expect": ["a", "b"], "threshold": 3, "within": 20, **KEYED}),
        rule("opened", trigger={"expect": ["b"], "after": ["a"], "within": 10, **KEYED}),
        rule("tumbling", trigger={"expect": ["c"], "threshold": 2, "within": 60, "window": "tumbling", **KEYED}),
        rule("ordered", trigger={"type": "sequence", "triggers": steps, "within": 30}),
        rule("any-two", trigger={"type": "compound", "require": 2, "triggers": steps, "within": 5}),
        rule("conditional", trigger={"expect": ["a"], "where": "payload.n > `50`", **KEYED}),
        rule("off", trigger={"expect": ["a"]}, enabled=False),
    ]


def story(seed: int) -> list[Event]:
    """Events of some resources and runs, most of them in order, some late, some twice."""
    chance = random.Random(seed)
    events = [
        happened(chance.choice("abcd"), f"r{chance.randrange(4)}", number=n + 1, at=n * 0.7, payload={"n": n})
        for n in range(100)
    ]
    for n in range(12):
        events += [a_run(state, run=run(n), number=200 + 2 * n + s, at=n + s) for s, state in enumerate(STATES)]
    late = chance.sample(events, 10)
    return [*(one for one in events if one not in late), *late, *chance.sample(events, 10)]


STATES = ("Failed", "Completed")


async def test_it_decides_what_the_embedded_host_decides(store: Store, kafka_bus: "KafkaBus", tmp_path: Path) -> None:
    events, embedded = story(1), Store.open(f"sqlite:///{tmp_path / 'embedded.db'}")
    for one in (store, embedded):
        define(one, *rules())
    await decided(embedded, ManualClock(datetime.now(UTC)), *events)
    wanted = facts(embedded)
    assert {name for _, name, *_ in wanted[0]} == {one.name for one in rules()} - {"off"}
    await kafka_bus.publish([Message.of(event) for event in events])
    async with streaming(store, kafka_bus):
        await until(lambda: facts(store) == wanted)
    for name in ("tocsin.automation.triggered", "tocsin.automation.resolved"):
        assert Counter(one.id for one in told(store, name)) == Counter(one.id for one in told(embedded, name))
    embedded.close()


async def graves(bus: "KafkaBus", count: int) -> list[str]:
    """The reasons of so many dead letters."""
    found: list[Record] = []
    async with bus.subscribe("graves", [DEAD_LETTERS]) as subscription:
        while len(found) < count:
            found += await subscription.fetch()
    return sorted(msgspec.json.decode(one.body)["reason"].split(":")[0] for one in found)


async def test_poison_on_any_topic_is_buried_and_the_rest_goes_on_once(store: Store, kafka_bus: "KafkaBus") -> None:
    define(store, calling("call", "orders.*"))
    poison = [b"", b"poison", b'{"events": [[{}, 0]]}', b'{"signals": [[9, [], 9, [0]]]}', b"\xff\xfe"]
    for topic in (EVENTS, EXTERNAL, SIGNALS, INVOCATIONS):
        await kafka_bus.publish([Message(topic, f"k{n}", body) for n, body in enumerate(poison)])
    forged = a_run("Failed", run=run(99))
    good = [happened("orders.late", f"o{n}", number=n + 1, payload={"n": n}) for n in range(20)]
    sent = [Message.of(one, EXTERNAL) for one in (forged, *good, *good)]
    await kafka_bus.publish(sent)
    async with streaming(store, kafka_bus) as [host]:
        await until(lambda: len(invocations(store)) == 20 and host.heard == len(poison) + len(sent))
        reasons = Counter(await graves(kafka_bus, 4 * len(poison) + 1 - EMPTY))
    assert reasons["not a pack of signals"] == len(poison)
    assert reasons["not decisions"] == len(poison) - EMPTY
    assert sum(count for reason, count in reasons.items() if reason.startswith("event name 'tocsin.")) == 1
    with store.read() as session:
        kept = session.connection().exec_driver_sql("SELECT topic, count(*) FROM log WHERE event = 'orders.late'")
        assert kept.all() == [(HEARD, 20)]


EMPTY = 1  # of the poison, one is decisions in which nothing is decided


async def test_a_restart_goes_on_where_the_last_one_stopped(store: Store, kafka_bus: "KafkaBus") -> None:
    define(store, rule("counted", trigger={"expect": ["x"], "threshold": 2, "within": 1000}))
    beats = [happened("x", "one", number=n + 1, at=n) for n in range(6)]
    for first, last, fired in ((0, 3, [2]), (3, 6, [2, 4, 6])):
        await kafka_bus.publish([Message.of(one) for one in beats[first:last]])
        async with streaming(store, kafka_bus) as [host]:
            await until(lambda: host.decided == last - first and host.routed == last - first)  # noqa: B023
            await until(lambda: [one.event_id.int for one in firings(store) if one.event_id] == fired)  # noqa: B023


async def test_a_deadline_passes_when_nothing_came(store: Store, kafka_bus: "KafkaBus") -> None:
    waits = {"posture": "Proactive", "after": ["start"], "expect": ["end"], "within": 1, **KEYED}
    silence = {"posture": "Proactive", "expect": ["beat"], "within": 1}
    now = datetime.now(UTC)
    define(store, rule("overdue", trigger=waits), rule("silence", trigger=silence))
    events = [
        msgspec.structs.replace(happened(name, resource), occurred=now)
        for name, resource in (("start", "forgotten"), ("start", "ended"), ("end", "ended"))
    ]
    await kafka_bus.publish([Message.of(one) for one in events])
    async with streaming(store, kafka_bus):
        await until(lambda: {one.automation for one in firings(store)} == {"overdue", "silence"})
    [overdue] = [one for one in firings(store) if one.automation == "overdue"]
    assert (overdue.key, overdue.event_id) == (["forgotten"], None)
    assert overdue.at == now + timedelta(seconds=1)


async def test_a_rule_that_comes_changes_or_goes_is_followed(store: Store, kafka_bus: "KafkaBus") -> None:
    async def fires(name: str, count: int) -> None:
        await kafka_bus.publish([Message.of(happened(name, "one"))])
        await until(lambda: len(firings(store)) == count)

    async with streaming(store, kafka_bus) as [host]:
        await until(lambda: host.ready == 8)
        define(store, calling("call", "x"))
        await until(lambda: "call" in host.rules.book)
        await fires("x", 1)
        define(store, calling("call", "y"))
        await until(lambda: host.rules.book["call"] == calling("call", "y"))
        await fires("y", 2)
        with store.begin() as session:
            remove(session, "call", datetime.now(UTC))
        await until(lambda: "call" not in host.rules.book)
        define(store, calling("other", "x", "y"))
        await until(lambda: "other" in host.rules.book)
        await fires("y", 3)
    assert Counter(one.automation for one in firings(store)) == {"call": 2, "other": 1}

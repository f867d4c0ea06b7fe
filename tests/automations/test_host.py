"""The embedded host: what it writes, and that crashes, repetition and bad records change nothing of it."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from types import TracebackType
from typing import Self

import msgspec
import pytest
from sqlmodel import Session, select

from tests.automations.parts import (
    RUN,
    START,
    a_clock,
    a_run,
    calling,
    causes,
    define,
    firings,
    forget,
    happened,
    invocations,
    log,
    quiet,
    rule,
    told,
)
from tocsin.automations import simulate
from tocsin.automations.host import Batch, Faring, Host, Stale
from tocsin.automations.model import Automation
from tocsin.automations.store import enable
from tocsin.automations.tables import TriggerState
from tocsin.events.bus import Bus, Message, Record, Subscription
from tocsin.events.memory import MemoryBus
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.events.topics import DEAD_LETTERS, EVENTS, EXTERNAL
from tocsin.store.engine import Store
from tocsin.store.logbus import LogBus

NO_WAIT = timedelta(0)


async def handled(host: Host, bus: Bus) -> int:
    """Let the host handle all that the bus has; how many records it was."""
    total = 0
    async with bus.subscribe("automations", (EVENTS, EXTERNAL)) as subscription:
        while found := await host.turn(subscription, NO_WAIT if not isinstance(bus, MemoryBus) else SOON):
            total += found
    return total


SOON = timedelta(milliseconds=20)


async def publish(bus: Bus, *events: Event) -> None:
    await bus.publish([Message.of(event) for event in events])


async def test_a_firing_is_on_record_with_its_invocations_and_its_event(store: Store, bus: Bus) -> None:
    define(store, calling("call", "orders.late"))
    event = happened("orders.late", payload={"n": 3})
    await publish(bus, event, happened("orders.loaded"))
    await handled(Host(store, bus, clock=a_clock()), bus)
    [firing], [invocation] = firings(store), invocations(store)
    assert (firing.automation, firing.state, firing.event_id, firing.at) == ("call", "Triggered", event.id, START)
    assert (invocation.firing_id, invocation.state, invocation.action) == (firing.id, "due", "call-webhook")
    assert invocation.arguments["payload"] == {"n": 3}
    [triggered] = told(store, "tocsin.automation.triggered")
    assert triggered.follows == event.id


async def test_a_resolve_is_on_record_and_the_state_is_closed(store: Store, bus: Bus) -> None:
    define(store, rule("rule", resolve_on={"expect": ["tocsin.flow-run.Completed"]}))
    host = Host(store, bus, clock=a_clock())
    await publish(bus, a_run("Failed"))
    await handled(host, bus)
    with store.read() as session:
        assert session.exec(select(TriggerState)).one().open_firing == firings(store)[0].id
    await publish(bus, a_run("Completed", at=1))
    await handled(host, bus)
    with store.read() as session:
        assert session.exec(select(TriggerState)).one().open_firing is None
    first, second = firings(store)
    assert (first.state, second.state, second.episode) == ("Triggered", "Resolved", first.id)
    assert [event.event for event in told(store)][1:] == ["tocsin.automation.triggered", "tocsin.automation.resolved"]


async def test_poison_is_buried_with_its_reason_and_the_rest_goes_on(store: Store, bus: Bus) -> None:
    define(store, quiet("rule", "x"))
    poison = [b"no json", b'{"event": 3}', b'{"event": "x", "resource": {}}', b"\xff"]
    for number, body in enumerate(poison):
        await publish(bus, happened("x", number=number + 1))
        await bus.publish([Message(EVENTS, "k", body)])
    await handled(Host(store, bus, clock=a_clock()), bus)
    assert causes(store) == [1, 2, 3, 4]
    async with bus.subscribe("graves", [DEAD_LETTERS]) as subscription:
        letters = await subscription.fetch(wait=SOON)
    assert len(letters) == len(poison)
    assert all(b"not an event" in letter.body or b"KeyError" in letter.body for letter in letters)


FAT = [
    pytest.param({"tocsin.chain.depth": "9" * 5_000}, id="a depth beyond all numbers"),
    pytest.param({"tocsin.chain.depth": "9" * 40}, id="a depth beyond 64 bits"),
    pytest.param({RESOURCE_ID: "r" * 600_000}, id="a long resource id"),
    pytest.param({"tocsin.resource.name": "r" * 999_600}, id="a long name"),
    pytest.param({"group": "g" * 600_000}, id="a long key"),
]


@pytest.mark.parametrize("labels", FAT)
async def test_an_event_that_goes_to_the_limits_harms_only_itself(store: Store, labels: dict[str, str]) -> None:
    bus = MemoryBus()
    define(store, quiet("rule", "x", for_each=["group"]))
    honest = happened("x")
    for event in (happened("x", labels=labels), honest):
        await bus.publish([Message(EXTERNAL, "k", msgspec.json.encode(event))])
    await handled(Host(store, bus, clock=a_clock()), bus)
    assert honest.id in [firing.event_id for firing in firings(store)]


async def test_what_others_wrote_to_a_broker_is_checked(store: Store) -> None:
    bus = MemoryBus()
    define(store, quiet("rule", "tocsin.flow-run.Failed", "orders.late"))
    forged, honest = a_run("Failed"), happened("orders.late")
    await bus.publish([Message.of(forged, EXTERNAL), Message.of(honest, EXTERNAL)])
    await handled(Host(store, bus, clock=a_clock()), bus)
    assert [firing.event_id for firing in firings(store)] == [honest.id]


async def test_an_automation_counts_from_the_moment_it_is_applied(store: Store, bus: Bus) -> None:
    host = Host(store, bus, clock=a_clock())
    await publish(bus, happened("x", number=1))
    await handled(host, bus)
    define(store, quiet("rule", "x"))
    await publish(bus, happened("x", number=2))
    await handled(host, bus)
    with store.begin() as session:
        enable(session, "rule", False, START)
    await publish(bus, happened("x", number=3))
    await handled(host, bus)
    assert causes(store) == [2]


async def test_a_change_between_deciding_and_writing_is_seen(store: Store, bus: Bus) -> None:
    class Slow(Host):
        """Somebody applies an automation after this host has decided."""

        changed = False

        def decide(self, session: Session, records: Sequence[Record], until: int | None = None) -> Batch:
            batch = super().decide(session, records, until)
            if not self.changed:
                self.changed = True
                define(store, quiet("rule", "x"))
            return batch

    await publish(bus, happened("x"))
    await handled(Slow(store, bus, clock=a_clock()), bus)
    assert len(firings(store)) == 1


async def test_a_loop_ends_and_says_so(store: Store, bus: Bus) -> None:
    define(store, quiet("echo", "tocsin.automation.triggered", "start"))
    log(store, happened("start"))
    log_bus = LogBus(store, a_clock())
    await handled(Host(store, log_bus, clock=a_clock()), log_bus)
    assert len(firings(store)) == 2
    [refused] = told(store, "tocsin.automation.action.failed")
    assert "loop guard" in refused.payload["reason"]
    assert refused.chain == ("echo", "echo")


# --- crashes ---


class Crash(Exception):
    """The process ends here."""


class Fragile:
    """Counts the places where a process might die, and dies at one of them."""

    def __init__(self, at: int) -> None:
        self._at, self._places = at, count()

    def here(self) -> None:
        if next(self._places) == self._at:
            raise Crash

    @property
    def survived(self) -> bool:
        return next(self._places) <= self._at


class FragileHost(Host):
    """May die before and after it decides, and before and after it writes; the transaction dies with it."""

    fragile: Fragile

    def decide(self, session: Session, records: Sequence[Record], until: int | None = None) -> Batch:
        self.fragile.here()
        batch = super().decide(session, records, until)
        self.fragile.here()
        return batch

    def write(self, session: Session, batch: Batch) -> None:
        self.fragile.here()
        super().write(session, batch)
        self.fragile.here()


class FragileSubscription:
    """May die before and after the position of the bus moves, and around a burial."""

    def __init__(self, inner: Subscription, fragile: Fragile) -> None:
        self._inner, self._fragile = inner, fragile

    async def fetch(self, limit: int = 500, wait: timedelta = NO_WAIT) -> list[Record]:
        return await self._inner.fetch(limit, wait)

    async def commit(self, records: Sequence[Record]) -> None:
        self._fragile.here()
        await self._inner.commit(records)
        self._fragile.here()

    async def bury(self, record: Record, reason: str) -> None:
        self._fragile.here()
        await self._inner.bury(record, reason)
        self._fragile.here()

    async def rewind(self) -> None:
        await self._inner.rewind()

    async def lag(self) -> int:
        return await self._inner.lag()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The inner one is closed by its own context."""


RULES = [
    rule("each", {"type": "do-nothing"}, resolve_on={"expect": ["tocsin.flow-run.Completed"]}),
    rule("counted", {"type": "do-nothing"}, trigger={"expect": ["x"], "threshold": 3, "within": 60}),
    calling("call", "x"),
]


def stream() -> list[Event]:
    other = f"{RUN[:-1]}b"
    mixed = [a_run("Failed", number=1), happened("x", number=2, at=1), a_run("Failed", run=other, number=3, at=2)]
    mixed += [happened("x", number=4, at=3), a_run("Completed", number=5, at=4), happened("x", number=6, at=5)]
    mixed += [happened("x", number=2, at=1), a_run("Failed", number=7, at=6), happened("x", number=8, at=7)]
    return mixed


def expected(automations: list[Automation], events: list[Event]) -> list[tuple[str, str, int]]:
    simulated = simulate(automations, events)
    once = {(one.automation, one.state, one.event_id.int) for one in simulated if one.event_id is not None}
    return sorted(once)


def recorded(store: Store) -> list[tuple[str, str, int]]:
    return sorted((one.automation, one.state, one.event_id.int) for one in firings(store) if one.event_id is not None)


async def until_done(store: Store, bus: Bus, fragile: Fragile) -> None:
    """Start a host; when it dies, start another one, which does not."""
    host = FragileHost(store, bus, clock=a_clock(), batch=4)
    host.fragile = fragile
    while True:
        try:
            async with bus.subscribe("automations", (EVENTS, EXTERNAL)) as subscription:
                watched = FragileSubscription(subscription, fragile)
                while await host.turn(watched, NO_WAIT):
                    pass
                return
        except Crash:
            host = FragileHost(store, bus, clock=a_clock(), batch=4)
            host.fragile = fragile


async def test_a_crash_at_any_point_changes_nothing(store: Store) -> None:
    bus = LogBus(store, a_clock())
    define(store, *RULES)
    events = stream()
    log(store, *events[:5])
    await bus.publish([Message(EVENTS, "k", b"poison")])
    log(store, *events[5:])
    for place in count():
        fragile = Fragile(place)
        await until_done(store, bus, fragile)
        assert recorded(store) == expected(RULES, events), f"after a crash at place {place}"
        assert len(invocations(store)) == len([one for one in firings(store) if one.state == "Triggered"])
        assert len(told(store, "tocsin.automation.triggered")) == len(invocations(store))
        if fragile.survived:
            break
        forget(store)
    assert place > 15


async def test_repeated_delivery_changes_nothing(store: Store, bus: Bus) -> None:
    define(store, *RULES)
    events = stream()
    await publish(bus, *events, *events[::-1], *events)
    await handled(Host(store, bus, clock=a_clock(), batch=5), bus)
    assert recorded(store) == expected(RULES, events)


async def test_a_group_that_lost_its_position_on_the_bus_repeats_nothing(store: Store) -> None:
    define(store, *RULES)
    events = stream()
    for _ in range(2):  # the second bus knows no positions; the database does
        bus = MemoryBus()
        await publish(bus, *events)
        await handled(Host(store, bus, clock=a_clock()), bus)
    assert recorded(store) == expected(RULES, events)


async def test_two_hosts_share_the_work_and_repeat_nothing(store: Store) -> None:
    define(store, *RULES)
    events = stream()
    log(store, *events)
    stop = asyncio.Event()
    hosts = [Host(store, LogBus(store), clock=a_clock(), batch=2) for _ in range(2)]
    serving = [asyncio.create_task(host.serve(stop)) for host in hosts]
    wanted = expected(RULES, events)
    with store.watch("log") as watch:
        async with asyncio.timeout(60):
            while recorded(store) != wanted:
                await watch.wait(timedelta(seconds=1))
    stop.set()
    await asyncio.gather(*serving)
    assert recorded(store) == wanted


async def test_two_hosts_that_read_the_same_state_do_not_both_go_on_from_it(store: Store) -> None:
    """As on a broker with partitions: events of one key may come to two hosts at once."""
    define(store, rule("counted", trigger={"expect": ["x"], "threshold": 2, "within": 60}))
    left, right = MemoryBus(), MemoryBus()
    await publish(left, happened("x", number=1))
    await right.publish([Message("elsewhere", "k", Message.of(happened("x", number=2, at=1)).body)])

    class Interrupted(Host):
        """Another host handles the other event between this one's deciding and writing."""

        async def _handle(
            self, subscription: Subscription, records: Sequence[Record], until: int | None, buried: set[int]
        ) -> bool:
            decided = await store.look(lambda session: self.decide(session, records, until))
            other = Host(store, right, clock=a_clock(), topics=["elsewhere"])
            async with right.subscribe("automations", ["elsewhere"]) as theirs:
                await other.turn(theirs, SOON)
            with pytest.raises(Stale):
                await store.run(lambda session: self.write(session, decided))
            return await super()._handle(subscription, records, until, buried)

    await handled(Interrupted(store, left, clock=a_clock()), left)
    assert causes(store) == [1]


@pytest.mark.parametrize("name", ["x", "tocsin.flow-run.Failed"])
async def test_a_host_that_serves_stops_when_told(store: Store, name: str) -> None:
    define(store, quiet("rule", name))
    stop = asyncio.Event()
    serving = asyncio.create_task(Host(store, LogBus(store)).serve(stop))
    with store.watch("invocations") as watch:
        log(store, happened(name))
        async with asyncio.timeout(60):
            while not firings(store):
                await watch.wait(timedelta(seconds=1))
    stop.set()
    async with asyncio.timeout(60):
        await serving


async def test_a_host_says_how_it_fares(store: Store) -> None:
    define(store, rule("counted", trigger={"expect": ["x"], "threshold": 3, "within": 60}))
    log(store, happened("x"))
    stop, said = asyncio.Event(), asyncio.Queue[Faring]()
    serving = asyncio.create_task(Host(store, LogBus(store), report=said.put_nowait).serve(stop))
    async with asyncio.timeout(60):
        assert await said.get() == Faring(lag=0, events=2, remembered=1)  # the event that tells of the rule is one
    stop.set()
    await serving

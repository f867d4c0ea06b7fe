"""Deadlines: silence is noticed in time, once, whatever was restarted or repeated in between."""

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import select

from tests.automations.parts import START, a_clock, define, firings, happened, invocations, log, rule
from tocsin.automations import simulate
from tocsin.automations.host import Host
from tocsin.automations.model import Automation
from tocsin.automations.store import enable
from tocsin.automations.tables import TriggerState
from tocsin.events.clock import ManualClock, SystemClock, instant
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.logbus import LogBus

HEART = {"posture": "Proactive", "expect": ["beat"], "for_each": [RESOURCE_ID], "within": 30}
STUCK = {**HEART, "after": ["run.started"], "expect": ["run.ended"]}


def silent(name: str = "silent", **trigger: object) -> Automation:
    return rule(name, {"type": "do-nothing"}, trigger={**HEART, **trigger})


class Played:
    """A host on a log, and a clock that the test drives."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store, self.clock = store, clock
        self.bus = LogBus(store, clock)
        self.host = Host(store, self.bus, clock=clock)

    async def happens(self, *events: Event) -> None:
        with self.store.begin() as session:
            append(session, events, now=self.clock.now())
        await self.goes_on()

    async def goes_on(self, seconds: float = 0) -> None:
        """Move the clock and let the host do what it has to."""
        self.clock.advance(timedelta(seconds=seconds))
        async with self.bus.subscribe("automations") as subscription:
            for _ in range(5):
                await self.host.turn(subscription, timedelta(0))

    def restarts(self) -> None:
        self.host = Host(self.store, self.bus, clock=self.clock)

    @property
    def fired(self) -> list[tuple[float, bool]]:
        """When, in seconds from the start, and whether an event was the cause."""
        return [((one.at - START).total_seconds(), one.event_id is not None) for one in firings(self.store)]


async def test_silence_is_noticed_at_its_instant_without_an_event(store: Store) -> None:
    define(store, silent())
    played = Played(store, a_clock())
    await played.happens(happened("beat", at=0))
    await played.goes_on(29.9)
    assert played.fired == []
    await played.goes_on(0.2)
    assert played.fired == [(30.0, False)]
    [invocation] = invocations(store)
    assert invocation.cause["event"] is None
    await played.goes_on(3_600)
    assert played.fired == [(30.0, False)]


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_deadline_survives_a_restart(store: Store, restarts: bool) -> None:
    define(store, silent("stuck", **STUCK))
    played = Played(store, a_clock())
    await played.happens(happened("run.started"))
    if restarts:
        played.restarts()
    await played.goes_on(31)
    assert played.fired == [(30.0, False)]


async def test_a_host_that_was_down_decides_as_one_that_was_up(store: Store) -> None:
    """The events that came while it was down are read before the deadlines among them are decided."""
    define(store, silent("stuck", **STUCK))
    played = Played(store, a_clock())
    await played.happens(happened("run.started", "fine"), happened("run.started", "stuck"))
    played.clock.advance(timedelta(seconds=20))
    with store.begin() as session:
        append(session, [happened("run.ended", "fine", at=20)], now=played.clock.now())
    played.clock.advance(timedelta(hours=5))
    played.restarts()
    await played.goes_on()
    assert [(one.key, (one.at - START).total_seconds()) for one in firings(store)] == [(["stuck"], 30.0)]


async def test_what_waits_from_the_beginning_begins_when_it_is_applied(store: Store) -> None:
    played = Played(store, a_clock())
    define(store, silent(for_each=[]))
    await played.goes_on(31)
    assert played.fired == [(30.0, False)]


async def test_switched_off_it_lets_the_deadline_lapse_and_begins_anew_when_on(store: Store) -> None:
    define(store, silent(for_each=[]))
    played = Played(store, a_clock())
    with store.begin() as session:
        enable(session, "silent", False, START)
    await played.goes_on(100)
    assert played.fired == []
    with store.begin() as session:
        enable(session, "silent", True, played.clock.now())
    await played.goes_on(31)
    assert played.fired == [(130.0, False)]


async def test_switched_off_it_still_resolves_and_fires_nothing_on_the_way(store: Store) -> None:
    define(store, rule("twice", trigger={**HEART, "within": 30}, resolve_on={"expect": ["fixed"]}))
    played = Played(store, a_clock())
    await played.happens(happened("beat"))
    await played.goes_on(31)
    await played.happens(happened("beat", at=31))
    with store.begin() as session:
        enable(session, "twice", False, played.clock.now())
    with store.begin() as session:  # it reads the end before it is told of the time
        append(session, [happened("fixed", at=99)], now=played.clock.advance(timedelta(seconds=68)))
    await played.goes_on(60)
    assert [(one.state, (one.at - START).total_seconds()) for one in firings(store)] == [
        ("Triggered", 30.0),
        ("Resolved", 99.0),
    ]


async def test_what_is_over_is_forgotten_after_a_day(store: Store) -> None:
    define(
        store, rule("short", trigger={"expect": ["bad"], "for_each": [RESOURCE_ID]}, resolve_on={"expect": ["good"]})
    )
    played = Played(store, a_clock())
    bad, good = happened("bad"), happened("good", at=1)
    await played.happens(bad, good)
    await played.goes_on(23 * 3_600)
    with store.read() as session:
        [row] = session.exec(select(TriggerState)).all()
    assert row.open_firing is None
    await played.goes_on(3_601)
    with store.read() as session:
        assert session.exec(select(TriggerState)).all() == []
    assert [one.state for one in firings(store)] == ["Triggered", "Resolved"]


async def test_a_state_that_remembers_nothing_leaves_no_row(store: Store) -> None:
    define(store, rule("counted", trigger={"expect": ["x"], "threshold": 3, "within": 10}))
    played = Played(store, a_clock())
    await played.happens(happened("x"))
    with store.read() as session:
        [row] = session.exec(select(TriggerState)).all()
    assert row.due is not None
    played.clock.set(instant(row.due))
    await played.goes_on(1)
    with store.read() as session:
        assert session.exec(select(TriggerState)).all() == []


async def test_the_host_fires_what_the_simulation_says(store: Store) -> None:
    rules = [silent(), silent("stuck", **STUCK), silent("any", for_each=[])]
    define(store, *rules)
    played = Played(store, a_clock())
    story = [happened(name, resource, at=at) for at, name, resource in STORY]
    for event in story:
        played.clock.set(event.occurred)
        await played.happens(event)
    await played.goes_on(500)
    wanted = simulate(rules, story, until=played.clock.now())
    found = {(one.automation, one.at, tuple(one.key)) for one in firings(store)}
    assert found == {(one.automation, one.at, tuple(one.labels.values())) for one in wanted}
    assert len(wanted) > 5


STORY = [
    (0, "beat", "a"), (1, "run.started", "r1"), (5, "beat", "b"), (20, "beat", "a"), (25, "run.ended", "r1"),
    (30, "run.started", "r2"), (49, "beat", "a"), (100, "beat", "b"), (101, "run.started", "r3"),
    (131, "run.ended", "r3"), (132, "beat", "a"),
]  # fmt: skip


async def test_a_deadline_wakes_a_host_that_waits_for_records(store: Store) -> None:
    """On the machine's own clock; for five minutes nothing else would wake it."""
    define(store, silent(within=0.4))
    bus = LogBus(store)
    host, begun = Host(store, bus), SystemClock().now()
    log(store, Event(event="beat", occurred=begun, resource={RESOURCE_ID: "r"}))
    async with bus.subscribe("automations") as subscription, asyncio.timeout(60):
        while not firings(store):
            await host.turn(subscription, timedelta(minutes=5))
    assert [one.at for one in firings(store)] == [begun + timedelta(seconds=0.4)]


async def test_a_host_that_stood_by_meets_the_deadlines_of_one_that_died(store: Store) -> None:
    define(store, silent("stuck", **STUCK))
    clock = a_clock()
    first, standby = Played(store, clock), Played(store, clock)
    await standby.goes_on()  # it has looked, and found nothing due
    await first.happens(happened("run.started"))  # and the other one dies here
    await standby.goes_on(31)
    assert standby.fired == [(30.0, False)]

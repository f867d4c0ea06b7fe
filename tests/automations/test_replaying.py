"""A stretch of the log once more: what was done is not done again, what is done is marked."""

from datetime import timedelta

import pytest

from tests.automations.parts import (
    START,
    Outbox,
    a_clock,
    calling,
    decided,
    define,
    firings,
    happened,
    invocations,
    log,
    quiet,
    rule,
    told,
)
from tocsin.automations.perform import Performer
from tocsin.automations.replay import Replayed, replay
from tocsin.automations.store import enable
from tocsin.events.errors import NotFound
from tocsin.store.engine import Store
from tocsin.store.log import append

HOUR = timedelta(hours=1)


def replayed(store: Store, name: str, *, act: bool = False) -> list[Replayed]:
    with store.begin() as session:
        return replay(session, name, START - HOUR, START + HOUR, act=act, now=START + HOUR)


def arrived(store: Store, *names: str) -> None:
    """One event a minute."""
    for minute, name in enumerate(names):
        event = happened(name, at=60 * minute, number=minute + 1)
        with store.begin() as session:
            append(session, [event], now=event.occurred)


def test_a_replay_only_tells_unless_it_is_asked_to_act(store: Store) -> None:
    define(store, quiet("late", "x", threshold=2, within=HOUR))
    arrived(store, "x", "y", "x", "x", "x")
    found = replayed(store, "late")
    assert [(one.firing.at - START, one.firing.count, one.known) for one in found] == [
        (timedelta(minutes=2), 2, False), (timedelta(minutes=4), 2, False),
    ]  # fmt: skip
    assert (firings(store), invocations(store), told(store, "tocsin.automation.triggered")) == ([], [], [])


def test_a_replay_that_acts_marks_what_it_does_and_does_it_once(store: Store) -> None:
    define(store, quiet("late", "x"))
    arrived(store, "x", "x")
    for known in (False, True):
        assert [one.known for one in replayed(store, "late", act=True)] == [known] * 2
    assert len(firings(store)) == 2
    assert [(one.action, one.cause["replay"]) for one in invocations(store)] == [("do-nothing", True)] * 2
    assert [one.payload["replay"] for one in told(store, "tocsin.automation.triggered")] == [True] * 2


async def test_what_was_done_live_is_not_done_again(store: Store) -> None:
    clock = a_clock()
    define(store, quiet("late", "x"))
    event = happened("x", number=1)
    await decided(store, clock, event)
    log(store, happened("x", number=2, at=1))
    with store.begin() as session:  # recorded by the machine's clock
        found = replay(session, "late", START - HOUR, START + timedelta(days=36_500), act=True, now=START + HOUR)
    assert [one.known for one in found] == [True, False]
    assert len(firings(store)) == 2


async def test_the_outcome_of_a_replay_is_marked(store: Store) -> None:
    define(store, calling("late", "x"))
    arrived(store, "x")
    replayed(store, "late", act=True)
    outbox = Outbox()
    clock = a_clock()
    clock.advance(2 * HOUR)
    await Performer(store, clock, outbox).settle()
    assert len(outbox.ids) == 1
    assert [one.payload["replay"] for one in told(store, "tocsin.automation.action.executed")] == [True]


def test_one_that_is_switched_off_can_be_replayed(store: Store) -> None:
    define(store, rule("late", trigger={"expect": ["x"]}))
    arrived(store, "x")
    with store.begin() as session:
        enable(session, "late", False, START)
    assert len(replayed(store, "late")) == 1


def test_an_unknown_automation_is_said(store: Store) -> None:
    with pytest.raises(NotFound, match="unknown automation"):
        replayed(store, "late")

"""Notifications are put down with the firing; what cannot be is left to the performer, and in order."""

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from tests.automations.parts import START, a_run, decided, define, outcomes, rule
from tocsin.automations import telling
from tocsin.automations.perform import Performer
from tocsin.automations.tables import StoredInvocation
from tocsin.events.clock import ManualClock
from tocsin.notifiers import Route, Webhook
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.routes import put_route
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.store.engine import Store

DONE = {"expect": ["tocsin.flow-run.Completed"]}
PAGER = {"type": "send-notification", "notifier": "pager"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def put_pager(store: Store, *names: str) -> None:
    with store.begin() as session:
        for name in names or ("pager",):
            put_notifier(session, Webhook.model_validate({"name": name, "url": "https://x.example/", "secret": SECRET}))


def incidents(store: Store) -> list[tuple[str, str, int]]:
    with store.read() as session:
        rows = session.exec(select(Incident).order_by(col(Incident.opened), col(Incident.key)))
        return [(row.state, row.subject, row.firing) for row in rows]


def deliveries(store: Store) -> list[tuple[str, str, str]]:
    with store.read() as session:
        rows = session.exec(select(Delivery).order_by(col(Delivery.receiver), col(Delivery.revision)))
        return [(row.receiver, row.action, row.state) for row in rows]


def ledger(store: Store) -> list[str]:
    with store.read() as session:
        return sorted(row.state for row in session.exec(select(StoredInvocation)))


async def perform(store: Store, clock: ManualClock) -> None:
    await Performer(store, clock).settle()


async def test_who_is_to_be_told_is_put_down_with_the_firing(store: Store, clock: ManualClock) -> None:
    put_pager(store)
    define(store, rule("etl", PAGER, resolve_on=DONE))
    await decided(store, clock, a_run("Failed", number=1))
    assert incidents(store) == [("open", "etl: brave-otter", 1)]
    assert deliveries(store) == [("pager", "trigger", "pending")]
    assert (ledger(store), outcomes(store)) == (["done"], ["executed"])
    await decided(store, clock, a_run("Failed", number=1))
    assert deliveries(store) == [("pager", "trigger", "pending")]


async def test_an_end_in_the_same_batch_leaves_nothing_to_tell(store: Store, clock: ManualClock) -> None:
    put_pager(store)
    define(store, rule("etl", PAGER, resolve_on=DONE))
    await decided(store, clock, a_run("Failed", number=1), a_run("Completed", number=2, at=1))
    assert [state for state, _, _ in incidents(store)] == ["resolved"]
    assert {state for _, _, state in deliveries(store)} == {"superseded"}


async def test_the_end_waits_for_a_beginning_that_could_not_be_put_down(store: Store, clock: ManualClock) -> None:
    define(store, rule("etl", PAGER, resolve_on=DONE))
    await decided(store, clock, a_run("Failed", number=1))
    await decided(store, clock, a_run("Completed", number=2, at=1))
    assert (incidents(store), ledger(store), outcomes(store)) == ([], ["due", "due"], [])
    put_pager(store)
    for _ in range(3):
        clock.advance(timedelta(seconds=1))
        await perform(store, clock)
    assert [state for state, _, _ in incidents(store)] == ["resolved"]
    assert (ledger(store), outcomes(store)) == (["done", "done"], ["executed", "executed"])


async def test_one_that_is_unknown_hinders_no_other(store: Store, clock: ManualClock) -> None:
    put_pager(store)
    nobody = {"type": "send-notification", "notifier": "nobody"}
    define(store, rule("a", PAGER), rule("b", nobody), rule("c", PAGER, nobody))
    await decided(store, clock, a_run("Failed", number=1))
    assert len(incidents(store)) == 2
    assert ledger(store) == ["done", "done", "due", "due"]


async def test_a_route_finds_out_whom_by_the_labels(store: Store, clock: ManualClock) -> None:
    put_pager(store, "pager", "mail")
    with store.begin() as session:
        database: dict[str, Any] = {"name": "db", "match": {"team": "db"}, "receiver": "pager"}
        put_route(
            session,
            Route.model_validate({"name": "oncall", "receiver": "mail", "group_by": ["team"], "routes": [database]}),
            START,
        )
    told = {"type": "send-notification", "route": "oncall"}
    labels = {"team": "{{ event.resource['tocsin.state-name'] == 'Failed' and 'db' or 'web' }}"}
    define(store, rule("etl", told, labels=labels, resolve_on=DONE))
    other = "tocsin.flow-run.00000000-0000-0000-0000-00000000000b"
    await decided(store, clock, a_run("Failed", number=1), a_run("Failed", number=2, run=other))
    assert [(state, firing) for state, _, firing in incidents(store)] == [("waiting", 2)]
    await decided(store, clock, a_run("Completed", number=3, at=1))
    assert [(state, firing) for state, _, firing in incidents(store)] == [("waiting", 1)]


async def test_a_storm_does_not_make_a_transaction_long(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "MOST_STRAIGHT", 2)
    put_pager(store)
    define(store, rule("etl", PAGER, resolve_on=DONE))
    runs = [f"tocsin.flow-run.00000000-0000-0000-0000-0000000000{number:02}" for number in range(4)]
    events = [a_run("Failed", number=number + 1, run=run) for number, run in enumerate(runs)]
    await decided(store, clock, *events, a_run("Completed", number=9, at=1, run=runs[3]))
    assert ledger(store) == ["done", "done", "due", "due", "due"]
    for _ in range(3):
        clock.advance(timedelta(seconds=1))
        await perform(store, clock)
    assert sorted(state for state, _, _ in incidents(store)) == ["open", "open", "open", "resolved"]


@pytest.mark.parametrize("key", ["one thing", "{{ automation.name | length }}"])
async def test_two_automations_may_speak_of_one_thing(store: Store, clock: ManualClock, key: str) -> None:
    put_pager(store)
    define(store, rule("a", PAGER, dedup_key=key, resolve_on=DONE), rule("b", PAGER, dedup_key=key, resolve_on=DONE))
    await decided(store, clock, a_run("Failed", number=1))
    assert len(incidents(store)) == 1

"""What is put on record of a batch: tallies, the newest traces, and a stop for an automation that fires too often."""

from datetime import timedelta

from sqlmodel import col, select

from tests.automations.parts import START, a_clock, decided, define, firings, happened, invocations, on, rule, told
from tocsin.automations.recording import KEPT, KEPT_A_BATCH
from tocsin.automations.store import enable, get
from tocsin.automations.tables import StoredEvaluation, Tally
from tocsin.store.engine import Store

COUNTING = {"expect": ["x"], "threshold": 3, "within": 10}


def tally(store: Store, name: str) -> Tally:
    with store.read() as session:
        return session.exec(select(Tally).where(Tally.automation == name)).one()


async def test_it_is_counted_who_was_concerned_and_who_fired(store: Store) -> None:
    define(store, rule("counted", trigger=COUNTING))
    await decided(store, a_clock(), *(happened("x", at=at) for at in range(7)), happened("y"))
    counted = tally(store, "counted")
    assert (counted.concerned, counted.fired, counted.errors) == (7, 2, 0)
    assert counted.last_fired == START + timedelta(seconds=5)
    assert tally(store, "").concerned >= 8


async def test_it_is_kept_why_nothing_fired(store: Store) -> None:
    define(store, rule("counted", trigger=COUNTING))
    event = happened("x")
    await decided(store, a_clock(), event)
    with store.read() as session:
        [kept] = session.exec(select(StoredEvaluation)).all()
    assert (kept.automation, kept.event_id, kept.outcome) == ("counted", event.id, "counted")
    assert (kept.verdict["count"], kept.verdict["threshold"]) == (1, 3)


async def test_the_newest_reasons_are_kept_and_no_more(store: Store) -> None:
    define(store, rule("counted", trigger={**COUNTING, "threshold": 10_000}))
    batches = KEPT // KEPT_A_BATCH + 3
    for batch in range(batches):
        await decided(store, a_clock(), *(happened("x", number=batch * 20 + n + 1, at=batch) for n in range(20)))
    with store.read() as session:
        kept = session.exec(select(StoredEvaluation).order_by(col(StoredEvaluation.seq))).all()
    assert len(kept) == KEPT
    assert kept[-1].event_id.int == batches * 20


async def test_a_condition_that_fails_is_no_match_and_is_counted(store: Store) -> None:
    define(store, on("plain"), rule("asking", trigger={"expect": ["x"], "where": "length(payload.n) > `1`"}))
    await decided(store, a_clock(), happened("x", payload={"n": 3}), happened("x", payload={"n": "long"}))
    assert len([one for one in firings(store) if one.automation == "asking"]) == 1
    counted = tally(store, "asking")
    assert counted.errors == 1
    assert "length" in (counted.last_error or "")


async def test_an_automation_that_fires_too_often_is_switched_off_and_says_so(store: Store) -> None:
    define(store, rule("wild", {"type": "do-nothing"}, trigger={"expect": ["x"]}, rate_limit=5))
    await decided(store, a_clock(), *(happened("x", number=n + 1, at=n) for n in range(8)))
    rows = invocations(store)
    assert [row.state for row in rows].count("due") == 5
    refused = [row for row in rows if row.state == "failed"]
    assert len(refused) == 3
    assert all("within a minute" in (row.reason or "") for row in refused)
    assert len(told(store, "tocsin.automation.action.failed")) == 3
    [paused] = told(store, "tocsin.automation.paused")
    assert "tocsin automation enable wild" in paused.payload["reason"]
    with store.begin() as session:
        assert not get(session, "wild").automation.enabled
        enable(session, "wild", True, START)
    await decided(store, a_clock(), happened("x", number=99, at=200))
    assert invocations(store)[-1].state == "due"


async def test_firings_a_minute_apart_are_no_storm(store: Store) -> None:
    define(store, rule("calm", {"type": "do-nothing"}, trigger={"expect": ["x"]}, rate_limit=1))
    await decided(store, a_clock(), *(happened("x", number=n + 1, at=n * 61) for n in range(4)))
    assert {row.state for row in invocations(store)} == {"due"}

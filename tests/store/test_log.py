"""The log: what is appended is read once, in order, and nothing that may still come is passed."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from tocsin.events.bus import Message
from tocsin.events.model import Event
from tocsin.events.topics import EXTERNAL
from tocsin.store import leases
from tocsin.store.engine import Store
from tocsin.store.log import UNREAD, Follower, append, hear, number, publish
from tocsin.store.tables import LogEntry


def event(name: str, key: str = "r") -> Event:
    return Event(event=name, resource={"tocsin.resource.id": key})


def names(store: Store, follower: Follower, after: int = 0, limit: int = 100) -> list[str]:
    with store.read() as session:
        return [entry.event for entry in follower.read(session, after, limit)]


def test_events_are_read_in_the_order_of_their_appending(store: Store) -> None:
    with store.begin() as session:
        assert append(session, [event("a"), event("b")]) == 2
    with store.begin() as session:
        append(session, [event("c")])
    assert names(store, Follower()) == ["a", "b", "c"]
    assert names(store, Follower(), limit=2) == ["a", "b"]


def test_an_id_that_the_log_knows_is_left_out(store: Store) -> None:
    first = event("a")
    with store.begin() as session:
        append(session, [first])
    with store.begin() as session:
        assert append(session, [first, event("b")]) == 1
    assert names(store, Follower()) == ["a", "b"]


def test_an_id_that_somebody_outside_has_taken_takes_nothing_from_ours(store: Store) -> None:
    ours = event("tocsin.schedule.tick")
    with store.begin() as session:
        assert append(session, [Event(event="x", resource=ours.resource, id=ours.id)], EXTERNAL) == 1
        assert append(session, [ours]) == 1
    assert names(store, Follower()) == ["x", "tocsin.schedule.tick"]


def test_what_came_by_a_broker_is_kept_once_even_if_it_went_there_through_the_log(store: Store) -> None:
    posted, foreign = event("posted"), event("foreign")
    with store.begin() as session:
        append(session, [posted], EXTERNAL)
    for _ in range(2):
        with store.begin() as session:
            hear(session, [posted, foreign])
    assert names(store, Follower()) == ["posted", "foreign"]


def test_a_transaction_that_fails_leaves_no_event(store: Store) -> None:
    def fail(session: Session) -> float:
        return append(session, [event("a")]) / 0

    with pytest.raises(ZeroDivisionError), store.begin() as session:
        fail(session)
    assert names(store, Follower()) == []


def test_an_entry_keeps_what_the_event_said(store: Store) -> None:
    said = event("a", "orders")
    with store.begin() as session:
        append(session, [said], "tocsin.external")
    with store.read() as session:
        entry = session.exec(select(LogEntry)).one()
    assert (entry.id, entry.topic, entry.key, entry.occurred) == (said.id, "tocsin.external", "orders", said.occurred)


def test_bytes_that_are_no_event_are_kept_for_whoever_buries_them(store: Store) -> None:
    with store.begin() as session:
        publish(session, [Message("tocsin.external", "k", b"\xff\x00 nonsense")])
    with store.read() as session:
        entry = session.exec(select(LogEntry)).one()
    assert (entry.event, entry.body) == (UNREAD, b"\xff\x00 nonsense")


@pytest.mark.postgres
def test_a_number_that_may_still_come_is_waited_for(postgres_store_url: str) -> None:
    store, follower = Store.open(postgres_store_url), Follower()
    with store.engine.connect() as slow, slow.begin():
        append(Session(slow), [event("slow")])
        with store.begin() as session:
            append(session, [event("quick")])
        assert names(store, follower) == []
        assert names(store, follower) == []
    assert names(store, follower) == ["slow", "quick"]
    store.close()


@pytest.mark.postgres
def test_a_number_is_waited_for_whose_transaction_began_to_write_after_the_one_that_overtook_it(
    postgres_store_url: str,
) -> None:
    """PostgreSQL's snapshots know nothing of a transaction that is younger than all that have ended."""
    store, follower = Store.open(postgres_store_url), Follower()
    with store.begin() as session, store.engine.connect() as slow, slow.begin():
        leases.acquire(session, "elsewhere", "me", datetime.now(UTC), timedelta(seconds=1))  # it writes there first
        append(Session(slow), [event("slow")])
        append(session, [event("quick")])
        session.commit()
        assert names(store, follower) == []
        assert names(store, follower) == []
    assert names(store, follower) == ["slow", "quick"]
    store.close()


@pytest.mark.postgres
def test_a_number_that_was_rolled_back_is_passed(postgres_store_url: str) -> None:
    store, follower = Store.open(postgres_store_url), Follower()
    with store.engine.connect() as failing:
        append(Session(failing), [event("never")])
        with store.begin() as session:
            append(session, [event("after")])
        assert names(store, follower) == []
        failing.rollback()
    assert names(store, follower) == ["after"]
    store.close()


@pytest.mark.postgres
def test_a_gap_is_not_passed_while_a_second_one_opens_behind_it(postgres_store_url: str) -> None:
    store, follower = Store.open(postgres_store_url), Follower()
    with store.engine.connect() as first, store.engine.connect() as second:
        append(Session(first), [event("first")])
        with store.begin() as session:
            append(session, [event("between")])
        assert names(store, follower) == []
        append(Session(second), [event("second")])
        with store.begin() as session:
            append(session, [event("last")])
        first.rollback()
        seen = names(store, follower)
        assert seen == ["between"]
        second.commit()
    assert names(store, follower, after=2) == ["second", "last"]
    store.close()


@pytest.mark.postgres
def test_the_start_of_a_log_whose_beginning_was_dropped_is_found(postgres_store_url: str) -> None:
    store = Store.open(postgres_store_url)
    with store.begin() as session:
        append(session, [event("old"), event("new")])
        session.connection().execute(text("DELETE FROM log WHERE event = 'old'"))
    assert names(store, Follower()) == ["new"]
    store.close()


@pytest.mark.postgres
def test_a_number_is_drawn_after_the_transaction_has_its_id(postgres_store_url: str) -> None:
    """The order on which `Follower` rests; a plain BIGSERIAL draws the number first."""
    store = Store.open(postgres_store_url)
    with store.engine.connect() as connection:
        default = connection.scalar(
            text("SELECT column_default FROM information_schema.columns WHERE table_name='log' AND column_name='seq'")
        )
        body = connection.scalar(text("SELECT prosrc FROM pg_proc WHERE proname = 'tocsin_next_seq'"))
    assert default == "tocsin_next_seq()"
    assert str(body).index("pg_current_xact_id") < str(body).index("nextval")
    store.close()


def test_numbers_only_grow_even_when_the_newest_entry_is_deleted(store: Store) -> None:
    with store.begin() as session:
        append(session, [event("a")])
    with store.begin() as session:
        last = session.exec(select(LogEntry)).one()
        before = number(last)
        session.delete(last)
    with store.begin() as session:
        append(session, [Event(event="b", resource={"tocsin.resource.id": "r"}, id=UUID(int=7))])
    with store.read() as session:
        assert number(session.exec(select(LogEntry)).one()) > before

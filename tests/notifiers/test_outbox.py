"""What notify puts down: incidents, deliveries and events in the caller's transaction, and nothing twice."""

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlmodel import col, select

from tocsin.events import codec
from tocsin.events.clock import ManualClock
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.model import Event
from tocsin.notifiers.blocks import PagerDuty, Slack, SlackWebhook
from tocsin.notifiers.outbox import notify
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.notifiers.view import view_from_json
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry


class Tell(Protocol):
    """Calls notify in a transaction of its own."""

    def __call__(
        self, notifier: str, action: Any = "trigger", event: UUID | None = None, **more: Any
    ) -> Incident | None: ...


@pytest.fixture
def tell(store: Store, clock: ManualClock) -> Tell:
    with store.begin() as session:
        put_notifier(session, Slack(name="slack", token=SecretStr("xoxb-0123456789"), channel="C0123456789"))
        put_notifier(session, PagerDuty(name="pagerduty", routing_key=SecretStr("k" * 32)))
        put_notifier(session, SlackWebhook(name="hook", url=SecretStr("https://hooks.example/services/T/B/secret0")))

    def call(notifier: str, action: Any = "trigger", event: UUID | None = None, **more: Any) -> Incident | None:
        fields: dict[str, Any] = {
            "incident_key": "late-etl/daily",
            "subject": "it burns",
            "body": "all of it",
            "severity": "error",
            "labels": {"flow": "daily"},
            "event_id": event or uuid4(),
            "now": clock.now(),
        }
        with store.begin() as session:
            return notify(session, notifier=notifier, action=action, **{**fields, **more})

    return call


def deliveries(store: Store, receiver: str | None = None) -> list[tuple[int, str, str]]:
    with store.read() as session:
        rows = session.exec(select(Delivery).order_by(col(Delivery.receiver), col(Delivery.revision))).all()
    return [(row.revision, row.action, row.state) for row in rows if receiver in (None, row.receiver)]


def mark(store: Store, receiver: str, state: str, **fields: Any) -> None:
    """Say what became of the receiver's newest delivery."""
    with store.begin() as session:
        newest = select(Delivery).where(Delivery.receiver == receiver).order_by(col(Delivery.revision).desc())
        row = session.exec(newest.limit(1)).one()
        row.state = state
        for name, value in fields.items():
            setattr(row, name, value)


def events(store: Store) -> Sequence[Event]:
    with store.read() as session:
        return [codec.decode(entry.body) for entry in session.exec(select(LogEntry).order_by(col(LogEntry.seq)))]


def incidents(store: Store) -> Sequence[Incident]:
    with store.read() as session:
        return session.exec(select(Incident).order_by(col(Incident.opened), col(Incident.episode))).all()


def test_a_firing_told_through_two_notifiers_is_one_incident(store: Store, tell: Tell) -> None:
    event = uuid4()
    first, second = tell("slack", event=event), tell("pagerduty", event=event)
    assert first is not None
    assert second is not None
    assert first.id == second.id
    assert deliveries(store) == [(1, "trigger", "pending")] * 2
    assert [entry.event for entry in events(store)] == ["tocsin.incident.opened"]
    assert events(store)[0].follows == event


def test_the_same_event_again_changes_nothing(store: Store, tell: Tell) -> None:
    event = uuid4()
    for _ in range(3):
        tell("slack", event=event)
    mark(store, "slack", "delivered", maybe_told=True)
    tell("slack", event=event)
    assert deliveries(store) == [(1, "trigger", "delivered")]


def test_two_messages_of_one_firing_to_one_receiver_end_as_the_second(store: Store, tell: Tell) -> None:
    event = uuid4()
    tell("slack", event=event, body="first")
    tell("slack", event=event, body="second")
    assert deliveries(store) == [(1, "trigger", "superseded"), (2, "trigger", "pending")]


def test_slack_is_updated_and_pagerduty_is_not_paged_again(store: Store, tell: Tell) -> None:
    for receiver in ("slack", "pagerduty", "hook"):
        tell(receiver)
        mark(store, receiver, "delivered", maybe_told=True)
    again = uuid4()
    for receiver in ("slack", "pagerduty", "hook"):
        tell(receiver, event=again, subject="it burns more")
    assert [row[1:] for row in deliveries(store, "slack")] == [("trigger", "delivered"), ("update", "pending")]
    assert [row[1:] for row in deliveries(store, "pagerduty")] == [("trigger", "delivered")]
    assert [row[1:] for row in deliveries(store, "hook")] == [("trigger", "delivered")]
    assert len(incidents(store)) == 1


def test_a_resolve_is_owed_to_everybody_who_was_told(store: Store, tell: Tell) -> None:
    event, over = uuid4(), uuid4()
    for receiver in ("slack", "pagerduty", "hook"):
        tell(receiver, event=event)
        if receiver != "hook":
            mark(store, receiver, "delivered", maybe_told=True)
    tell("slack", "resolve", over)
    tell("pagerduty", "resolve", over, subject="the pager's own words")
    assert deliveries(store, "slack")[-1] == (2, "resolve", "pending")
    assert deliveries(store, "pagerduty")[-1] == (2, "resolve", "pending")
    assert deliveries(store, "hook") == [(1, "trigger", "superseded"), (2, "resolve", "superseded")]
    with store.read() as session:
        row = session.exec(select(Delivery).where(Delivery.receiver == "pagerduty", Delivery.action == "resolve")).one()
        assert view_from_json(row.view).subject == "the pager's own words"
    resolved = events(store)[-1]
    assert resolved.event == "tocsin.incident.resolved"
    assert (resolved.payload["told"], resolved.payload["over_before_told"]) == (["pagerduty", "slack"], ["hook"])


def test_over_before_told_is_recorded(store: Store, tell: Tell) -> None:
    tell("pagerduty")
    tell("pagerduty", "resolve")
    with store.read() as session:
        rows = session.exec(select(Delivery)).all()
    assert {(row.state, row.reason) for row in rows} == {("superseded", "over before told")}


def test_a_resolve_with_nothing_open_sends_nothing(store: Store, tell: Tell, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert tell("slack", "resolve") is None
    assert "nothing is open under late-etl/daily" in caplog.text
    assert deliveries(store) == []


def test_a_second_resolve_changes_nothing(store: Store, tell: Tell) -> None:
    tell("slack")
    mark(store, "slack", "delivered", maybe_told=True)
    tell("slack", "resolve")
    tell("slack", "resolve")
    assert deliveries(store) == [(1, "trigger", "delivered"), (2, "resolve", "pending")]
    assert len(events(store)) == 2


def test_a_trigger_after_the_end_opens_a_new_episode(store: Store, tell: Tell) -> None:
    tell("pagerduty")
    tell("pagerduty", "resolve")
    tell("pagerduty")
    first, second = incidents(store)
    assert (first.episode, first.state, second.episode, second.state) == (1, "resolved", 2, "open")
    assert first.dedup_key != second.dedup_key
    assert all(len(incident.dedup_key) == len("tocsin/") + 32 for incident in (first, second))


def test_a_trigger_that_comes_after_its_own_resolve_pages_nobody(store: Store, tell: Tell) -> None:
    event = uuid4()
    tell("slack", event=event)
    tell("slack", "resolve")
    tell("pagerduty", event=event)
    assert deliveries(store, "pagerduty") == [(2, "trigger", "superseded")]
    assert len(incidents(store)) == 1


def test_news_that_does_not_last_is_an_episode_each_and_owes_nothing(store: Store, tell: Tell) -> None:
    for _ in range(2):
        event = uuid4()
        tell("slack", event=event, lasting=False)
        tell("pagerduty", event=event, lasting=False)
    assert [(incident.episode, incident.state) for incident in incidents(store)] == [(1, "told"), (2, "told")]
    assert deliveries(store) == [(1, "trigger", "pending")] * 4
    assert len({incident.dedup_key for incident in incidents(store)}) == 1
    assert tell("slack", "resolve") is None


def test_an_unknown_notifier_names_the_known_ones(tell: Tell) -> None:
    with pytest.raises(NotFound, match='unknown notifier "slak"; known: hook, pagerduty, slack'):
        tell("slak")


def test_an_unknown_severity_names_the_known_ones(tell: Tell) -> None:
    with pytest.raises(Invalid, match='unknown severity "bad"; known: critical, error, warning, info'):
        tell("slack", severity="bad")


def test_an_error_in_the_transaction_takes_everything_back(store: Store, tell: Tell) -> None:
    with pytest.raises(NotFound):
        tell("nobody")
    assert (deliveries(store), incidents(store), events(store)) == ([], [], [])


def test_texts_are_cleaned_and_bounded(store: Store, tell: Tell) -> None:
    tell(
        "slack",
        subject="nul \x00 and half a pair \ud800",
        body="b" * 300_000,
        labels={f"l{n}": "v" for n in range(900)},
    )
    with store.read() as session:
        view = view_from_json(session.exec(select(Delivery)).one().view)
    assert view.subject == "nul  and half a pair \ufffd"
    assert len(view.body) == 100_000
    assert len(view.labels) == 500


def test_a_known_secret_in_a_text_is_masked(store: Store, tell: Tell) -> None:
    tell("slack", body="failed: https://hooks.example/services/T/B/secret0 said no")
    with store.read() as session:
        assert "secret0" not in str(session.exec(select(Delivery)).one().view)

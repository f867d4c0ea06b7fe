"""Routes, windows, inhibitions and silences on record, and the world that is read of them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import derive
from tocsin.notifiers import inhibitions, routes, silences
from tocsin.notifiers.blocks import PagerDuty, SlackWebhook
from tocsin.notifiers.inhibition import Inhibition
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.node import Node
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.route import Route, nodes
from tocsin.notifiers.routing_tables import HoldRow
from tocsin.notifiers.suppression import suppressed
from tocsin.notifiers.tables import AlertRow, Incident
from tocsin.notifiers.windows import MuteWindow
from tocsin.notifiers.worlds import load_world
from tocsin.store.engine import Store
from tocsin.store.tables import LogEntry

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ONCALL = Route(name="oncall", receivers=("slack",), routes=(Route(match={"team": "db"}, receivers=("pager",)),))
NIGHTS = MuteWindow(name="nights", times=("00:00-06:00",))
BEFORE = NOW - timedelta(minutes=5)
COMMON: dict[str, Any] = {"severity": "error", "event_id": UUID(int=1)}
RULE = Inhibition(name="node", source=("alertname=NodeDown",), target=("severity=warning",), equal=("node",))


@pytest.fixture
def store(store: Store) -> Store:
    with store.begin() as session:
        put_notifier(session, SlackWebhook(name="slack", url=SecretStr("http://127.0.0.1:1/x")), NOW)
        put_notifier(session, PagerDuty(name="pager", routing_key=SecretStr("k" * 32)), NOW)
    return store


def paths(session: Session, labels: dict[str, str]) -> list[str]:
    return [node.path for node in nodes(routes.get_tree(session, "oncall"), labels)]


def silence(session: Session, text: str, starts: datetime = NOW, ends: datetime = NOW + HOUR) -> UUID:
    return silences.add_silence(
        session, read_matchers(text), starts=starts, ends=ends, author="ana", comment="deploy", now=NOW
    ).id


def fire(session: Session, identity: str, labels: dict[str, str], suppressed: str | None = None) -> UUID:
    """An incident of one alert that fires."""
    incident = uuid4()
    known: dict[str, Any] = {"key_id": uuid4(), "key": identity, "dedup_key": "x", "episode": 1, "revision": 1}
    known |= {"state": "open", "subject": identity, "due": NOW + HOUR, "suppressed": suppressed}
    session.add(Incident(id=incident, **known, **COMMON, opened=NOW, updated=NOW, labels=labels))
    session.flush()
    about: dict[str, Any] = {"incident_id": incident, "fingerprint": derive("alert", identity), "identity": identity}
    words: dict[str, Any] = {"subject": identity, "body": "", "items": [], "total": 0, "words": {}, "source": "s"}
    session.add(AlertRow(**about, **words, **COMMON, status="firing", labels=labels, starts=BEFORE, fired=BEFORE))
    session.flush()
    return incident


def test_a_route_is_put_shown_changed_and_removed(store: Store) -> None:
    with store.begin() as session:
        assert routes.put_route(session, ONCALL, NOW) == "created"
        assert paths(session, {"team": "db"}) == ["oncall/team-db"]
        assert routes.put_route(session, ONCALL, NOW + HOUR) == "unchanged"
        assert routes.get_route(session, "oncall") == ONCALL
        plain = Route(name="oncall", receivers=("slack",))
        assert routes.put_route(session, plain, NOW + HOUR) == "updated"
        assert paths(session, {"team": "db"}) == ["oncall"]
        assert [listed.updated for listed in routes.list_routes(session)] == [NOW + HOUR]
        routes.remove_route(session, "oncall")
        with pytest.raises(NotFound, match='unknown route "oncall"; known: none'):
            routes.get_tree(session, "oncall")


def test_what_a_route_names_must_be_known(store: Store) -> None:
    with store.begin() as session:
        with pytest.raises(Invalid, match='unknown notifier "pagr"; did you mean pager\\?; known: pager, slack'):
            routes.put_route(session, Route(name="x", receivers=("pagr",)), NOW)
        with pytest.raises(Invalid, match='unknown mute window "nights"; known: none'):
            routes.put_route(session, Route(name="x", receivers=("slack",), mute=("nights",)), NOW)
        routes.put_route(session, ONCALL, NOW)
        with pytest.raises(NotFound, match='unknown route "oncal"; did you mean oncall\\?; known: oncall'):
            routes.get_route(session, "oncal")


def test_a_route_goes_by_the_window_as_it_is_now(store: Store) -> None:
    with store.begin() as session:
        routes.put_window(session, NIGHTS, NOW)
        routes.put_route(session, Route(name="oncall", receivers=("slack",), mute=("nights",)), NOW)
        assert routes.get_tree(session, "oncall").node.mute == (NIGHTS.window(),)
        longer = MuteWindow(name="nights", times=("00:00-08:00",))
        assert routes.put_window(session, longer, NOW) == "updated"
        assert routes.get_tree(session, "oncall").node.mute == (longer.window(),)
        with pytest.raises(Invalid, match='route "oncall" goes by it'):
            routes.remove_window(session, "nights")
        routes.remove_route(session, "oncall")
        routes.remove_window(session, "nights")
        with pytest.raises(NotFound, match="known: none"):
            routes.remove_window(session, "nights")


def test_what_is_rolled_back_was_never_read(store: Store) -> None:
    def put_and_fail() -> None:
        with store.begin() as session:
            routes.put_route(session, ONCALL, NOW)
            routes.get_tree(session, "oncall")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put_and_fail()
    with store.begin() as session:
        routes.put_route(session, Route(name="oncall", receivers=("pager",)), NOW)
        assert routes.get_tree(session, "oncall").node.receivers == ("pager",)
        assert routes.get_tree(session, "oncall").below == ()


def test_another_process_hears_of_a_change(store: Store, store_url: str) -> None:
    with store.begin() as session:
        routes.put_route(session, ONCALL, NOW)
        first = routes.get_tree(session, "oncall")
    other = Store.open(store_url)
    try:
        with other.begin() as session:
            routes.put_route(session, Route(name="oncall", receivers=("pager",)), NOW)
        with store.read() as session:
            assert routes.get_tree(session, "oncall") != first
    finally:
        other.close()


# --- silences ---


def test_a_silence_keeps_quiet_until_it_is_over(store: Store) -> None:
    with store.begin() as session:
        assert load_world(session, NOW).empty
        silence(session, "team=db")
        world = load_world(session, NOW)
        assert suppressed({"team": "db"}, world, NOW)
        assert not suppressed({"team": "web"}, world, NOW)
        assert not suppressed({"team": "db"}, load_world(session, NOW + HOUR), NOW + HOUR)


def test_the_end_of_a_silence_wakes_what_it_kept_quiet(store: Store) -> None:
    with store.begin() as session:
        quiet = fire(session, "a", {"team": "db"}, suppressed="silence")
        loud = fire(session, "b", {"team": "web"})
        known = silence(session, "team=db")
        ended = silences.expire_silence(session, known, by="bo", now=NOW + HOUR / 2)
        assert ended.ends == NOW + HOUR / 2
        assert load_world(session, NOW + HOUR / 2).empty
        session.expire_all()
        dues = dict(session.exec(select(Incident.id, Incident.due)).all())
        assert dues == {quiet: NOW + HOUR / 2, loud: NOW + HOUR}
        again = silences.expire_silence(session, known, by="bo", now=NOW + HOUR)
        assert again.ends == NOW + HOUR / 2
        events = [entry.event for entry in session.exec(select(LogEntry).order_by(col(LogEntry.seq)))]
        assert events == ["tocsin.silence.added", "tocsin.silence.expired"]


def test_a_silence_that_has_not_begun_can_be_ended(store: Store) -> None:
    with store.begin() as session:
        known = silence(session, "team=db", NOW + HOUR, NOW + 2 * HOUR)
        silences.expire_silence(session, known, by="", now=NOW)
        assert [silences.state_of(row, NOW) for row in silences.list_silences(session, NOW)] == ["expired"]
        with pytest.raises(NotFound, match="silence ls"):
            silences.expire_silence(session, uuid4(), by="", now=NOW)


@pytest.mark.parametrize(
    ("text", "starts", "ends", "why"),
    [
        ("team=db", NOW - 2 * HOUR, NOW - HOUR, "over already"),
        ("team=db", NOW, NOW, "end it later"),
        ("team=db", NOW, NOW + 9000 * HOUR, "at most 366 days"),
        ("team!=db", NOW, NOW + HOUR, "without such labels"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(
    store: Store, text: str, starts: datetime, ends: datetime, why: str
) -> None:
    with store.begin() as session, pytest.raises(Invalid, match=why):
        silence(session, text, starts, ends)


def test_silences_are_listed_by_state(store: Store) -> None:
    with store.begin() as session:
        now, later = silence(session, "a=b"), silence(session, "a=b", NOW + HOUR, NOW + 2 * HOUR)
        at = NOW + HOUR / 2
        assert [row.id for row in silences.list_silences(session, at)] == [later, now]
        assert [row.id for row in silences.list_silences(session, at, "active")] == [now]
        assert [row.id for row in silences.list_silences(session, at, "pending")] == [later]
        assert silences.list_silences(session, at, "expired") == []
        assert [row.id for row in silences.list_silences(session, NOW + HOUR, "expired")] == [now]


def test_the_same_silence_again_is_the_one_on_record(store: Store) -> None:
    with store.begin() as session:
        made = [
            silences.add_silence(
                session,
                read_matchers(text),
                starts=NOW,
                ends=NOW + HOUR,
                author="",
                comment="",
                now=NOW,
                id=UUID(int=7),
            )
            for text in ("a=b", "c=d")
        ]
        assert made[0] == made[1]


def test_a_preview_counts_what_would_be_quiet_and_changes_nothing(store: Store) -> None:
    with store.begin() as session:
        fire(session, "a", {"team": "db"})
        fire(session, "b", {"team": "db"})
        fire(session, "c", {"team": "web"})
        over = fire(session, "d", {"team": "db"})
        row = session.exec(select(AlertRow).where(AlertRow.incident_id == over)).one()
        row.status = "resolved"
        session.add(row)
        session.flush()
        found = silences.preview(session, read_matchers("team=db"), NOW)
        assert (found.firing, found.incidents, found.past, found.complete) == (2, 2, 3, True)
        assert set(found.examples) == {"a", "b", "d"}
        assert load_world(session, NOW).empty


# --- inhibitions ---


def test_an_inhibition_holds_while_its_source_fires(store: Store) -> None:
    target = {"alertname": "x", "severity": "warning", "node": "1"}
    labels = {"alertname": "NodeDown", "node": "1"}
    with store.begin() as session:
        early = fire(session, "early", labels)
        assert inhibitions.put_inhibition(session, RULE, NOW) == "created"
        assert inhibitions.put_inhibition(session, RULE, NOW) == "unchanged"
        assert suppressed(target, load_world(session, NOW), NOW), "what fired before counts"
        assert not suppressed({**target, "node": "2"}, load_world(session, NOW), NOW)
        late = fire(session, "late", {**labels, "node": "2"})
        source = inhibitions.Source(late, derive("alert", "late"), {**labels, "node": "2"})
        for _ in range(2):
            inhibitions.note_sources(session, load_world(session, NOW).rules, [source])
        assert suppressed({**target, "node": "2"}, load_world(session, NOW), NOW)
        for row in session.exec(select(AlertRow).where(AlertRow.incident_id == early)):
            row.status = "resolved"
        session.flush()
        assert not suppressed(target, load_world(session, NOW), NOW)
        assert [hold.key for hold in inhibitions.held(session)] == ['["2"]']


def test_what_was_held_in_an_earlier_episode_is_dropped(store: Store) -> None:
    with store.begin() as session:
        inhibitions.put_inhibition(session, RULE, NOW)
        labels = {"alertname": "NodeDown", "node": "1"}
        for _ in range(3):
            incident = fire(session, "node", labels)
            source = inhibitions.Source(incident, derive("alert", "node"), labels)
            inhibitions.note_sources(session, load_world(session, NOW).rules, [source])
            for row in session.exec(select(AlertRow)):
                row.status = "resolved"
            session.flush()
        assert len(session.exec(select(HoldRow)).all()) == 1
        assert inhibitions.held(session) == frozenset()


def test_a_removed_inhibition_lets_go(store: Store) -> None:
    with store.begin() as session:
        quiet = fire(session, "quiet", {"severity": "warning", "node": "1"}, suppressed="inhibition")
        fire(session, "node", {"alertname": "NodeDown", "node": "1"})
        inhibitions.put_inhibition(session, RULE, NOW)
        inhibitions.remove_inhibition(session, "node", NOW)
        assert load_world(session, NOW).empty
        session.expire_all()
        assert session.get_one(Incident, quiet).due == NOW
        with pytest.raises(NotFound, match="known: none"):
            inhibitions.remove_inhibition(session, "node", NOW)


def test_nodes_are_made_once_for_each_state_of_the_tables(store: Store) -> None:
    with store.begin() as session:
        routes.put_route(session, ONCALL, NOW)
        assert routes.get_tree(session, "oncall") is routes.get_tree(session, "oncall")
        assert isinstance(routes.get_tree(session, "oncall").node, Node)

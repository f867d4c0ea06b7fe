"""What is kept quiet is told when that is over: silences, inhibitions and mute windows on incidents."""

from datetime import timedelta

import pytest

from tests.notifiers.office import Office
from tocsin.events.clock import ManualClock
from tocsin.notifiers import inhibitions, routes, silences
from tocsin.notifiers.act import Resolve
from tocsin.notifiers.inhibition import Inhibition
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.route import Route
from tocsin.notifiers.silence import Silence
from tocsin.notifiers.windows import MuteWindow
from tocsin.store.engine import Store

# The clock stands at Monday, 2026-03-02 09:00 UTC.
LUNCH = MuteWindow(name="lunch", times=("08:30-09:30",))
ONCALL = Route(
    name="oncall",
    receivers=("slack",),
    group_by=("alertname",),
    group_wait=timedelta(seconds=10),
    group_interval=timedelta(seconds=60),
    repeat_interval="never",
    resolve_wait=timedelta(0),
    routes=(Route(name="meals", match={"team": "kitchen"}, mute=(LUNCH,)),),
)
RULE = Inhibition(name="node", source=("alertname=NodeDown",), target=("severity=warning",), equal=("node",))


@pytest.fixture
def office(store: Store, clock: ManualClock) -> Office:
    office = Office(store, clock)
    office.furnish(ONCALL)
    return office


def silence(office: Office, text: str, minutes: float) -> Silence:
    with office.store.begin() as session:
        now = office.clock.now()
        ends = now + timedelta(minutes=minutes)
        return silences.add_silence(
            session, read_matchers(text), starts=now, ends=ends, author="ann", comment="", now=now
        )


def test_an_alert_that_is_silenced_is_told_when_the_silence_is_over(office: Office) -> None:
    silence(office, "team=db", 30)
    office.fire("etl")
    office.pass_time(29 * 60)
    assert office.said("slack") == []
    office.pass_time(120)
    assert office.said("slack") == ["trigger"]


def test_a_silence_that_is_ended_early_lets_go_at_once(office: Office) -> None:
    known = silence(office, "team=db", 30)
    office.fire("etl")
    office.pass_time(60)
    with office.store.begin() as session:
        silences.expire_silence(session, known.id, by="bo", now=office.clock.now())
    office.turn()
    assert office.said("slack") == ["trigger"]


def test_what_is_over_before_its_silence_is_never_told(office: Office) -> None:
    silence(office, "team=db", 30)
    office.fire("etl")
    office.pass_time(60)
    office.over("etl")
    office.pass_time(3600)
    assert office.said("slack") == []
    assert [row.firing for row in office.incidents()] == [0]


def test_who_was_told_is_told_the_end_in_spite_of_a_silence(office: Office) -> None:
    office.fire("etl")
    office.pass_time(10)
    office.tell()
    silence(office, "team=db", 30)
    office.over("etl")
    office.turn()
    assert office.said("slack") == ["trigger", "resolve"]


def test_a_muted_route_speaks_when_its_window_is_over(office: Office) -> None:
    office.fire("soup", labels={"team": "kitchen"})
    office.pass_time(29 * 60)
    assert office.said("slack") == []
    assert [row.route for row in office.incidents()] == ["oncall/meals"]
    office.pass_time(120)
    assert office.said("slack") == ["trigger"]


def test_what_follows_from_another_thing_is_told_when_that_is_over(office: Office) -> None:
    with office.store.begin() as session:
        inhibitions.put_inhibition(session, RULE, office.clock.now())
    office.fire("NodeDown", labels={"node": "1"})
    office.fire("SlowDisk", labels={"node": "1", "severity": "warning"})
    office.fire("SlowDisk2", labels={"node": "2", "severity": "warning"})
    office.pass_time(300)
    assert sorted(view.subject for view in office.views("slack")) == ["NodeDown is down", "SlowDisk2 is down"]
    office.over("NodeDown", labels={"node": "1"})
    office.turn()
    subjects = [view.subject for view in office.views("slack") if view.action == "trigger"]
    assert sorted(subjects) == ["NodeDown is down", "SlowDisk is down", "SlowDisk2 is down"]


def test_the_end_of_what_inhibits_lets_go_at_once(office: Office) -> None:
    with office.store.begin() as session:
        inhibitions.put_inhibition(session, RULE, office.clock.now())
    [[first], [second]] = office.fire("NodeDown", "NodeDown2", labels={"alertname": "NodeDown", "node": "1"})
    office.fire("SlowDisk", labels={"node": "1", "severity": "warning"})
    office.pass_time(20)
    office.over("NodeDown", "NodeDown2", labels={"alertname": "NodeDown", "node": "1"})
    office.turn()
    assert [view.subject for view in office.views("slack") if "SlowDisk" in view.subject] == ["SlowDisk is down"]
    assert first.id == second.id


def test_what_a_person_closes_inhibits_nothing_any_more(office: Office) -> None:
    with office.store.begin() as session:
        inhibitions.put_inhibition(session, RULE, office.clock.now())
    [[source]] = office.fire("NodeDown", labels={"node": "1"})
    office.fire("SlowDisk", labels={"node": "1", "severity": "warning"})
    office.pass_time(20)
    office.act(source.id, Resolve(by="ann"))
    office.turn()
    assert [view.subject for view in office.views("slack") if "SlowDisk" in view.subject] == ["SlowDisk is down"]


@pytest.mark.parametrize("early", [False, True])
def test_one_of_a_group_that_was_silenced_is_news_when_that_is_over(office: Office, early: bool) -> None:
    """The others of its group were told of without it, and again while it was silenced."""
    office.fire("one", labels={"alertname": "etl"})
    office.pass_time(10)
    office.tell()
    known = silence(office, "host=2", 30)
    office.fire("two", labels={"alertname": "etl", "host": "2"})
    office.pass_time(60)
    office.tell()
    assert [(view.action, view.total, view.muted) for view in office.views("slack")][1:] == [("update", 1, 1)]
    if early:
        with office.store.begin() as session:
            silences.expire_silence(session, known.id, by="bo", now=office.clock.now())
        office.turn()
        office.pass_time(60)
    else:
        office.pass_time(30 * 60)
    assert [(view.action, view.total, view.muted) for view in office.views("slack")][2:] == [("update", 2, 0)]
    office.tell()
    office.pass_time(3 * 3600)
    assert office.said("slack") == ["trigger", "update", "update"]


def test_what_stays_inhibited_in_a_group_is_no_news(office: Office) -> None:
    with office.store.begin() as session:
        inhibitions.put_inhibition(session, RULE, office.clock.now())
    office.fire("NodeDown", labels={"node": "1"})
    office.fire("one", labels={"alertname": "etl"})
    office.fire("two", labels={"alertname": "etl", "node": "1", "severity": "warning"})
    office.pass_time(3600)
    assert office.said("slack") == ["trigger", "trigger"]
    office.tell()
    office.over("NodeDown", labels={"node": "1"})
    office.turn()
    office.pass_time(60)
    assert [(view.action, view.total) for view in office.views("slack") if view.action == "update"] == [("update", 2)]


def test_in_one_batch_what_comes_first_keeps_quiet_what_comes_after(office: Office) -> None:
    with office.store.begin() as session:
        inhibitions.put_inhibition(session, RULE, office.clock.now())
    source = office.alert("NodeDown", to="@slack", labels={"node": "1"})
    target = office.alert("SlowDisk", to="@slack", labels={"node": "1", "severity": "warning"})
    office.take(source, target)
    assert [view.subject for view in office.views("slack")] == ["NodeDown is down"]


def test_a_window_that_is_changed_is_gone_by_when_the_next_alert_comes(office: Office) -> None:
    with office.store.begin() as session:
        routes.put_window(session, LUNCH.model_copy(update={"times": ("09:00-09:10",)}), office.clock.now())
        routes.put_route(session, ONCALL.model_copy(update={"mute": ("lunch",), "routes": ()}), office.clock.now())
    office.fire("etl")
    office.pass_time(300)
    assert office.said("slack") == []
    office.pass_time(360)
    assert office.said("slack") == ["trigger"]

"""Alerts in batches: groups, counters, episodes and what is put down for whom, on real databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import select

from tests.notifiers.office import Office
from tocsin.events.clock import ManualClock
from tocsin.events.errors import Invalid, NotFound
from tocsin.notifiers.act import Acknowledge, Act, Resolve, Unacknowledge
from tocsin.notifiers.alert import Alert
from tocsin.notifiers.audit import violations
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.registry import remove_notifier
from tocsin.notifiers.route import Escalate, Route
from tocsin.notifiers.routes import put_route, remove_route
from tocsin.notifiers.silences import add_silence
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.notifiers.take import take
from tocsin.notifiers.turns import take_turns
from tocsin.store.engine import AWAY, Store

S = timedelta(seconds=1)
ONCALL = Route(
    name="oncall",
    receivers=("slack", "pager"),
    group_by=("team",),
    group_wait=30 * S,
    group_interval=300 * S,
    repeat_interval=3600 * S,
    resolve_wait=60 * S,
    escalation=(Escalate(after=600 * S, receivers=("hook",)),),
    routes=(Route(name="now", match={"severity": "critical"}, group_wait=0 * S, resolve_wait=0 * S),),
)


@pytest.fixture
def office(store: Store, clock: ManualClock) -> Office:
    office = Office(store, clock)
    office.furnish(ONCALL)
    return office


def test_a_group_is_told_once_after_its_wait(office: Office) -> None:
    office.fire("db1", "db2")
    office.fire("web1", labels={"team": "web"})
    assert office.states() == ["oncall{team=db} waiting 2", "oncall{team=web} waiting 1"]
    assert office.said("slack") == []
    office.pass_time(10)
    office.fire("db3")
    office.pass_time(20)
    assert office.said("slack") == office.said("pager") == ["trigger", "trigger"]
    many, one = office.views("slack")
    assert (many.subject, many.total, many.items) == (
        "3 alerts: team=db",
        3,
        ("db3 is down", many.items[1], many.items[2]),
    )
    assert (many.route, many.labels["team"], many.body) == ("oncall", "db", "3 error")
    assert (one.subject, one.items) == ("web1 is down", ())


def test_news_is_gathered_and_everybody_told_hears_the_end(office: Office) -> None:
    office.fire("db1")
    office.pass_time(30)
    office.tell()
    office.fire("db2")
    office.over("db1")
    office.pass_time(299)
    assert office.said("slack") == ["trigger"]
    office.pass_time(1)
    office.tell()
    assert office.said("slack") == ["trigger", "update"]
    assert office.said("pager") == ["trigger"]
    office.over("db2")
    office.pass_time(60)
    assert (office.said("slack"), office.said("pager")) == (["trigger", "update", "resolve"], ["trigger", "resolve"])
    assert office.states() == ["oncall{team=db} resolved 0"]
    assert office.names() == ["opened", "resolved"]
    assert office.events()[-1].payload["told"] == ["pager", "slack"]


def test_over_before_the_wait_is_over_is_told_to_nobody(office: Office) -> None:
    office.fire("db1")
    office.over("db1")
    office.pass_time(60)
    assert (office.said("slack"), office.names()) == ([], ["dropped"])


def test_fired_and_over_in_one_batch(office: Office) -> None:
    both = [office.alert("db1"), office.alert("db1", over=True)]
    office.take(*both, *[office.alert("x", labels={"severity": "critical"}, over=over) for over in (False, True)])
    office.pass_time(60)
    assert set(office.states()) == {"oncall{team=db} dropped 0", "oncall/now{team=db} dropped 0"}


def test_ends_in_the_midst_of_a_batch_and_fires_again(office: Office) -> None:
    critical = {"severity": "critical"}
    office.take(office.alert("x", labels=critical))
    office.tell()
    again = office.alert("x", source="x/2", labels=critical)
    office.take(office.alert("x", over=True, labels=critical), again)
    assert office.states() == ["oncall/now{team=db} resolved 0", "oncall/now{team=db} open 1"]
    assert office.said("pager") == ["trigger", "resolve", "trigger"]


def test_direct_fire_end_fire_in_one_batch(office: Office) -> None:
    office.take(office.alert("x", "@slack"), office.alert("x", "@slack", over=True), office.alert("x", "@slack"))
    assert office.states() == ["x resolved 0", "x open 1"]


def test_the_same_events_again_change_nothing(office: Office) -> None:
    batch = [office.alert("db1"), office.alert("db2"), office.alert("db1", over=True)]
    office.take(*batch)
    office.pass_time(30)
    office.tell()
    before = [row.model_dump() for row in office.incidents()]
    office.take(*batch[1:])
    office.take(batch[0])
    assert [row.model_dump() for row in office.incidents()] == before
    office.pass_time(300)
    assert office.said("slack") == ["trigger"]


def test_a_late_end_of_an_older_source_changes_nothing(office: Office) -> None:
    office.fire("db1", source="db1/1")
    office.pass_time(1)
    office.fire("db1", source="db1/2")
    office.over("db1", source="db1/1")
    assert office.states() == ["oncall{team=db} waiting 1"]
    office.over("db1", source="db1/2")
    assert office.states() == ["oncall{team=db} waiting 0"]


def test_a_new_source_counts_whatever_the_clock_of_its_host_says(office: Office) -> None:
    behind, critical = office.clock.now() - 100 * S, {"severity": "critical"}
    office.fire("x", source="x/1", labels=critical)
    office.over("x", source="x/1", labels=critical)
    office.fire("x", source="x/2", labels=critical, at=behind)
    assert office.states()[-1].endswith(" open 1")
    office.over("x", source="x/2", labels=critical, at=behind)
    office.fire("x", source="x/2", labels=critical, at=behind - S)  # before its own end
    assert {state.partition("} ")[2] for state in office.states()} == {"resolved 0"}


def test_an_edited_or_removed_route_orphans_nothing(office: Office) -> None:
    office.fire("db1", "db2")
    office.pass_time(30)
    office.tell()
    with office.store.begin() as session:
        other = ONCALL.model_copy(update={"group_by": ("alertname",), "receivers": ("hook",)})
        put_route(session, other, office.clock.now())
    office.over("db1")
    with office.store.begin() as session:
        remove_route(session, "oncall")
    office.take(office.alert("db2", "@slack", over=True))
    office.pass_time(400)
    assert office.states() == ["oncall{team=db} resolved 0"]
    assert office.said("pager") == ["trigger", "resolve"]


def test_an_end_is_heard_by_a_route_or_notifier_that_is_gone(office: Office) -> None:
    office.fire("db1")
    office.fire("etl", to="@hook")
    office.pass_time(30)
    office.tell()
    with office.store.begin() as session:
        remove_route(session, "oncall")
        remove_notifier(session, "hook")
    office.over("db1")
    office.over("etl", to="@hook")
    office.pass_time(60)
    assert office.said("pager") == ["trigger", "resolve"]
    assert {incident.state for incident in office.incidents()} == {"resolved"}
    assert office.over("db1", to="nowhere") == [[]]


def test_a_new_receiver_of_the_route_hears_with_the_next_news(office: Office) -> None:
    office.fire("db1")
    office.pass_time(30)
    office.tell()
    with office.store.begin() as session:
        put_route(session, ONCALL.model_copy(update={"receivers": ("slack", "hook")}), office.clock.now())
    office.fire("db2")
    office.pass_time(300)
    assert office.said("hook") == ["trigger"]
    assert office.said("slack") == ["trigger", "update"]


def test_closed_by_hand_stays_closed_until_a_new_source_fires(office: Office) -> None:
    [[incident]] = office.fire("db1", source="db1/1")
    office.pass_time(30)
    office.tell()
    office.act(incident.id, Resolve(by="ann"))
    assert office.said("pager") == ["trigger", "resolve"]
    office.fire("db1", source="db1/1")
    assert len(office.incidents()) == 1
    office.over("db1", source="db1/1")
    office.pass_time(1)
    office.fire("db1", source="db1/2")
    assert [(row.episode, row.state, row.closed_by) for row in office.incidents()] == [
        (1, "resolved", "ann"),
        (2, "waiting", ""),
    ]


def test_closed_by_hand_stays_closed_in_the_next_episode_of_its_group(office: Office) -> None:
    [[incident]] = office.fire("db1", source="db1/1")
    office.pass_time(30)
    office.tell()
    office.act(incident.id, Resolve(by="ann"))
    office.fire("db2")
    office.fire("db1", source="db1/1")
    assert office.states() == ["oncall{team=db} resolved 0", "oncall{team=db} waiting 1"]
    office.over("db2")
    office.pass_time(60)
    office.fire("db1", source="db1/1")
    assert office.states() == ["oncall{team=db} resolved 0", "oncall{team=db} dropped 0"]
    office.take(office.alert("db1", over=True), office.alert("db1"))  # over by itself, and anew, in one batch
    assert office.states()[2:] == ["oncall{team=db} waiting 1"]


def test_news_that_nothing_resolves_is_gathered_and_told(office: Office) -> None:
    office.fire("report1", "report2", lasting=False)
    office.pass_time(30)
    assert [(row.state, row.firing) for row in office.incidents()] == [("told", 0)]
    assert office.said("slack") == ["trigger"]
    event = uuid4()
    office.fire("report3", lasting=False, event_id=event)
    office.pass_time(30)
    office.fire("report3", lasting=False, event_id=event)
    assert [row.state for row in office.incidents()] == ["told", "told"]


def test_what_is_silenced_is_counted_and_not_listed(office: Office) -> None:
    now = office.clock.now()
    with office.store.begin() as session:
        matchers = read_matchers('alertname=~"db[12]"')
        add_silence(session, matchers, starts=now, ends=now + 3600 * S, author="ann", comment="", now=now)
    office.fire("db1", "db2", "db3", "db4")
    office.pass_time(30)
    [view] = office.views("slack")
    assert (view.total, view.muted, sorted(view.items)) == (2, 2, ["db3 is down", "db4 is down"])
    office.tell()
    office.over("db3", "db4")
    office.pass_time(400)
    assert office.said("slack") == ["trigger"]
    office.over("db1", "db2")
    office.pass_time(60)
    assert office.said("slack") == ["trigger", "resolve"]


def test_severity_only_rises(office: Office) -> None:
    office.take(office.alert("a", severity="warning"), office.alert("b", severity="critical"))
    office.over("b")
    office.pass_time(30)
    assert [view.severity for view in office.views("slack")] == ["critical"]


def test_unknown_names_are_told_before_anything_is_written(office: Office) -> None:
    with pytest.raises(NotFound, match='unknown notifier "slak"; known: hook, pager, slack'):
        office.fire("a", "b", to="@slak")
    with pytest.raises(NotFound, match='unknown route "oncal"'):
        office.take(office.alert("a"), office.alert("b", "oncal"))
    with pytest.raises(Invalid, match='unknown severity "bad"'):
        office.take(office.alert("a"), office.alert("b", severity="bad"))
    assert office.incidents() == []


def test_nobody_is_told_of_their_own_dead_delivery(office: Office) -> None:
    office.fire("x", to="@hook")
    with office.store.begin() as session:
        row = session.exec(select(Delivery)).one()
        row.state = "dead"
    about = {"tocsin.resource.id": f"tocsin.delivery.{row.id}", "severity": "critical"}
    office.fire("dead letters", to="@hook", labels=about)
    office.fire("dead letters", to="@slack", labels=about)
    with office.store.begin() as session:
        put_route(session, ONCALL.model_copy(update={"receivers": ("slack", "hook")}), office.clock.now())
    office.fire("dead letters too", labels=about)
    assert office.said("hook") == ["trigger dead"]
    assert office.said("slack") == ["trigger", "trigger"]


def test_two_processes_take_alerts_of_one_group(office: Office) -> None:
    """Threads with transactions of their own: counters and lines agree, and there is one incident a group."""

    def load(worker: int) -> None:
        for step in range(10):
            names = [f"w{worker}-{step}-{number}" for number in range(5)]
            teams = [{"team": f"t{number}"} for number in range(5)]
            batch = [office.alert(name, labels=team) for name, team in zip(names, teams, strict=True)]
            if worker % 2:
                batch.reverse()
            office.take(*batch, *(office.alert(name, over=True) for name in names[:2]))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(load, range(4)))
    incidents = office.incidents()
    assert len(incidents) == 5
    for incident in incidents:
        assert incident.firing == office.firing(incident.id)
    assert sum(incident.firing for incident in incidents) == 4 * 10 * 3


def test_takers_dispatchers_and_people_at_once(office: Office) -> None:
    """Groups open and close all the time under everybody's hands; who meets a deadlock tries again."""

    def work(worker: int) -> None:
        chance = Random(worker)
        for _ in range(15):
            again = True
            while again:
                again = False
                try:
                    step(chance, worker)
                except AWAY:
                    again = True

    def step(chance: Random, worker: int) -> None:
        if worker == 0:
            with office.store.begin() as session:
                take_turns(session, office.clock.now())
        elif worker == 1 and office.incidents():
            deeds: list[Act] = [Acknowledge(by="ann"), Unacknowledge(by="bob"), Resolve(by="eve")]
            office.act(chance.choice(office.incidents()).id, chance.choice(deeds))
        else:
            names = [f"n{chance.randrange(6)}" for _ in range(chance.randrange(1, 6))]
            to = chance.choice(["oncall", "@pager", "@slack"])
            severity = {"severity": "critical"}
            office.take(*[office.alert(name, to, over=chance.random() < 0.5, labels=severity) for name in names])

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(work, range(5)))
    for incident in office.incidents():
        assert incident.firing == office.firing(incident.id)
    with office.store.read() as session:
        assert violations(session, office.clock.now()) == []


names = st.sampled_from(["db1", "db2", "web1"])
signals = st.tuples(names, st.sampled_from(["1", "2"]), st.booleans(), st.sampled_from(["oncall", "@slack"]))
ticks = st.sampled_from([0.0, 1.0, 30.0, 60.0, 300.0, 4000.0])


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(script=st.lists(st.tuples(ticks, st.lists(signals, min_size=1, max_size=4)), max_size=8), cut=st.booleans())
def test_whatever_comes_counters_are_exact_and_who_was_told_hears_the_end(
    office: Office, script: list[tuple[float, list[tuple[str, str, bool, str]]]], cut: bool
) -> None:
    """One transaction a batch or one an alert: the same lines fire, and in the end everything is over and told."""
    prefix = uuid4().hex
    for wait, batch in script:
        office.pass_time(wait)
        alerts = [named(office, prefix, signal) for signal in batch]
        for part in [[alert] for alert in alerts] if cut else [alerts]:
            office.take(*part)
        for incident in office.incidents():
            assert incident.firing == office.firing(incident.id)
        office.tell()
    for name in ("db1", "db2", "web1"):
        office.take(*[named(office, prefix, (name, source, True, "oncall")) for source in ("1", "2")])
    office.pass_time(10_000)
    assert {incident.state for incident in office.incidents()} <= {"resolved", "dropped"}
    with office.store.read() as session:
        for told in session.exec(select(Delivery).where(Delivery.action == "trigger", Delivery.state == "delivered")):
            ends = select(Delivery.state).where(Delivery.incident_id == told.incident_id, Delivery.action == "resolve")
            (state,) = session.exec(ends.where(Delivery.receiver == told.receiver))
            assert state in ("pending", "delivered")
    office.tell()


def named(office: Office, prefix: str, signal: tuple[str, str, bool, str]) -> Alert:
    name, source, over, to = signal
    return office.alert(f"{prefix}{name}", to, over=over, source=f"{prefix}{name}/{source}")


def test_a_batch_is_one_transaction(office: Office) -> None:
    alert, unknown = office.alert("a"), office.alert("b", "nowhere")

    def both() -> None:
        with office.store.begin() as session:
            take(session, [alert], office.clock.now())
            take(session, [unknown], office.clock.now())

    with pytest.raises(NotFound):
        both()
    with office.store.read() as session:
        assert session.exec(select(Incident)).all() == []

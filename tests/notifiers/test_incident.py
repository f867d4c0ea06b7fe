"""The machine of an incident: stories told second by second, and what holds in every story."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tocsin.notifiers.act import Acknowledge, Act, Resolve, Unacknowledge
from tocsin.notifiers.case import LIVE, Case, Moment, Move
from tocsin.notifiers.incident import advance, begin, due
from tocsin.notifiers.node import Node, direct
from tocsin.notifiers.view import Severity

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Then:
    """At `second` so many alerts fire; `reason` holds from then until another one is named ("" for none)."""

    second: float
    firing: int | None = None
    news: bool = False
    reason: str | None = None
    until: float | None = None
    act: Act | None = None
    severity: Severity = "error"


@dataclass
class Story:
    """Tells an incident as its host does: what comes, and every due time in between."""

    node: Node
    lasting: bool = True
    log: list[str] = field(default_factory=list)
    reason: str | None = None
    until: datetime | None = None

    def play(self, *thens: Then, end: float = 0) -> list[str]:
        case = begin(self.node, at(thens[0].second), lasting=self.lasting)
        for then in thens:
            case = self.pass_time(case, at(then.second), inclusive=False)
            if then.reason is not None:
                self.reason, self.until = then.reason or None, at(then.until) if then.until is not None else None
            firing = case.firing if then.firing is None else then.firing
            case = self.take(
                case,
                Moment(now=at(then.second), firing=firing, news=then.news, act=then.act, severity=then.severity),
            )
        self.pass_time(case, at(end), inclusive=True)
        return self.log

    def pass_time(self, case: Case, until: datetime, *, inclusive: bool) -> Case:
        for _ in range(1_000):
            instant = due(case, self.node)
            if instant is None or instant > until or (instant == until and not inclusive):
                return case
            case = self.take(case, Moment(now=instant, firing=case.firing, severity=case.severity))
        raise AssertionError("time does not pass")

    def take(self, case: Case, moment: Moment) -> Case:
        reason = self.reason if self.until is None or moment.now < self.until else None
        move = advance(case, self.node, replace(moment, reason=reason, until=self.until))
        second = (moment.now - START).total_seconds()
        for fact in move.facts:
            if fact.name != "opened":
                self.log.append(f"{second:g} ({fact.name})")
        for word in move.words:
            to = word.to if isinstance(word.to, str) else "+".join(word.to)
            self.log.append(f"{second:g} {word.action} {to}{' again' if word.again else ''}")
        return move.case


ROUTE = Node(path="r", receivers=("ops",), group_wait_s=30, group_interval_s=300, resolve_wait_s=60)
REPEATING = replace(ROUTE, group_wait_s=0, repeat_interval_s=3600)
LADDER = replace(ROUTE, group_wait_s=0, escalation=((300, ("lead",)), (900, ("boss", "ops"))))
ACK = Acknowledge(by="ann", via="slack")


@pytest.mark.parametrize(
    ("node", "story", "end", "told"),
    [
        pytest.param(
            direct("ops"), [Then(0, 1, True), Then(10, 0)], 10, ["0 trigger ops", "10 (resolved)", "10 resolve told"],
            id="direct: told at once, over at once",
        ),
        pytest.param(
            direct("ops"), [Then(0, 1, True), Then(10, news=True), Then(11, news=True)], 99,
            ["0 trigger ops", "10 update all", "11 update all"], id="direct: news is told at once",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True), Then(20, 5, True)], 1000, ["30 trigger ops"],
            id="what comes while it waits is in the first word",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True), Then(20, 0, True)], 1000, ["30 (dropped)"], id="over before the wait is"
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True), Then(20, 0, True), Then(25, 1, True)], 99, ["30 trigger ops"],
            id="fires again in the wait",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True), Then(40, 2, True), Then(50, 3, True)], 1000,
            ["30 trigger ops", "330 update all"], id="news is gathered for group_interval after the last word",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True), Then(500, 2, True)], 1000, ["30 trigger ops", "500 update all"],
            id="news after a quiet group_interval is told at once",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True), Then(100, 0, True)], 1000,
            ["30 trigger ops", "160 (resolved)", "160 resolve told"], id="the end waits for resolve_wait",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True), Then(100, 0, True), Then(150, 1, True), Then(200, 0, True)], 1000,
            ["30 trigger ops", "260 (resolved)", "260 resolve told"], id="a flap is no resolve and no second trigger",
        ),
        pytest.param(
            ROUTE,
            [Then(0, 1, True)] + [Then(60 + 20 * n, (n + 1) % 2 ^ 1, True) for n in range(8)] + [Then(230, 0, True)],
            2000,
            ["30 trigger ops", "200 (flapping)", "530 (resolved)", "530 resolve told"],
            id="four flaps in ten minutes: the end waits for five quiet ones",
        ),
        pytest.param(
            REPEATING, [Then(0, 1, True)], 8000, ["0 trigger ops", "3600 repeat all", "7200 repeat all"], id="repeats"
        ),
        pytest.param(
            REPEATING, [Then(0, 1, True), Then(10, act=ACK)], 8000,
            ["0 trigger ops", "10 (acknowledged)", "10 acknowledge told"], id="no repeat while somebody is at it",
        ),
        pytest.param(
            REPEATING, [Then(0, 1, True), Then(10, act=ACK), Then(11, act=Acknowledge(by="bob"))], 20,
            ["0 trigger ops", "10 (acknowledged)", "10 acknowledge told"], id="acknowledged twice is once",
        ),
        pytest.param(
            REPEATING, [Then(0, 1, True), Then(10, act=ACK), Then(99, act=Unacknowledge(by="ann"))], 4000,
            [
                "0 trigger ops", "10 (acknowledged)", "10 acknowledge told", "99 (unacknowledged)",
                "99 update all again", "3699 repeat all",
            ], id="given back: pagers are called again, and it repeats",
        ),
        pytest.param(
            REPEATING, [Then(0, 1, True), Then(10, act=Acknowledge(by="ann", until=at(50)))], 60,
            [
                "0 trigger ops", "10 (acknowledged)", "10 acknowledge told", "50 (unacknowledged)",
                "50 update all again",
            ], id="an acknowledgement ends",
        ),
        pytest.param(
            LADDER, [Then(0, 1, True)], 9999,
            ["0 trigger ops", "300 (escalated)", "300 trigger lead again", "900 (escalated)",
             "900 trigger boss+ops again"], id="step by step, until there are none",
        ),
        pytest.param(
            LADDER, [Then(0, 1, True), Then(400, act=ACK)], 9999,
            ["0 trigger ops", "300 (escalated)", "300 trigger lead again", "400 (acknowledged)",
             "400 acknowledge told"], id="an acknowledgement ends the escalation",
        ),
        pytest.param(
            LADDER, [Then(0, 1, True), Then(400, act=ACK), Then(500, act=Unacknowledge(by="ann"))], 9999,
            ["0 trigger ops", "300 (escalated)", "300 trigger lead again", "400 (acknowledged)",
             "400 acknowledge told", "500 (unacknowledged)", "500 update all again", "1400 (escalated)",
             "1400 trigger boss+ops again"], id="given back: it goes on from its step",
        ),
        pytest.param(
            replace(LADDER, escalation=((60, ("a",)), (60, ("b",))), escalation_repeat=1),
            [Then(0, 1, True)], 9999,
            ["0 trigger ops", "60 (escalated)", "60 (escalated)", "60 trigger a again", "60 trigger b again",
             "120 (escalated)", "120 (escalated)", "120 trigger a again", "120 trigger b again"],
            id="a second round",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True, reason="silence x", until=100), Then(50, 2, True)], 999,
            ["30 (suppressed)", "100 trigger ops"], id="the end of a silence is the first word",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True, reason="silence x"), Then(400, 0)], 999,
            ["30 (suppressed)", "460 (resolved)", "460 resolve told"], id="silenced from the first to the last",
        ),
        pytest.param(
            REPEATING, [Then(0, 1, True), Then(5, 2, True, reason="mute night", until=5000), Then(9, 0)], 9999,
            ["0 trigger ops", "5 (suppressed)", "69 (resolved)", "69 resolve told"],
            id="a suppression never stops the resolve",
        ),
        pytest.param(
            LADDER, [Then(0, 1, True), Then(5, 2, True, reason="silence x", until=1000), Then(9, act=ACK)], 2000,
            ["0 trigger ops", "5 (suppressed)", "9 (acknowledged)", "9 acknowledge told", "1000 update all"],
            id="nor an acknowledgement",
        ),
        pytest.param(
            LADDER, [Then(0, 1, True), Then(5, reason="silence x", until=1000)], 1400,
            ["0 trigger ops", "5 (suppressed)", "1300 (escalated)", "1300 trigger lead again"],
            id="after a silence people have their time anew",
        ),
        pytest.param(
            LADDER, [Then(0, 1, True), Then(5, reason="silence x", until=100)], 350,
            ["0 trigger ops", "5 (suppressed)", "300 (escalated)", "300 trigger lead again"],
            id="a silence that is over in time delays no escalation",
        ),
        pytest.param(
            LADDER, [Then(0, 1, True), Then(310, 2, True)], 350,
            ["0 trigger ops", "300 (escalated)", "300 trigger lead again", "310 update all"],
            id="a call to others delays no news",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True), Then(40, 2, True, severity="critical"), Then(50, severity="info")], 999,
            ["30 trigger ops", "330 update all"], id="it grows graver, never milder",
        ),
        pytest.param(
            REPEATING, [Then(0, 1, True), Then(10, 0, act=Resolve(by="ann"))], 99,
            ["0 trigger ops", "10 (resolved)", "10 resolve told"], id="by hand there is no resolve_wait",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True), Then(10, 0, act=Resolve(by="ann"))], 99, ["10 (dropped)"],
            id="by hand before anybody was told",
        ),
        pytest.param(
            ROUTE, [Then(0, 1, True), Then(10, act=ACK), Then(50, act=Unacknowledge(by="ann"))], 60,
            ["10 (acknowledged)", "50 (unacknowledged)", "50 trigger ops"], id="acknowledged before anybody was told",
        ),
    ],
)  # fmt: skip
def test_a_story(node: Node, story: list[Then], end: float, told: list[str]) -> None:
    assert Story(node).play(*story, end=end) == told


def test_news_that_nothing_resolves_is_told_once() -> None:
    told = Story(replace(ROUTE, repeat_interval_s=60), lasting=False).play(Then(0, 0, True), Then(5, 0, True), end=999)
    assert told == ["30 trigger ops"]


def test_silenced_news_is_told_when_the_silence_is_over() -> None:
    told = Story(ROUTE, lasting=False).play(Then(0, 0, True, reason="silence x", until=700), end=999)
    assert told == ["30 (suppressed)", "700 trigger ops"]


def test_episodes_without_a_wait_flap_too() -> None:
    """A direct message has no resolve_wait: its episodes are counted instead."""
    node = direct("ops")
    flaps: tuple[datetime, ...] = ()
    log: list[str] = []
    for second in range(0, 100, 20):
        case = begin(node, at(second), lasting=True, flaps=flaps, over=second > 0)
        case = advance(case, node, Moment(now=at(second), firing=1)).case
        over = advance(case, node, Moment(now=at(second + 10), firing=0)).case
        flaps, log = over.flaps, [*log, over.state]
    assert log == ["resolved", "resolved", "resolved", "resolved", "settling"]
    assert due(over, node) == at(90 + 300)


nodes = st.builds(
    Node,
    receivers=st.just(("ops",)),
    group_wait_s=st.sampled_from([0.0, 30.0]),
    group_interval_s=st.sampled_from([0.0, 300.0]),
    repeat_interval_s=st.sampled_from([None, 0.0, 900.0]),
    resolve_wait_s=st.sampled_from([0.0, 60.0]),
    escalation=st.sampled_from([(), ((0.0, ("a",)),), ((60.0, ("a",)), (60.0, ("b", "ops")), (600.0, ("c",)))]),
    escalation_repeat=st.integers(0, 2),
    ack_timeout_s=st.sampled_from([None, 0.0, 300.0]),
    flap_count=st.integers(0, 4),
)
acts: st.SearchStrategy[Act] = st.sampled_from(
    [ACK, Acknowledge(by="bob", until=at(100)), Unacknowledge(by="ann"), Resolve(by="ann")]
)


@st.composite
def moments(draw: st.DrawFn) -> list[tuple[float, Moment]]:
    """Steps of time with what comes then; the first one fires."""
    steps = [(0.0, Moment(now=START, firing=1, news=True, severity="error"))]
    for _ in range(draw(st.integers(0, 12))):
        act = draw(st.none() | acts)
        moment = Moment(
            now=START,
            firing=0 if isinstance(act, Resolve) else draw(st.integers(0, 2)),
            news=draw(st.booleans()),
            severity=draw(st.sampled_from(["critical", "error", "info"])),
            reason=draw(st.none() | st.just("silence x")),
            until=None,
            act=act,
        )
        steps.append((draw(st.sampled_from([0.0, 1.0, 30.0, 60.0, 400.0, 4000.0])), moment))
    return steps


@given(node=nodes, steps=moments(), lasting=st.booleans())
def test_whatever_comes(node: Node, steps: list[tuple[float, Moment]], lasting: bool) -> None:
    now, case, told = START, begin(node, START, lasting=lasting), False
    for wait, moment in [*steps, (9999.0, Moment(now=START, firing=0)), (9999.0, Moment(now=START, firing=0))]:
        now += timedelta(seconds=wait)
        moment = replace(moment, now=now)
        move = advance(case, node, moment)
        check_revisions(case, move)
        told = told or any(word.action == "trigger" for word in move.words)
        if moment.reason is not None:
            assert not move.speaks
        if case.state in LIVE and moment.act and isinstance(moment.act, Resolve):
            assert move.case.state in ("resolved", "dropped")
        instant = due(move.case, node)
        assert instant is None or instant > now
        calm = replace(moment, news=False, joining=())
        again = advance(move.case, node, calm)
        assert (again.words, again.facts) == ((), ())
        if move.case.state not in LIVE and case.state in LIVE:
            assert [fact.name for fact in move.facts].count("resolved") == (move.case.state == "resolved")
            resolved = any(word.action == "resolve" for word in move.words)
            assert resolved == (move.case.state == "resolved")
            assert resolved or not lasting or not told
        case = move.case
    assert case.state not in LIVE


def check_revisions(before: Case, move: Move) -> None:
    """Each word has a revision of its own, and the case ends at that of the last."""
    revisions = [word.revision for word in move.words]
    assert revisions == list(range(before.revision + 1, move.case.revision + 1))

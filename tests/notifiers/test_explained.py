"""Why somebody was told, or was not: the route taken, what each receiver knows, what comes next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tocsin.events.model import Event
from tocsin.notifiers.act import Acknowledge, Unacknowledge
from tocsin.notifiers.case import Case, Moment
from tocsin.notifiers.coming import coming
from tocsin.notifiers.explained import Alerted, Facts, Visited, explain, visits
from tocsin.notifiers.incident import advance, begin, due
from tocsin.notifiers.knows import Sent, Tried, answer, knowing
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.node import Node, direct
from tocsin.notifiers.route import Route, grow, nodes
from tocsin.notifiers.silence import Silence, SilenceIndex
from tocsin.notifiers.suppression import World
from tocsin.notifiers.timeline import timeline

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
ID = UUID("018f0000-0000-7000-8000-0000000000aa")
NODE = Node(
    path="oncall/db",
    receivers=("slack",),
    group_wait_s=30,
    repeat_interval_s=14_400,
    escalation=((300, ("pagerduty",)), (900, ("boss",))),
)
TREE = grow(
    Route.model_validate(
        {
            "name": "oncall",
            "receivers": ["slack"],
            "routes": [
                {"name": "all", "match": {"severity": "critical"}, "receivers": ["log"], "continue": True},
                {"name": "db", "matchers": ['team=~"db.*"'], "routes": [{"name": "prod", "match": {"env": "prod"}}]},
                {"name": "never", "match": {"team": "db"}},
            ],
        }
    )
)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def sent(receiver: str = "slack", state: str = "delivered", revision: int = 1, **more: Any) -> Sent:
    known = {"action": "trigger", "tries": 1, "maybe_told": state == "delivered", "reason": None}
    times = {"due": NOW, "since": NOW, "updated": NOW}
    return Sent(**{"id": str(ID), "receiver": receiver, "revision": revision, "state": state, **known, **times, **more})


# --- the route ---


def test_a_route_is_told_with_the_values_that_its_matchers_saw() -> None:
    found = visits(TREE, {"team": "db2", "severity": "error"})
    assert [(one.path, one.came_of_it) for one in found] == [
        ("oncall", "hands it down"),
        ("oncall/all", "does not fit"),
        ("oncall/db", "takes it"),
        ("oncall/db/prod", "does not fit"),
    ]
    assert [(one.matcher, one.saw, one.held) for visited in found for one in visited.asked] == [
        ('severity="critical"', "error", False),
        ('team=~"db.*"', "db2", True),
        ('env="prod"', "", False),
    ]


LABELS = st.dictionaries(
    st.sampled_from(["team", "severity", "env"]), st.sampled_from(["db", "db2", "web", "critical", "prod", ""])
)


@given(LABELS)
def test_the_nodes_that_take_an_alert_are_those_it_goes_to(labels: dict[str, str]) -> None:
    taking = [one.path for one in visits(TREE, labels) if one.came_of_it == "takes it"]
    assert taking == [node.path for node in nodes(TREE, labels)]


# --- what each receiver knows ---

OPEN = Case(opened=NOW, state="open", firing=1, said=NOW)
WAITING = Case(opened=NOW, firing=1, wait_until=at(30))
QUIET = Case(opened=NOW, state="open", firing=1, suppressed="silenced by ann until 05:00")
STORMS = {"slack": "st0rm"}
DEAD = sent(state="dead", tries=3, maybe_told=False, reason="HTTP 404")
KNOWN: list[tuple[str, Case, list[Sent], dict[str, str], str, str]] = [
    ("it arrived", OPEN, [sent()], {}, "yes", "trigger at 2026-03-02 03:00:00Z"),
    (
        "the last word too",
        OPEN,
        [sent(), sent(revision=2, action="update", updated=at(60))],
        {},
        "yes",
        "trigger at 2026-03-02 03:00:00Z, last update at 2026-03-02 03:01:00Z",
    ),
    (
        "the end is still on its way",
        OPEN,
        [sent(), sent(state="pending", revision=2, action="resolve", tries=2, reason="HTTP 500")],
        {},
        "yes",
        "trigger at 2026-03-02 03:00:00Z; then resolve is pending after 2 tries: HTTP 500",
    ),
    (
        "no answer came",
        OPEN,
        [sent(state="unknown", maybe_told=True, reason="timeout")],
        {},
        "maybe",
        "trigger is unknown after 1 try: timeout; a try got no answer, so it may have arrived",
    ),
    ("nobody sends", OPEN, [sent(state="pending", tries=0)], {}, "no", "trigger waits for a dispatcher since 2026-"),
    ("it died", OPEN, [DEAD], {}, "no", "dead after 3 tries: HTTP 404; `tocsin delivery redrive 018f0000` sends"),
    (
        "over before told",
        OPEN,
        [sent(state="superseded", action="resolve", maybe_told=False, reason="over before told")],
        {},
        "no",
        "resolve was not sent: over before told",
    ),
    (
        "a storm",
        OPEN,
        [sent(state="superseded", maybe_told=False)],
        STORMS,
        "no",
        "a storm speaks for it: incident st0rm",
    ),
    ("the group waits", WAITING, [], {}, "no", "its group waits until 2026-03-02 03:00:30Z"),
    ("silenced", QUIET, [], {}, "no", "silenced by ann until 05:00"),
    ("dropped", replace(OPEN, state="dropped"), [], {}, "no", "it was over before its first word"),
    ("joined later", OPEN, [], {}, "no", "it is told of what comes from now on"),
    ("never told", replace(OPEN, state="resolved"), [], {}, "no", "it was over before it was told"),
]


@pytest.mark.parametrize(
    ("case", "rows", "storms", "told", "why"), [row[1:] for row in KNOWN], ids=[r[0] for r in KNOWN]
)
def test_what_a_receiver_knows(case: Case, rows: list[Sent], storms: dict[str, str], told: str, why: str) -> None:
    [slack] = [one for one in knowing(case, NODE, rows, storms) if one.receiver == "slack"]
    assert (slack.told, why in slack.why) == (told, True), slack.why


ESCALATED: list[tuple[str, Case, str]] = [
    ("not yet", OPEN, "step 2 of 2 of escalation is not reached yet, 15m after the first word"),
    ("somebody is at it", replace(OPEN, state="acknowledged", acked_by="ann"), "was not reached: ann is at it"),
    ("over", replace(OPEN, state="resolved"), "was not reached before the end"),
]


@pytest.mark.parametrize(("case", "why"), [row[1:] for row in ESCALATED], ids=[row[0] for row in ESCALATED])
def test_whom_escalation_has_not_called(case: Case, why: str) -> None:
    [boss] = [one for one in knowing(case, NODE, [sent()], {}) if one.receiver == "boss"]
    assert (boss.told, why in boss.why) == ("no", True), boss.why


ANSWERS: list[tuple[str, Case, Node, list[Sent], str]] = [
    ("told", OPEN, direct("slack"), [sent()], "told: slack"),
    (
        "some",
        OPEN,
        direct("slack", "hook"),
        [sent(), sent("hook", "dead", maybe_told=False)],
        "told: slack; not told: hook",
    ),
    ("silenced", QUIET, NODE, [], "nobody was told: silenced by ann until 05:00"),
    ("waiting", WAITING, NODE, [], "nobody is told yet: its group still waits for more"),
    ("dropped", replace(OPEN, state="dropped"), NODE, [], "nobody was told: it was over before its first word"),
    ("dead", OPEN, direct("slack"), [DEAD], "nobody was told: slack: trigger is dead after 3 tries: HTTP 404"),
    ("nobody to tell", OPEN, direct(), [], "nobody was told: it has no receivers"),
]


@pytest.mark.parametrize(
    ("case", "node", "rows", "said"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
def test_the_answer_is_one_sentence(case: Case, node: Node, rows: list[Sent], said: str) -> None:
    assert answer(case, knowing(case, node, rows, {}), {}).startswith(said)


def test_whom_a_storm_tells_is_not_called_untold() -> None:
    storms = {"slack": "5a548637-2526-56c3-a5b6-b5645926bf27"}
    alone = knowing(OPEN, direct("slack"), [], storms)
    assert answer(OPEN, alone, storms) == "not told alone; in a storm, incident 5a548637: slack"
    some = knowing(OPEN, direct("slack", "hook"), [sent("hook")], storms)
    assert answer(OPEN, some, storms) == "told: hook; in a storm, incident 5a548637: slack"


# --- what comes next ---

NEXT: list[tuple[str, Case, list[Sent], list[tuple[float, str]]]] = [
    ("a group that waits", WAITING, [], [(30, "its first word, to slack, unless it is over by then")]),
    (
        "an open one",
        replace(OPEN, news=True, repeat_at=at(14_400), escalate_at=at(300)),
        [],
        [
            (0, "what is new is told"),
            (300, "escalation, step 1 of 2: pagerduty, unless somebody is at it"),
            (14_400, "it is told again, unless somebody is at it"),
        ],
    ),
    (
        "one that somebody is at",
        replace(OPEN, state="acknowledged", acked_by="ann", ack_until=at(3600)),
        [],
        [(3600, "the acknowledgement by ann ends, and escalation goes on")],
    ),
    (
        "a silenced one",
        replace(QUIET, muted_until=at(7200), repeat_at=at(60)),
        [],
        [(7200, "it is looked at again; silenced by ann until 05:00")],
    ),
    (
        "one of whose alerts some are silenced",
        replace(OPEN, state="acknowledged", muted_until=at(7200)),
        [],
        [(7200, "what is silenced in it is looked at again")],
    ),
    (
        "a settling one",
        replace(OPEN, state="settling", settle_at=at(60)),
        [sent(state="pending", due=at(5)), sent("hook", "sending", due=at(15))],
        [
            (9, "slack: trigger, try 2, which asked to be left alone until then"),
            (15, "hook: trigger is being sent; it is taken up again if nothing is heard of it by then"),
            (60, "it is resolved, unless it fires again"),
        ],
    ),
    ("one that is over", replace(OPEN, state="resolved"), [sent()], []),
]


@pytest.mark.parametrize(("case", "rows", "said"), [row[1:] for row in NEXT], ids=[row[0] for row in NEXT])
def test_what_comes_next(case: Case, rows: list[Sent], said: list[tuple[float, str]]) -> None:
    found = coming(case, NODE, rows, {"slack": at(9)})
    assert [((one.at - NOW).total_seconds(), one.what) for one in found] == said


MOMENTS = st.lists(
    st.tuples(
        st.integers(1, 4_000),
        st.integers(0, 2),
        st.sampled_from([None, Acknowledge("ann"), Acknowledge("bob", until=at(9_000)), Unacknowledge("ann")]),
        st.sampled_from([None, "silenced"]),
    ),
    max_size=12,
)


@given(MOMENTS)
def test_the_first_thing_to_come_is_the_due_time_of_the_incident(
    moments: list[tuple[int, int, Any, str | None]],
) -> None:
    node = replace(NODE, resolve_wait_s=60.0, group_interval_s=300.0, ack_timeout_s=5_000.0)
    case, now = begin(node, NOW, lasting=True), NOW
    for pause, firing, act, reason in moments:
        now += timedelta(seconds=pause)
        case = advance(case, node, Moment(now=now, firing=firing, news=True, act=act, reason=reason)).case
        assert min((one.at for one in coming(case, node)), default=None) == due(case, node)


# --- the whole, and the story ---


def facts(**more: Any) -> Facts:
    alert = Alerted("etl failed", "firing", "error", "etl/1", NOW, ID, {"team": "db2", "alertname": "etl"})
    known = {"id": ID, "case": OPEN, "node": NODE, "grouped": {"team": "db2"}, "alerts": [alert]}
    return Facts(**{**known, "counts": {"firing": 1}, "sent": [sent()], "tree": TREE, **more})


def test_an_explanation_holds_route_suppression_and_what_comes() -> None:
    silence = Silence(id=ID, matchers=read_matchers('team="db2"'), starts=NOW, ends=at(60), author="ann")
    found = explain(facts(world=World(SilenceIndex([silence]))), NOW)
    assert found.answer == "told: slack; not told: boss, pagerduty"
    [alert] = found.alerts
    assert alert.quiet == "silenced by ann until 2026-03-02 03:01:00Z"
    assert Visited("oncall/db", "takes it", alert.route[2].asked) in alert.route
    assert found.notes == [
        "nothing of what comes next is said while it lasts: silenced by ann until 2026-03-02 03:01:00Z"
    ]


def test_what_is_silenced_in_part_is_still_told() -> None:
    silence = Silence(id=ID, matchers=read_matchers('team="db2"'), starts=NOW, ends=at(60), author="ann")
    case = replace(OPEN, firing=2)
    assert explain(facts(case=case, world=World(SilenceIndex([silence]))), NOW).notes == []
    assert explain(facts(), NOW).notes == []


def test_a_suppression_is_told_with_its_end() -> None:
    quiet = replace(QUIET, muted_until=at(7200))
    found = explain(facts(case=quiet, sent=[]), NOW)
    assert (found.suppressed, found.suppressed_until) == ("silenced by ann until 05:00", at(7200))
    assert explain(facts(), NOW).suppressed_until is None


NOTES: list[tuple[str, dict[str, Any], str]] = [
    ("a direct one", {"node": direct("slack"), "tree": None}, "the automation names the notifier"),
    ("a storm", {"node": replace(NODE, path="storm"), "tree": None}, "it speaks for other incidents"),
    ("a removed route", {"tree": None}, 'the route "oncall" is no longer there'),
    ("a changed route", {"node": replace(NODE, path="oncall/web")}, 'no alert of it comes to "oncall/web"'),
]


@pytest.mark.parametrize(("more", "note"), [row[1:] for row in NOTES], ids=[row[0] for row in NOTES])
def test_a_note_says_where_the_answer_may_not_be_the_whole_truth(more: dict[str, Any], note: str) -> None:
    [found] = explain(facts(**more), NOW).notes
    assert note in found


def test_a_story_tells_events_attempts_and_what_was_not_sent() -> None:
    def event(name: str, seconds: float, **payload: Any) -> Event:
        labels = {"tocsin.resource.id": f"tocsin.incident.{ID}"}
        return Event(event=f"tocsin.{name}", occurred=at(seconds), resource=labels, payload=payload)

    events = [
        event("incident.opened", 30),
        event("incident.escalated", 330, level=1, receivers=["pagerduty"]),
        event("incident.acknowledged", 400, by="ann", via="slack", until=at(4_000).isoformat()),
        event("incident.unacknowledged", 4_000, by="", expired=True),
        event("incident.suppressed", 4_100, reason="silenced by ann", until=None),
        event("incident.flapping", 4_200, flaps=4, window_s=600),
        event("delivery.redriven", 4_250, receiver="hook", action="trigger", tries=3, reason="HTTP 404"),
        event("incident.resolved", 4_300, told=["slack"], over_before_told=[]),
    ]
    tried = (Tried(at(31), "later", 500, 12, 0, "HTTP 500"), Tried(at(32), "delivered", 200, 10, 0, None))
    rows = [
        sent(attempts=tried),
        sent("hook", "superseded", reason="over before told", updated=at(4_300), action="resolve"),
        sent("log", "dead", tries=2, updated=at(60)),
    ]
    found = timeline(events, rows, opened=NOW, subject="etl failed")
    assert [((one.at - NOW).total_seconds(), one.what) for one in found] == [
        (0, "first alert: etl failed"),
        (30, "opened"),
        (31, "slack: trigger later, HTTP 500, 12 ms: HTTP 500"),
        (32, "slack: trigger delivered, HTTP 200, 10 ms"),
        (60, "log: trigger is dead after 2 tries"),
        (330, "escalated, step 1: pagerduty"),
        (400, "acknowledged by ann through slack until 2026-03-02 04:06:40Z"),
        (4_000, "the acknowledgement ended by itself"),
        (4_100, "nothing is said: silenced by ann"),
        (4_200, "flapping: it fired again 4 times within 10m"),
        (4_250, "hook: driven again (trigger), it had died after 3 tries: HTTP 404"),
        (4_300, "resolved; to be told: slack"),
        (4_300, "hook: resolve not sent: over before told"),
    ]

"""The tester of automations, and the plugin that brings it to pytest."""

import re
import subprocess
import sys
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as st

from tests.automations.parts import START, happened, quiet, rule
from tocsin.automations.simulation import Simulated, simulate
from tocsin.automations.tester import Tester, a_tester
from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.model import Event

MINUTE = timedelta(minutes=1)


def given_rules(*fields: dict[str, Any]) -> Tester:
    return a_tester(*(quiet(f"rule-{number}", "x", **one) for number, one in enumerate(fields)))


def test_a_firing_tells_time_key_and_count() -> None:
    given = given_rules({"threshold": 2, "within": timedelta(minutes=5), "for_each": ["shop"]})
    given.send("x", {"tocsin.resource.id": "order.1", "shop": "north"})
    given.advance(MINUTE)
    given.send("x", {"tocsin.resource.id": "order.2", "shop": "south"})
    assert given.not_fired("rule-0")
    event = given.send("x", {"tocsin.resource.id": "order.3", "shop": "north"})
    [firing] = given.fired("rule-0")
    assert (firing.event_id, firing.count, firing.labels, firing.at) == (event.id, 2, {"shop": "north"}, given.now)


def test_time_alone_makes_a_proactive_rule_fire() -> None:
    given = given_rules({"posture": "Proactive", "after": ["begun"], "within": MINUTE})
    given.send("begun")
    given.advance(MINUTE - timedelta(microseconds=1))
    assert given.not_fired()
    given.advance(timedelta(microseconds=1))
    assert [one.event_id for one in given.fired()] == [None]


def test_an_event_at_the_deadline_comes_before_it() -> None:
    given = given_rules({"posture": "Proactive", "after": ["begun"], "within": MINUTE})
    begun = given.send("begun")
    given.advance(MINUTE)
    given.send("x", occurred=begun.occurred + timedelta(seconds=59))
    given.advance(MINUTE)
    assert given.not_fired()


def test_a_whole_event_takes_the_clock_along_and_never_back() -> None:
    given = given_rules({})
    given.send(happened("x", at=60))
    given.send(happened("x", at=30))
    assert given.now == START + MINUTE
    assert [one.at for one in given.fired()] == [START + MINUTE, START + timedelta(seconds=30)]


def test_actions_are_rendered_and_the_guard_is_heard() -> None:
    notify = {"type": "send-notification", "notifier": "slack", "subject": "{{ event.payload.n }} late"}
    given = a_tester(rule("late", notify, trigger={"expect": ["x"]}, resolve_on={"expect": ["over"]}))
    given.send("x", payload={"n": 3})
    [action] = given.actions
    assert (action.action, action.arguments["subject"], action.refused) == ("send-notification", "3 late", None)
    given.send("over")
    assert len(given.resolved("late")) == 1
    assert [one.arguments["action"] for one in given.actions] == ["trigger", "resolve"]
    deep = given_rules({})
    deep.send("x", {"tocsin.resource.id": "x", "tocsin.chain.depth": "8"})
    assert "loop guard" in str(deep.actions[0].refused)


def test_a_name_that_no_automation_has_is_refused_not_silent() -> None:
    with pytest.raises(Invalid, match='no automation "rule-O" here; did you mean rule-0'):
        given_rules({}).not_fired("rule-O")
    with pytest.raises(Invalid, match="give automations"):
        a_tester()
    with pytest.raises(Invalid, match="forwards"):
        given_rules({}).advance(-MINUTE)
    with pytest.raises(BadEvent, match="event name"):
        given_rules({}).send("")


def test_the_story_says_why_not() -> None:
    given = given_rules({"threshold": 2, "within": MINUTE}, {"match": {"shop": "north"}})
    given.send("x", {"tocsin.resource.id": "order.1", "shop": "south"})
    given.send("y")
    assert given.story().splitlines() == [
        "2026-01-01 00:00:00 x of order.1",
        "    rule-0: counted 1 of 2, until 2026-01-01 00:01:00Z",
        "    rule-1: no match: match shop: wanted north, saw south",
        "2026-01-01 00:00:00 y of test",
        "    rule-0: no match: expect: wanted x, saw y",
        "    rule-1: no match: expect: wanted x, saw y; match shop: wanted north, saw absent",
        "2026-01-01 00:00:00 now",
    ]


MOMENTS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 40), st.integers(0, 50), st.booleans()), max_size=12)


@settings(max_examples=40, deadline=None)
@generated(MOMENTS)
def test_a_tester_sees_what_a_simulation_sees(moments: list[tuple[str, int, int, bool]]) -> None:
    rules = [
        quiet("pair", "a", threshold=2, within=MINUTE, cooldown=timedelta(seconds=30)),
        quiet("silence", "b", after=["a"], posture="Proactive", within=MINUTE),
        rule(
            "both", trigger={"triggers": [{"expect": "a"}, {"expect": "b"}], "within": 60}, resolve_on={"expect": "b"}
        ),
    ]
    given = a_tester(*rules)
    came: list[tuple[Event, datetime]] = []
    seen: list[Simulated] = []
    for name, wait, late, asked in moments:
        given.advance(timedelta(seconds=wait))
        came.append((given.send(name, occurred=given.now - timedelta(seconds=late)), given.now))
        if asked:  # looking changes nothing
            seen = given.fired()
    given.advance(timedelta(hours=1))
    told = simulate(rules, came, given.now)
    assert [one for one in told if one.state == "Triggered"] == given.fired()
    assert [one for one in told if one.state == "Resolved"] == given.resolved()
    assert given.fired()[: len(seen)] == seen


RULES = """
automations:
  - name: late
    trigger: {expect: [orders.late], threshold: 2, within: 60}
"""
FAILING = """
def test_it(automation_tester):
    tester = automation_tester("rules.yaml")
    tester.send("orders.late", "order.1")
    assert tester.fired("late")
"""
BYSTANDER = """
import sys

def test_it():
    assert not [name for name in sys.modules if name.startswith("tocsin.")
                and name not in ("tocsin.automations", "tocsin.automations.testing", "tocsin.events",
                                 "tocsin.events.lazy", "tocsin.flows", "tocsin.flows.pytest_plugin")]
"""


def test_an_event_that_comes_again_changes_nothing() -> None:
    given = given_rules({})
    event = given.send("x")
    given.send(event)
    assert len(given.fired()) == 1
    assert given.story().splitlines()[-2:] == ["    rule-0: that changes nothing", "2026-01-01 00:00:00 now"]


DOCUMENTED = """
name: late-orders
trigger: {expect: [orders.late], for_each: [warehouse], threshold: 2, within: 600}
actions:
  - {type: send-notification, notifier: slack, subject: "{{ firing.count }} late in {{ labels.warehouse }}"}
"""


def pytest_on(folder: Path, test: str, rules: str = RULES) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yaml").write_text(rules)
    (folder / "test_rules.py").write_text(test)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    if "tocsin" not in [one.name for one in entry_points(group="pytest11")]:
        command += ["-p", "tocsin.automations.testing"]  # installed before the plugin was
    return subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", ".", "."], cwd=folder, capture_output=True, text=True
    )


def test_a_test_that_fails_tells_what_the_automations_did(tmp_path: Path) -> None:
    done = pytest_on(tmp_path, FAILING)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "automations" in done.stdout
    assert "late: counted 1 of 2" in done.stdout


def test_nothing_is_loaded_for_a_test_that_does_not_ask(tmp_path: Path) -> None:
    done = pytest_on(tmp_path, BYSTANDER)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_example_of_the_docs_passes(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    example, of_flows = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    done = pytest_on(tmp_path, example, DOCUMENTED)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "counted" not in done.stdout
    assert len(example.splitlines()) <= 20
    done = pytest_on(tmp_path, of_flows)
    assert "1 passed" in done.stdout, done.stdout + done.stderr

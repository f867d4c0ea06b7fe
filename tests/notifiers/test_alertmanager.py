"""The export: what Alertmanager would do by it is what the tree does. `amtool` itself is asked where it is there."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events.errors import Invalid
from tocsin.notifiers.alertmanager import LABEL, NOBODY, export_alertmanager, receiver_name
from tocsin.notifiers.inhibition import Inhibition
from tocsin.notifiers.matchers import Matcher, checked, matches, read_matchers
from tocsin.notifiers.route import Route, grow, nodes
from tocsin.notifiers.windows import MuteWindow

# Any, in this file: YAML as plain values, and fields of definitions.

AMTOOL = os.environ.get("TOCSIN_TEST_AMTOOL") or shutil.which("amtool")

NIGHTS = MuteWindow(
    name="nights",
    times=("00:00-06:00",),
    weekdays=("monday:friday", "sunday"),
    days_of_month=("-3:-1",),
    months=("may:june",),
    years=("2026",),
    timezone="Europe/Berlin",
)
RULE = Inhibition(name="node", source=("alertname=NodeDown",), target=("severity=warning",), equal=("node",))


def exported(*routes: Route, **more: Any) -> Any:
    return yaml.safe_load(export_alertmanager(routes, **more))


ONCALL = Route(
    name="oncall",
    receivers=("slack",),
    group_by=("alertname",),
    routes=(
        Route(match={"team": "db"}, receivers=("pager", "slack"), continue_=True, mute=("nights",)),
        Route.model_validate({"matchers": 'severity=~"c.*"', "group_by": "...", "repeat_interval": "never"}),
    ),
)
WRITTEN = """
route:
  receiver: slack
  group_by: [alertname]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  routes:
  - matchers: ['team="db"']
    receiver: pager+slack
    continue: true
    mute_time_intervals: [nights]
  - matchers: ['severity=~"c.*"']
    group_by: ['...']
    repeat_interval: 52w
receivers:
- name: slack
  webhook_configs:
  - url: http://127.0.0.1:9/put-the-channel-here/slack
- name: pager+slack
  webhook_configs:
  - url: http://127.0.0.1:9/put-the-channel-here/pager
  - url: http://127.0.0.1:9/put-the-channel-here/slack
time_intervals:
- name: nights
  time_intervals:
  - times:
    - start_time: '00:00'
      end_time: '06:00'
    weekdays: [monday:friday, sunday]
    days_of_month: ['-3:-1']
    months: [may:june]
    years: ['2026']
    location: Europe/Berlin
inhibit_rules:
- name: node
  source_matchers: ['alertname="NodeDown"']
  target_matchers: ['severity="warning"']
  equal: [node]
"""


def test_one_tree_is_the_tree_of_the_configuration() -> None:
    found = exported(ONCALL, windows={"nights": NIGHTS}, inhibitions=[RULE])
    assert found == yaml.safe_load(WRITTEN)
    assert list(found) == ["route", "receivers", "time_intervals", "inhibit_rules"]


def test_several_trees_stand_below_one_that_tells_nobody() -> None:
    found = exported(Route(name="a", receivers=("x",)), Route(name="b", receivers=("y",)))
    assert found["route"]["receiver"] == NOBODY
    assert [child["matchers"] for child in found["route"]["routes"]] == [[f'{LABEL}="a"'], [f'{LABEL}="b"']]
    assert found["receivers"][0] == {"name": NOBODY}


def test_a_muted_root_stands_below_one_that_is_not() -> None:
    found = exported(Route(name="a", receivers=("x",), mute=(NIGHTS,)))
    assert found["route"]["receiver"] == "x"
    assert found["route"]["routes"][0]["mute_time_intervals"] == ["nights"]


def test_windows_that_differ_have_names_that_differ() -> None:
    other = MuteWindow(name="nights", times=("22:00-24:00",))
    found = exported(Route(name="a", receivers=("x",), routes=(Route(mute=(NIGHTS, other)), Route(mute=(other,)))))
    assert [one["name"] for one in found["time_intervals"]] == ["nights", "nights-2"]
    assert found["route"]["routes"][1]["mute_time_intervals"] == ["nights-2"]


# --- trees and labels at random ---

names = st.sampled_from(["team", "host.name", "a b", 'q"x', "é"])
texts = st.sampled_from(["", "x", "y", "x y", 'a"b', "c\\d", "line\nend", "é", "{z}", "b,c", "'", "$"])
expressions = st.sampled_from(["x.*", "x|y", "", ".+", "(?i)X", "\\w+", "(?s).*end", "[^x]*", "é|\\x{e9}", 'a"b|c'])
matchers = st.one_of(
    st.builds(Matcher, names, st.sampled_from(["=", "!="]), texts),
    st.builds(Matcher, names, st.sampled_from(["=~", "!~"]), expressions).map(checked),
)
plain = st.fixed_dictionaries(
    {
        "matchers": st.lists(matchers.map(str), max_size=2),
        "receivers": st.sampled_from([["p"], ["q"], ["r", "s"]]),
        "continue": st.booleans(),
    },
    optional={
        "group_by": st.sampled_from([["..."], [], ["team", "é"]]),
        "group_wait": st.sampled_from([0, "1m30s", "2w"]),
        "match": st.just({"team": ["x", "y"]}),
        "mute": st.just([NIGHTS]),
    },
)
children = st.recursive(
    plain,
    lambda below: st.tuples(plain, st.lists(below, max_size=3)).map(lambda both: {**both[0], "routes": both[1]}),
    max_leaves=8,
)
roots = st.lists(children, max_size=3).map(
    lambda below: Route.model_validate({"name": "root", "receiver": "top", "routes": below})
)
labels_of = st.dictionaries(names, texts, max_size=4)


@given(roots, labels_of)
def test_what_is_exported_says_the_same(root: Route, labels: dict[str, str]) -> None:
    found = _taken(exported(root)["route"], labels, None)
    assert found == [receiver_name(node) for node in nodes(grow(root), labels)]


def _taken(route: dict[str, Any], labels: dict[str, str], inherited: str | None) -> list[str]:
    """The receivers that an alert reaches in YAML, by the words of Alertmanager's documentation."""
    receiver = route.get("receiver", inherited)
    found: list[str] = []
    for child in route.get("routes", ()):
        if matches(read_matchers(child.get("matchers", ())), labels):
            found += _taken(child, labels, receiver)
            if not child.get("continue"):
                break
    return found or [str(receiver)]


@pytest.mark.skipif(AMTOOL is None, reason="no amtool; set TOCSIN_TEST_AMTOOL")
@given(root=roots, labels=labels_of, rule=st.tuples(matchers, matchers))
def test_amtool_agrees(
    tmp_path_factory: pytest.TempPathFactory, root: Route, labels: dict[str, str], rule: tuple[Matcher, Matcher]
) -> None:
    inhibition = Inhibition(name="i", source=(str(rule[0]),), target=(str(rule[1]),), equal=("team",))
    file = tmp_path_factory.mktemp("amtool") / "alertmanager.yml"
    file.write_text(export_alertmanager([root], {}, [inhibition]))
    _amtool("check-config", str(file))
    said = [str(Matcher(name, "=", value)) for name, value in labels.items()]
    receivers = _amtool("config", "routes", "test", f"--config.file={file}", *said)
    assert receivers == ",".join(receiver_name(node) for node in nodes(grow(root), labels))


def _amtool(*words: str) -> str:
    run = subprocess.run([str(AMTOOL), *words], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.strip()


def test_what_is_no_tree_is_refused() -> None:
    with pytest.raises(Invalid, match="name the notifiers"):
        export_alertmanager([Route(name="x")])


def test_a_file_without_routes_is_still_a_configuration(tmp_path: Path) -> None:
    assert exported() == {"route": {"receiver": NOBODY, "routes": []}, "receivers": [{"name": NOBODY}]}

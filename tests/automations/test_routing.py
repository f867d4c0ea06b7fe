"""Routes as documents: what a file may hold, and where it says that something is wrong."""

from pathlib import Path

import pytest

from tocsin.automations.documents import load, load_all
from tocsin.automations.proposal import warnings_of
from tocsin.automations.routing import Routing, read_routing, route_from, together
from tocsin.events.errors import Invalid
from tocsin.store.engine import Store

WHOLE = """
mute_windows:
  - name: nights
    times: [00:00-06:00]
    timezone: Europe/Berlin
routes:
  - name: oncall
    receiver: slack
    group_by: [alertname]
    routes:
      - match: {team: db}
        receivers: [pager]
        continue: true
        repeat_interval: never
      - matchers: ['severity=~"warning|info"']
        mute: [nights]
inhibitions:
  - name: node
    source: alertname="NodeDown"
    target: severity="warning"
    equal: [node]
"""
PYTHON = """
from tocsin.notifiers import Inhibition, MuteWindow, PagerDuty, Route, SlackWebhook

slack = SlackWebhook(name="slack", url="https://hooks.slack.test/x")
db = Route(name="db", match={"team": "db"}, receivers=["slack"])
unnamed = Route(match={"team": "web"})
oncall = Route(name="oncall", receivers=["slack"], routes=[db, unnamed])
again = oncall
windows = [MuteWindow(name="nights", times=["00:00-06:00"])]
rule = Inhibition(name="node", source="a=b", target="c=d")
"""


def names(found: Routing) -> list[list[str]]:
    return [[one.name for one in several] for several in (found.mute_windows, found.routes, found.inhibitions)]


def test_a_document_holds_routes_windows_and_inhibitions() -> None:
    found = read_routing(WHOLE, "oncall.yaml")
    assert names(found) == [["nights"], ["oncall"], ["node"]]
    assert [child.continue_ for child in found.routes[0].routes] == [True, False]
    assert found.routes[0].routes[1].mute == ("nights",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("{name: a, receiver: x}", ["a"], id="one route"),
        pytest.param("[{name: a, receiver: x}, {name: b, receiver: x}]", ["a", "b"], id="a list of them"),
        pytest.param("name: a\nreceiver: x\n---\nname: b\nreceiver: y", ["a", "b"], id="two documents"),
    ],
)
def test_a_document_may_be_a_route_or_a_list(text: str, expected: list[str]) -> None:
    assert [route.name for route in read_routing(text, "x.yaml").routes] == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(
            "routes:\n  - name: a\n    receiver: x\n    group_wiat: 5s",
            'x.yaml: route "a": line 4, group_wiat: unknown field; did you mean group_wait?',
            id="an unknown field",
        ),
        pytest.param(
            "name: a\nreceiver: x\nafter: 5", "line 3, after: a field of another kind", id="a field elsewhere"
        ),
        pytest.param(
            "name: a\nreceiver: x\nroutes:\n  - matchers: ['b~c']",
            "line 4, routes.0.matchers: matchers 'b~c', column 2: an operator is =, !=, =~ or !~",
            id="a matcher",
        ),
        pytest.param(
            "name: a\nreceiver: x\nroutes:\n  - group_wait: soon",
            "line 4, routes.0.group_wait: a span is needed",
            id="a span",
        ),
        pytest.param(
            "mute_windows:\n  - name: n\n    times: [22:00-06:00]",
            'mute window "n": line 3, times.0: 22:00-06:00: a window ends on the day it begins',
            id="a window over midnight",
        ),
        pytest.param(
            "name: a\nreceiver: x\nmute:\n  - name: n\n    weekdays: [mon]",
            "line 5, mute.0.weekdays: 'mon': known are sunday",
            id="a window within",
        ),
        pytest.param("inhibitions:\n  - name: i\n    source: a=b", "line 2, target: Field required", id="half a rule"),
        pytest.param("routes: {}", "line 1, routes: a list is needed", id="no list"),
        pytest.param("receiver: x", "line 1: a root route needs a name", id="no name"),
        pytest.param("routes:\n  - name: a", 'line 2: route "a": receivers: name the notifiers', id="no receivers"),
        pytest.param("5", "line 1: expected a route", id="no route"),
        pytest.param(
            "- {name: a, receiver: x}\n- {name: a, receiver: y}",
            'two different routes are named "a"',
            id="two of a name",
        ),
    ],
)
def test_a_mistake_is_told_with_line_and_field(text: str, why: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_routing(text, "x.yaml")
    assert why in str(refused.value)


def test_a_python_file_defines_routes_among_automations(tmp_path: Path) -> None:
    file = tmp_path / "oncall.py"
    file.write_text(PYTHON)
    found = load_all([str(file)])
    assert names(found.routing) == [["nights"], ["oncall"], ["node"]]
    assert [block.name for block in found.notifiers] == ["slack"]


def test_a_file_with_routes_alone_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "routes_only.py"
    file.write_text("from tocsin.notifiers import Route\nr = Route(name='a', receivers=['x'])\n")
    assert names(load(str(file)).routing) == [[], ["a"], []]
    assert load_all([str(file)]).routing


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("r = [Route(name='a', receivers=['x']), Route(name='a', receivers=['y'])]", "two different routes"),
        ("r = Route(name='a', match={'b': 'c'}, receivers=['x'])", "a root takes every alert"),
        ("r = Route(name='a', receivers=['x'], group_wait='soon')", "line 2: route: group_wait: a span is needed"),
    ],
)
def test_a_mistake_in_a_python_file_is_told(tmp_path: Path, line: str, why: str) -> None:
    file = tmp_path / "mistaken.py"
    file.write_text(f"from tocsin.notifiers import Route\n{line}\n")
    with pytest.raises(Invalid, match=why):
        load(str(file))


def test_two_files_may_not_define_the_same() -> None:
    one = read_routing("{name: a, receiver: x}", "one.yaml")
    with pytest.raises(Invalid, match=r'route "a" is defined twice, in one.yaml and in two.yaml'):
        together([("one.yaml", one), ("two.yaml", one)])


def test_a_definition_without_a_file_says_so() -> None:
    with pytest.raises(Invalid, match='definition: route "a": routes: Input should be a valid tuple'):
        route_from({"name": "a", "receiver": "x", "routes": 5})


def test_a_route_that_nobody_has_is_warned_of_and_one_of_the_same_file_is_not(sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "both.py"
    file.write_text(
        "from tocsin.automations import Automation, SendNotification\n"
        "from tocsin.notifiers import Route\n"
        "from tocsin.triggers import EventTrigger\n"
        "oncall = Route(name='oncall', receivers=['slack'])\n"
        "late = Automation(name='late', trigger=EventTrigger(expect={'a'}), actions=["
        "SendNotification(route='oncall', subject='s'), SendNotification(route='oncal', subject='s')])\n"
    )
    store = Store.open(sqlite_url)
    with store.read() as session:
        warnings = warnings_of(session, load_all([str(file)]))
    store.close()
    assert warnings == ['automation "late": actions.1.route: unknown route "oncal"; did you mean oncall?']

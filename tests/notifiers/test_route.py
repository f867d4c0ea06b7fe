"""Routes: which nodes an alert goes to, what they inherit, and what cannot be a tree."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tocsin.events.errors import Invalid
from tocsin.notifiers.node import Node, node_from_json, node_to_json
from tocsin.notifiers.route import Escalate, Flap, Route, group_of, grow, nodes, receivers_of, walk
from tocsin.notifiers.windows import MuteWindow

# Any, in this file: fields of a definition, as documents give them.


def tree(**fields: Any) -> Any:
    return grow(Route.model_validate({"name": "oncall", "receiver": "slack", **fields}))


CHILDREN = [
    {"name": "db", "match": {"team": "db"}, "routes": [{"name": "bad", "match": {"severity": "critical"}}]},
    {"name": "all-critical", "matchers": ["severity=critical"], "continue": True},
    {"name": "web", "match": {"team": ["web", "api"]}},
]


@pytest.mark.parametrize(
    ("labels", "paths"),
    [
        pytest.param({}, ["oncall"], id="the root takes what no child takes"),
        pytest.param({"team": "db"}, ["oncall/db"], id="the child, where none of its own fits"),
        pytest.param({"team": "db", "severity": "critical"}, ["oncall/db/bad"], id="the deepest that fits"),
        pytest.param({"severity": "critical"}, ["oncall/all-critical"], id="continue, and none that follows"),
        pytest.param(
            {"team": "api", "severity": "critical"}, ["oncall/all-critical", "oncall/web"], id="continue, and the next"
        ),
        pytest.param({"team": "apis"}, ["oncall"], id="any of several, each whole"),
    ],
)
def test_an_alert_goes_down_the_tree(labels: dict[str, str], paths: list[str]) -> None:
    assert [node.path for node in nodes(tree(routes=CHILDREN), labels)] == paths


def test_defaults_are_those_of_alertmanager() -> None:
    assert tree().node == Node(
        path="oncall",
        receivers=("slack",),
        group_by=(),
        group_wait_s=30,
        group_interval_s=300,
        repeat_interval_s=4 * 3600,
        resolve_wait_s=60,
    )


ROOT: dict[str, Any] = {
    "group_by": ["alertname"],
    "group_wait": "10s",
    "repeat_interval": "1d12h",
    "ack_timeout": 600,
    "escalation": [{"after": "15m", "receiver": "boss"}],
    "mute": [{"name": "nights", "times": ["00:00-06:00"]}],
}


@pytest.mark.parametrize(
    ("child", "field", "expected"),
    [
        pytest.param({}, "receivers", ("slack",), id="receivers"),
        pytest.param({"receivers": ["a", "b"]}, "receivers", ("a", "b"), id="receivers of its own"),
        pytest.param({}, "group_by", ("alertname",), id="group_by"),
        pytest.param({"group_by": "..."}, "group_by", None, id="every label"),
        pytest.param({"group_by": []}, "group_by", (), id="no label"),
        pytest.param({}, "group_wait_s", 10, id="group_wait"),
        pytest.param({}, "repeat_interval_s", 36 * 3600, id="repeat_interval"),
        pytest.param({"repeat_interval": "never"}, "repeat_interval_s", None, id="repeat never"),
        pytest.param({}, "ack_timeout_s", 600, id="ack_timeout"),
        pytest.param({"ack_timeout": "never"}, "ack_timeout_s", None, id="an ack for good"),
        pytest.param({}, "escalation", ((900, ("boss",)),), id="escalation"),
        pytest.param({"escalation": []}, "escalation", (), id="no escalation"),
        pytest.param({}, "mute", (), id="mute windows are not inherited"),
        pytest.param({}, "resolve_wait_s", 20, id="resolve_wait is twice the group's"),
        pytest.param({"group_wait": "1m"}, "resolve_wait_s", 120, id="also of a wait of its own"),
        pytest.param({"group_wait": "1m", "resolve_wait": 5}, "resolve_wait_s", 5, id="unless it says its own"),
        pytest.param({"flap": {"count": 2}}, "flap_count", 2, id="flapping"),
    ],
)
def test_what_a_child_does_not_say_it_has_from_its_parent(child: dict[str, Any], field: str, expected: Any) -> None:
    grown = tree(**ROOT, routes=[{"match": {"a": "b"}, **child}])
    assert getattr(grown.below[0].node, field) == expected


def test_a_resolve_wait_that_an_ancestor_says_is_inherited() -> None:
    grown = tree(resolve_wait="7s", routes=[{"name": "x", "group_wait": "1m"}])
    assert grown.below[0].node.resolve_wait_s == 7


@pytest.mark.parametrize(
    ("group_by", "labels", "group"),
    [
        pytest.param(["team"], {"team": "db", "x": "y"}, {"team": "db"}, id="the labels named"),
        pytest.param(["team", "host"], {"team": "db"}, {"team": "db"}, id="a missing label is not there"),
        pytest.param(["team"], {"team": ""}, {}, id="nor an empty one"),
        pytest.param([], {"team": "db"}, {}, id="one group of all"),
        pytest.param("...", {"team": "db", "x": "y"}, {"team": "db", "x": "y"}, id="every label"),
    ],
)
def test_groups(group_by: Any, labels: dict[str, str], group: dict[str, str]) -> None:
    assert group_of(tree(group_by=group_by).node, labels) == group


def test_children_without_names_are_named_after_what_they_ask() -> None:
    children = [{"match": {"team": "db"}}, {"match": {"team": "db"}}, {}, {"matchers": '"a b"=~"x/.*"'}]
    grown = tree(routes=children)
    assert [child.node.path for child in grown.below] == [
        "oncall/team-db",
        "oncall/team-db-2",
        "oncall/all",
        "oncall/a-b-x",
    ]


def test_the_receivers_of_a_tree() -> None:
    grown = tree(routes=[{"receivers": ["pager", "slack"], "escalation": [{"after": 60, "receivers": ["boss"]}]}])
    assert receivers_of(grown) == ("slack", "pager", "boss")


@pytest.mark.parametrize(
    ("fields", "where", "why"),
    [
        pytest.param({"recever": "x"}, "recever", "Extra inputs", id="an unknown field"),
        pytest.param({"receiver": "x", "receivers": ["y"]}, "", "leave one of them out", id="receivers twice"),
        pytest.param({"receivers": ["x", "x"]}, "receivers", "named twice", id="a receiver twice"),
        pytest.param({"name": "a/b"}, "name", "letters, digits, spaces", id="a slash in a name"),
        pytest.param({"group_wait": "5 min"}, "group_wait", "30s, 5m, 1d12h", id="a span"),
        pytest.param({"group_wait": "5"}, "group_wait", "write 5s, 5m or 5h", id="a span without a unit"),
        pytest.param({"group_wait": "2000d"}, "group_wait", "0 to 366 days", id="a span too long"),
        pytest.param({"repeat_interval": 0}, "repeat_interval", 'write "never"', id="repeat at once"),
        pytest.param({"group_by": ["...", "a"]}, "group_by", "leave the others out", id="every label and one"),
        pytest.param({"matchers": ["a=b", "a~"]}, "matchers", "column 2", id="a matcher"),
        pytest.param({"match": {"shard": 7}}, "match", 'shard: the value of a label is text; write "7"', id="a number"),
        pytest.param({"match": {"": "b"}}, "", "name of a label", id="a label without a name"),
        pytest.param({"escalation": [{"after": 5}]}, "escalation.0.receivers", "required", id="a step to nobody"),
        pytest.param(
            {"escalation": [{"after": 5, "receiver": "a"}, {"after": 5, "receiver": "b"}]},
            "escalation",
            "later than the one before",
            id="steps at once",
        ),
        pytest.param({"routes": [{"name": "a"}, {"name": "a"}]}, "", 'named "a"', id="two of a name"),
        pytest.param({"routes": [{"flap": {"count": 1}}]}, "routes.0.flap.count", "greater than", id="deep inside"),
    ],
)
def test_a_bad_route_is_refused_with_its_field(fields: dict[str, Any], where: str, why: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Route.model_validate({"name": "x", **fields})
    errors = refused.value.errors()
    assert where in [".".join(map(str, error["loc"])) for error in errors]
    assert any(why in error["msg"] for error in errors)


@pytest.mark.parametrize(
    ("route", "why"),
    [
        pytest.param(Route(receivers=("a",)), "needs a name", id="no name"),
        pytest.param(Route(name="storm", receivers=("a",)), "that of storms", id="a name that is taken"),
        pytest.param(Route(name="x"), "name the notifiers", id="no receivers"),
        pytest.param(Route(name="x", receivers=("a",), match={"a": "b"}), "into a child", id="a root that asks"),
        pytest.param(Route(name="x", receivers=("a",), mute=("n",)), "known: none", id="an unknown window"),
        pytest.param(
            Route(name="x", receivers=("a",), routes=tuple(Route() for _ in range(1000))), "1001 nodes", id="too many"
        ),
    ],
)
def test_what_is_no_root_is_refused(route: Route, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        grow(route)


def test_a_window_may_be_named() -> None:
    nights = MuteWindow(name="nights", times=("00:00-06:00",))
    grown = grow(Route(name="x", receivers=("a",), mute=("nights",)), {"nights": nights})
    assert grown.node.mute == (nights.window(),)


labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]), max_size=3)
plain = st.fixed_dictionaries(
    {
        "match": st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y"]), max_size=2),
        "continue": st.booleans(),
    },
    optional={
        "receivers": st.lists(st.sampled_from(["p", "q"]), min_size=1, max_size=2, unique=True),
        "group_wait": st.integers(0, 99),
        "group_by": st.sampled_from([["..."], [], ["a"]]),
        "escalation": st.just([{"after": "5m", "receivers": ["boss"]}]),
        "repeat_interval": st.sampled_from(["never", "1h"]),
    },
)
children = st.recursive(
    plain,
    lambda below: st.tuples(plain, st.lists(below, max_size=3)).map(lambda both: {**both[0], "routes": both[1]}),
    max_leaves=10,
)


@given(st.lists(children, max_size=4), labels)
def test_an_alert_always_goes_somewhere_and_only_where_all_on_the_way_fits(
    below: list[Any], of: dict[str, str]
) -> None:
    grown = tree(routes=below)
    found = nodes(grown, of)
    assert found
    assert len({node.path for node in found}) == len(found)
    asks = {one.node.path: one.asks for one in walk(grown)}
    for node in found:
        parts = node.path.split("/")
        for size in range(1, len(parts) + 1):
            for matcher in asks["/".join(parts[:size])]:
                assert of.get(matcher.name, "") == matcher.value


@given(st.lists(children, max_size=4))
def test_routes_and_nodes_survive_a_trip_through_json(below: list[Any]) -> None:
    route = Route.model_validate({"name": "x", "receivers": ["a"], "routes": below})
    again = Route.model_validate_json(route.model_dump_json(by_alias=True, exclude_unset=True))
    assert again == route
    assert [node_from_json(node_to_json(one.node)) for one in walk(grow(again))] == [
        one.node for one in walk(grow(route))
    ]


def test_a_route_reads_as_it_is_written_in_python() -> None:
    route = Route(
        name="oncall",
        receivers=("slack",),
        group_wait=timedelta(seconds=10),
        continue_=False,
        escalation=(Escalate(after=timedelta(minutes=5), receivers=("boss",)),),
        flap=Flap(count=3),
    )
    assert grow(route).node.flap_count == 3

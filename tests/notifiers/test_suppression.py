"""Why nothing is said: silences by index against one by one, inhibitions by Alertmanager's rules, mute windows."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events.errors import Invalid
from tocsin.events.ids import derive
from tocsin.notifiers.inhibition import Inhibition
from tocsin.notifiers.matchers import Matcher, matches, read_matchers
from tocsin.notifiers.node import Node
from tocsin.notifiers.silence import Silence, SilenceIndex, check
from tocsin.notifiers.suppression import LOOK_AGAIN, World, muted, suppressed, with_sources, world_of
from tocsin.notifiers.windows import MuteWindow

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def silence(text: str, *, starts: float = -1, ends: float = 1, author: str = "", comment: str = "") -> Silence:
    """A silence with such matchers; `starts` and `ends` in hours from NOW."""
    return Silence(
        id=derive("silence", text, starts, ends),
        matchers=read_matchers(text),
        starts=NOW + starts * HOUR,
        ends=NOW + ends * HOUR,
        author=author,
        comment=comment,
    )


@pytest.mark.parametrize(
    ("one", "labels", "quiet"),
    [
        pytest.param(silence('a="b"'), {"a": "b"}, True, id="equal"),
        pytest.param(silence('a="b"'), {"a": "c"}, False, id="not equal"),
        pytest.param(silence('a="b",c!="d"'), {"a": "b"}, True, id="a missing label is not d"),
        pytest.param(silence('a=~"b.*"'), {"a": "bc"}, True, id="like"),
        pytest.param(silence('a!=""'), {"a": "x"}, True, id="there at all"),
        pytest.param(silence('a="b"', starts=0), {"a": "b"}, True, id="the beginning is in it"),
        pytest.param(silence('a="b"', ends=0), {"a": "b"}, False, id="the end is not"),
        pytest.param(silence('a="b"', starts=0.5), {"a": "b"}, False, id="not yet"),
    ],
)
def test_a_silence(one: Silence, labels: Mapping[str, str], quiet: bool) -> None:
    assert (suppressed(labels, world_of([one]), NOW) is not None) is quiet


def test_a_silence_says_who_until_when_and_why() -> None:
    one = silence('a="b"', author="ana", comment="deploy")
    reason = suppressed({"a": "b"}, world_of([one]), NOW)
    assert reason is not None
    assert (reason.kind, reason.name, reason.until) == ("silence", str(one.id), NOW + HOUR)
    assert reason.text == "silenced by ana until 2026-03-02 13:00:00Z: deploy"


def test_of_several_silences_the_one_that_ends_last_is_named() -> None:
    several = [silence('a="b"', ends=1), silence('c=~"d|e"', ends=3), silence('c="d"', ends=2)]
    reason = suppressed({"a": "b", "c": "d"}, world_of(several), NOW)
    assert reason is not None
    assert reason.until == NOW + 3 * HOUR


@pytest.mark.parametrize(
    ("text", "starts", "why"),
    [
        ("", -1, "needs a matcher"),
        ('a=~".*"', -1, "without such labels"),
        ('a!="b",c=""', -1, "without such labels"),
        ('a="b"', 1, "end it later"),
    ],
)
def test_what_would_silence_everything_or_never_is_refused(text: str, starts: float, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        check(read_matchers(text), NOW + starts * HOUR, NOW + HOUR)


names, values = st.sampled_from("abc"), st.sampled_from(["", "x", "y", "xy"])
matchers = st.one_of(
    st.builds(Matcher, names, st.sampled_from(["=", "!="]), values),
    st.builds(Matcher, names, st.sampled_from(["=~", "!~"]), st.sampled_from(["x.*", "x|y", ".*", "z", "", ".+"])),
)
silences = st.builds(
    Silence,
    id=st.uuids(),
    matchers=st.lists(matchers, min_size=1, max_size=3).map(tuple),
    starts=st.sampled_from([NOW - HOUR, NOW, NOW + HOUR]),
    ends=st.integers(0, 99).map(lambda minutes: NOW + timedelta(minutes=minutes)),
)
labels_of = st.dictionaries(names, values, max_size=3)


@given(st.lists(silences, max_size=80), labels_of)
def test_the_index_finds_what_asking_each_finds(several: list[Silence], labels: dict[str, str]) -> None:
    over = [one for one in several if one.starts <= NOW < one.ends and matches(one.matchers, labels)]
    found = SilenceIndex(several).find(labels, NOW)
    assert (found.ends if found else None) == max((one.ends for one in over), default=None)


# --- inhibition ---

NODE_DOWN = Inhibition(name="node", source=('alertname="NodeDown"',), target=('severity="warning"',), equal=("node",))
BOTH = Inhibition(name="both", source=("severity=~critical|warning",), target=("severity=~warning|info",))


@pytest.mark.parametrize(
    ("rule", "sources", "labels", "quiet"),
    [
        pytest.param(
            NODE_DOWN, [{"alertname": "NodeDown", "node": "1"}], {"severity": "warning", "node": "1"}, True, id="equal"
        ),
        pytest.param(
            NODE_DOWN,
            [{"alertname": "NodeDown", "node": "1"}],
            {"severity": "warning", "node": "2"},
            False,
            id="another node",
        ),
        pytest.param(
            NODE_DOWN, [{"alertname": "NodeDown"}], {"severity": "warning"}, True, id="missing equals missing"
        ),
        pytest.param(NODE_DOWN, [{"alertname": "NodeDown", "node": ""}], {"severity": "warning"}, True, id="and empty"),
        pytest.param(
            NODE_DOWN, [{"alertname": "NodeDown", "node": "1"}], {"severity": "warning"}, False, id="but not a value"
        ),
        pytest.param(NODE_DOWN, [{"alertname": "NodeDown"}], {"severity": "critical"}, False, id="no target"),
        pytest.param(NODE_DOWN, [{"alertname": "DiskFull"}], {"severity": "warning"}, False, id="no source"),
        pytest.param(BOTH, [{"severity": "warning"}], {"severity": "warning"}, False, id="not itself, nor its like"),
        pytest.param(
            BOTH, [{"severity": "warning"}], {"severity": "info"}, True, id="a target alone, by one that is both"
        ),
        pytest.param(
            BOTH, [{"severity": "critical"}], {"severity": "warning"}, True, id="one that is both, by a source alone"
        ),
    ],
)
def test_an_inhibition(rule: Inhibition, sources: list[dict[str, str]], labels: dict[str, str], quiet: bool) -> None:
    reason = suppressed(labels, world_of([], [rule], sources), NOW)
    assert (reason is not None) is quiet
    if reason:
        assert (reason.kind, reason.name, reason.until) == ("inhibition", rule.name, NOW + LOOK_AGAIN)


inhibitions = st.builds(
    lambda source, target, equal: Inhibition(
        name="i", source=(str(source),), target=(str(target),), equal=tuple(equal)
    ),
    matchers,
    matchers,
    st.lists(names, max_size=2, unique=True),
)


@given(st.lists(inhibitions, max_size=3), st.lists(labels_of, max_size=4), labels_of)
def test_inhibition_is_that_of_alertmanager(
    rules: list[Inhibition], sources: list[dict[str, str]], labels: dict[str, str]
) -> None:
    rules = [rule.model_copy(update={"name": f"i{place}"}) for place, rule in enumerate(rules)]
    reason = suppressed(labels, with_sources(world_of([], rules), sources), NOW)
    expected = [rule.name for rule in rules if any(_inhibits(rule, source, labels) for source in sources)]
    assert (reason.name if reason else None) == next(iter(expected), None)


def _inhibits(rule: Inhibition, source: dict[str, str], target: dict[str, str]) -> bool:
    """As its documentation has it, pair by pair."""
    sided = [read_matchers(rule.source), read_matchers(rule.target)]
    both = [all(matches(side, labels) for side in sided) for labels in (source, target)]
    return (
        matches(sided[0], source)
        and matches(sided[1], target)
        and all(source.get(name, "") == target.get(name, "") for name in rule.equal)
        and not all(both)
    )


# --- mute windows ---


def test_a_node_is_muted_by_its_windows_until_the_last_is_over() -> None:
    lunch = MuteWindow(name="lunch", times=("11:30-12:30",)).window()
    games = MuteWindow(name="games", times=("12:15-13:00",)).window()
    reason = muted(Node(mute=(lunch, games)), NOW)
    assert reason is not None
    assert (reason.kind, reason.name, reason.until) == ("mute", "lunch", NOW + HOUR)
    assert reason.text == "muted by lunch until 2026-03-02 13:00:00Z"
    assert muted(Node(mute=(lunch, games)), NOW + HOUR) is None
    assert muted(Node(), NOW) is None


def test_an_empty_world_keeps_nothing_quiet() -> None:
    assert World().empty
    assert world_of([], [NODE_DOWN]).empty
    assert not world_of([silence('a="b"')]).empty
    assert suppressed({"a": "b"}, World(), NOW) is None


def test_ten_thousand_silences_with_hardly_a_difference_are_found_at_once() -> None:
    several = [
        Silence(
            id=UUID(int=number),
            matchers=(Matcher("team", "=", "db"), Matcher("host", "=~", f"db-{number}-.*")),
            starts=NOW,
            ends=NOW + HOUR,
        )
        for number in range(10_000)
    ]
    found = SilenceIndex(several).find({"team": "db", "host": "db-9999-eu"}, NOW)
    assert found == several[-1]

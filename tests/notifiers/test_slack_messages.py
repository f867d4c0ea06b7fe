"""What goes to Slack: golden files for each payload, lines for the thread, and limits that no view breaks.

`TOCSIN_TEST_WRITE_GOLDEN=1` writes the files anew; read the difference before committing it.
"""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.notifiers.conftest import OPENED, MakeView
from tests.notifiers.wild_texts import texts, wild
from tocsin.notifiers import slack_message
from tocsin.notifiers.fit import escape
from tocsin.notifiers.slack_message import headline, render_slack
from tocsin.notifiers.slack_thread import Line, Standing, from_payload, span, standing, thread_line, to_payload
from tocsin.notifiers.standins.slack_contract import check_message, mentions
from tocsin.notifiers.view import Action, Message, Severity, View

GOLDEN = Path(__file__).parent / "golden"
LATER = OPENED + timedelta(hours=4, minutes=12, seconds=7)
NAME = "oncall"

VIEWS: dict[str, dict[str, Any]] = {
    "buttons": {"route": "oncall/db", "items": ("orders", "customers"), "total": 2},
    "acknowledged": {
        "action": "acknowledge",
        "state": "acknowledged",
        "acked_by": "ann",
        "revision": 2,
        "at": LATER,
        "route": "oncall",
    },
    "repeat": {"action": "repeat", "revision": 3, "at": LATER, "route": "oncall", "items": ("a", "b"), "total": 2},
    "escalated": {"action": "repeat", "revision": 3, "at": LATER, "level": 2, "route": "oncall"},
    "flapping": {"action": "update", "revision": 9, "at": LATER, "flapping": True, "severity": "warning", "muted": 3},
    "storm": {
        "severity": "critical",
        "subject": "893 incidents in a minute for slack",
        "body": "flow: daily-order-etl 400, hourly-stock-etl 300, and 193 more",
        "items": tuple(f"critical · flow-{number:03} failed" for number in range(200)),
        "total": 893,
        "labels": {"receiver": "slack"},
        "route": "storm",
    },
    "over": {
        "action": "resolve",
        "state": "resolved",
        "acked_by": "ann <@U012AB3CD>",
        "revision": 4,
        "at": LATER,
        "level": 1,
        "flapping": True,
        "route": "oncall & co",
    },
}


def render(view: View, minimal: bool = False) -> Message:
    return render_slack(view, minimal=minimal, metadata=True, pressed_by=NAME)


@pytest.mark.parametrize("minimal", [False, True], ids=["whole", "minimal"])
@pytest.mark.parametrize("name", VIEWS)
def test_a_payload_is_what_its_golden_file_says(name: str, minimal: bool, make_view: MakeView) -> None:
    body = render(make_view(**VIEWS[name]), minimal).body
    check_message(body, update=True)
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    path = GOLDEN / f"slack-{name}{'-minimal' if minimal else ''}.json"
    if os.environ.get("TOCSIN_TEST_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def actions(message: Message) -> list[str]:
    elements = [element for block in message.body["blocks"] for element in block.get("elements", [])]
    return [element["action_id"].removeprefix("tocsin.") for element in elements if "action_id" in element]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        pytest.param({}, ["acknowledge", "resolve", "silence"], id="open"),
        pytest.param(
            {"action": "acknowledge", "state": "acknowledged"},
            ["unacknowledge", "resolve", "silence"],
            id="acknowledged",
        ),
        pytest.param({"action": "update", "state": "resolved"}, [], id="resolved"),
        pytest.param({"action": "resolve"}, [], id="over"),
        pytest.param({"action": "test"}, [], id="a test"),
        pytest.param({"lasting": False}, [], id="news"),
    ],
)
def test_there_are_buttons_while_there_is_something_to_do(
    fields: dict[str, Any], shown: list[str], make_view: MakeView
) -> None:
    assert actions(render(make_view(**fields))) == shown
    without = render_slack(make_view(**fields), minimal=False, metadata=True)
    assert actions(without) == []


AT = OPENED
BASE = Standing(at=AT, severity="error", total=3)


def stands(**fields: Any) -> Standing:
    return Standing(**{"at": LATER, "severity": "error", "total": 3, **fields})


LINES = [
    pytest.param("resolve", stands(state="resolved"), Line("✅ Resolved after 4 h 12 min"), id="over"),
    pytest.param(
        "acknowledge", stands(state="acknowledged", by="ann"), Line("👀 Acknowledged by ann"), id="acknowledged"
    ),
    pytest.param(
        "acknowledge",
        stands(state="acknowledged", by="ann", level=1),
        Line("⏫ escalated, step 1 · 👀 Acknowledged by ann"),
        id="that others were called is told later, without a time",
    ),
    pytest.param(
        "acknowledge",
        stands(state="acknowledged", by="<!channel>"),
        Line("👀 Acknowledged by &lt;!channel&gt;"),
        id="a name is escaped",
    ),
    pytest.param("acknowledge", stands(), None, id="an acknowledge that changes nothing is not said"),
    pytest.param("update", stands(), Line("Fired again"), id="fired again"),
    pytest.param("update", stands(total=12), Line("12 alerts now, 3 before"), id="more alerts"),
    pytest.param("update", stands(total=1), Line("1 alert now, 3 before"), id="fewer alerts"),
    pytest.param("update", stands(total=0), Line("Down from 3 alerts"), id="one that is not counted, or none"),
    pytest.param(
        "update",
        stands(severity="critical", muted=2),
        Line("Severity error → *critical* · 2 silenced"),
        id="several things at once",
    ),
    pytest.param(
        "update",
        stands(flapping=True),
        Line("〰️ Flapping: it comes and goes; the end is told when it stays quiet"),
        id="flapping",
    ),
    pytest.param("repeat", stands(), Line("HEAD\n🔁 still firing after 4 h 12 min", True), id="a repeat is seen"),
    pytest.param(
        "repeat",
        stands(level=2, total=4),
        Line("HEAD\n⏫ escalated, step 2, after 4 h 12 min · 4 alerts now, 3 before", True),
        id="an escalation is seen",
    ),
    pytest.param(
        "trigger", stands(level=1), Line("HEAD\n⏫ escalated, step 1, after 4 h 12 min", True), id="by trigger"
    ),
]


@pytest.mark.parametrize(("action", "now", "line"), LINES)
def test_the_thread_hears_what_has_changed(action: Action, now: Standing, line: Line | None) -> None:
    assert thread_line(BASE, now, action, OPENED, "HEAD") == line


def test_what_was_skipped_is_in_the_next_line() -> None:
    acknowledged = stands(state="acknowledged", by="ann")
    grown = stands(state="acknowledged", by="ann", total=5)
    line = thread_line(BASE, grown, "update", OPENED, "HEAD")
    assert line == Line("👀 Acknowledged by ann · 5 alerts now, 3 before")
    assert thread_line(acknowledged, grown, "update", OPENED, "HEAD") == Line("5 alerts now, 3 before")
    assert thread_line(acknowledged, stands(), "update", OPENED, "HEAD") == Line("Not acknowledged any more")
    assert thread_line(stands(flapping=True), stands(), "update", OPENED, "HEAD") == Line("Steady again")
    assert thread_line(stands(muted=1), stands(), "update", OPENED, "HEAD") == Line("Nothing silenced any more")
    assert thread_line(stands(total=0), stands(), "update", OPENED, "HEAD") == Line("3 alerts now")


@pytest.mark.parametrize(
    ("route", "said"), [("", "2 items now"), ("oncall/db", "2 alerts now"), ("storm", "2 incidents now")]
)
def test_what_is_counted_has_a_name(route: str, said: str, make_view: MakeView) -> None:
    before, now = (standing(make_view(route=route, total=total)) for total in (0, 2))
    assert thread_line(before, now, "update", OPENED, "HEAD") == Line(said)


@pytest.mark.parametrize("action", get_args(Action))
def test_a_thread_that_is_not_known_is_told_what_the_action_says(action: Action) -> None:
    line = thread_line(None, stands(), action, OPENED, "HEAD")
    said = {"update": "Fired again", "trigger": "Fired again", "resolve": "✅ Resolved after 4 h 12 min"}
    said["repeat"] = "HEAD\n🔁 still firing after 4 h 12 min"
    assert (line.text if line else None) == said.get(action)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (59, "59 s"), (60, "1 min"), (3_600, "1 h"), (3_661, "1 h 1 min"), (90_061, "1 d 1 h"),
     (86_405, "1 d"), (10**7, "115 d 17 h")],
)  # fmt: skip
def test_a_span_shows_its_two_largest_units(seconds: int, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text


views = st.fixed_dictionaries(
    {
        "action": st.sampled_from(get_args(Action)),
        "severity": st.sampled_from(get_args(Severity)),
        "state": st.sampled_from(["open", "acknowledged", "resolved"]),
        "subject": texts,
        "body": texts,
        "route": texts,
        "acked_by": texts,
        "labels": st.dictionaries(wild, texts, max_size=4)
        | st.integers(0, 600).map(lambda size: {f"<l{number}>": "&" * number for number in range(size)}),
        "items": st.lists(texts, max_size=4).map(tuple)
        | st.integers(0, 400).map(lambda size: tuple(f"&{number}" * 60 for number in range(size))),
        "total": st.integers(0, 10**9),
        "muted": st.integers(0, 10**9),
        "level": st.integers(0, 10**6),
        "flapping": st.booleans(),
        "revision": st.integers(1, 10**6),
        "at": st.integers(-(10**6), 10**8).map(lambda seconds: OPENED + timedelta(seconds=seconds)),
    }
)
names = st.from_regex(r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}\Z")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(fields=views, before=views | st.none(), minimal=st.booleans(), name=names)
def test_slack_takes_every_view_and_every_line(
    fields: dict[str, Any], before: dict[str, Any] | None, minimal: bool, name: str, make_view: MakeView
) -> None:
    view = make_view(**fields)
    message = render_slack(view, minimal=minimal, metadata=True, pressed_by=name)
    webhook = render_slack(view, minimal=minimal, metadata=False)
    for body in (message.body, webhook.body):
        check_message(body, update=True)
        shown = {name: part for name, part in body.items() if name != "metadata"}  # which nobody is shown
        assert mentions(json.dumps(shown, ensure_ascii=False)) == []
    now = standing(view)
    assert from_payload(to_payload(now)) == now
    earlier = standing(make_view(**before)) if before else None
    line = thread_line(earlier, now, view.action, view.opened, message.body["text"])
    if line is not None:
        assert len(line.text) <= 1_000
        check_message({"text": line.text}, update=True)
        assert mentions(line.text) == []


def test_a_long_headline_is_cut_between_entities() -> None:
    line = thread_line(BASE, stands(), "repeat", OPENED, "x" + "&amp;" * 200)
    assert line is not None
    assert line.text.split("\n")[0] == "x" + "&amp;" * 59 + "…"


def test_the_text_of_all_blocks_stays_under_twelve_thousand_with_buttons(make_view: MakeView) -> None:
    worst = make_view(
        action="update",
        revision=2,
        subject="s" * 9_999,
        body="b" * 99_999,
        items=tuple("i" * 999 for _ in range(99)),
        labels={f"{number}" + "n" * 999: "v" * 9_999 for number in range(99)},
        route="r" * 999,
        acked_by="a" * 999,
        level=10**9,
        muted=10**9,
        flapping=True,
    )
    assert 8_000 < sum(_length(block) for block in slack_message.blocks(worst)) <= 12_000
    assert headline(worst).startswith("🔴 Flapping: s")
    assert len(escape(headline(worst), 150)) == 150


def _length(block: dict[str, Any]) -> int:
    texts = [block.get("text"), *block.get("fields", []), *block.get("elements", [])]
    return sum(len(text["text"]) for text in texts if text)

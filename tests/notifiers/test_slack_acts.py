"""From what Slack sends when a button is pressed to what somebody wants."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notifiers.conftest import MakeView
from tocsin.notifiers.act import Acknowledge, Act, Resolve, Silence, Unacknowledge
from tocsin.notifiers.slack_acts import Press, Strange, done, read_press
from tocsin.notifiers.slack_buttons import SPANS
from tocsin.notifiers.slack_message import render_slack
from tocsin.notifiers.standins.slack_press import payload_of

NAME = "on call.7"
ANSWER = "https://hooks.slack.com/actions/T0/1/x"
INCIDENT = UUID("018f0000-0000-7000-8000-0000000000aa")


@pytest.fixture
def press(make_view: MakeView) -> Any:
    """Presses a button of a rendered message: what Slack would send."""

    def pressed(action: str, *, value: str | None = None, user: str = "U0ANN0001", **view: Any) -> dict[str, Any]:
        body = render_slack(make_view(**view), minimal=False, metadata=True, pressed_by=NAME).body
        return payload_of({**body, "ts": "1.2"}, "C1", f"tocsin.{action}", user, value, ANSWER)

    return pressed


TAKEN = {"state": "acknowledged"}
TABLE = [
    pytest.param("acknowledge", None, {}, Acknowledge("ann", NAME), id="acknowledge"),
    pytest.param("unacknowledge", None, TAKEN, Unacknowledge("ann", NAME), id="unacknowledge"),
    pytest.param("resolve", None, TAKEN, Resolve("ann", NAME), id="resolve"),
    *(
        pytest.param("silence", text, {}, Silence("ann", span, NAME, "from Slack"), id=f"silence for {text}")
        for text, span in SPANS.items()
    ),
]


@pytest.mark.parametrize(("action", "value", "view", "act"), TABLE)
def test_a_press_is_an_act(press: Any, action: str, value: str | None, view: dict[str, Any], act: Act) -> None:
    read = read_press(press(action, value=value, **view))
    assert isinstance(read, Press)
    assert (read.act, read.incident, read.notifier, read.answer_to) == (act, INCIDENT, NAME, ANSWER)


def test_the_menu_offers_an_hour_four_and_a_day() -> None:
    assert list(SPANS.values()) == [timedelta(hours=1), timedelta(hours=4), timedelta(days=1)]


def test_the_same_press_has_one_id_and_another_another(press: Any) -> None:
    payload = press("acknowledge")
    first, again = read_press(payload), read_press(payload)
    later = read_press({**payload, "actions": [{**payload["actions"][0], "action_ts": "9.9"}]})
    assert isinstance(first, Press)
    assert isinstance(later, Press)
    assert first == again
    assert first.id != later.id


@pytest.mark.parametrize(
    ("user", "by"),
    [
        ({"id": "U1", "username": "ann", "name": "other"}, "ann"),
        ({"id": "U1", "name": "ann"}, "ann"),
        ({"id": "U1"}, "U1"),
        ({"id": "U1", "username": "a\u202en\nn  b"}, "an n b"),
        ({"id": "U1", "username": "n" * 500}, "n" * 99 + "…"),
    ],
    ids=["handle", "name", "id", "cleaned", "cut"],
)
def test_who_pressed_has_a_name(press: Any, user: dict[str, str], by: str) -> None:
    read = read_press({**press("acknowledge"), "user": user})
    assert isinstance(read, Press)
    assert read.act.by == by


def test_other_interactions_of_the_app_are_none_of_ours(press: Any) -> None:
    payload = press("acknowledge")
    assert read_press({**payload, "type": "view_submission"}) is None
    assert read_press({**payload, "actions": [{"action_id": "vote"}]}) is None
    assert read_press({**payload, "actions": []}) is None
    assert read_press({**payload, "user": None}) is None
    nothings: tuple[Any, ...] = (None, [], "x", 7, {})
    for nothing in nothings:
        assert read_press(nothing) is None


@pytest.mark.parametrize(
    "change",
    [
        {"block_id": "other/1/oncall"},
        {"block_id": "tocsin"},
        {"block_id": "tocsin/1/"},
        {"value": "no uuid"},
        {"value": None},
        {"action_id": "tocsin.silence", "value": f"{INCIDENT} 99999999"},
        {"action_id": "tocsin.silence", "value": f"{INCIDENT}"},
    ],
)
def test_a_button_that_only_looks_like_ours_is_answered(press: Any, change: dict[str, Any]) -> None:
    payload = press("acknowledge")
    read = read_press({**payload, "actions": [{**payload["actions"][0], **change}]})
    assert isinstance(read, Strange)
    assert read.answer_to == ANSWER


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(json, st.sampled_from(["type", "user", "actions", "response_url"]))
def test_no_payload_breaks_the_reading(value: Any, where: str) -> None:
    action = {"action_id": "tocsin.acknowledge", "block_id": "tocsin/1/oncall", "value": str(INCIDENT)}
    payload: dict[str, Any] = {"type": "block_actions", "user": {"id": "U1"}, "actions": [action], "response_url": ""}
    for one in (value, {**payload, where: value}, {**payload, "actions": [{**action, "value": value}]}):
        assert read_press(one) is None or isinstance(read_press(one), Press | Strange)


def test_a_silence_is_confirmed_for_no_message_shows_it() -> None:
    assert done(Silence("ann", timedelta(hours=4))).startswith("Silenced for 4 h.")
    assert [done(act) for act in (Acknowledge("ann"), Unacknowledge("ann"), Resolve("ann"))] == [""] * 3


def test_the_stand_in_presses_only_what_is_shown(press: Any) -> None:
    with pytest.raises(LookupError, match=r"no tocsin.unacknowledge; it has: tocsin.acknowledge, tocsin.resolve"):
        press("unacknowledge")
    with pytest.raises(LookupError, match="there are: 1 hour, 4 hours, 1 day"):
        press("silence", value="2 hours")
